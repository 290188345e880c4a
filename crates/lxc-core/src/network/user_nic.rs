//! Devices of an ordinary user's container: made by the setuid helper lxc-user-nic, as far as lxc-usernet lets the user.

use std::os::fd::{AsRawFd, OwnedFd};

use lxc_config::Network;

use super::setup::{Device, Inside};
use crate::error::{Doing, Error, Kind, Result};
use crate::{paths, program};

/// A device that the helper made.
#[derive(Debug)]
pub(super) struct Made {
    /// The host's end.
    pub(super) device: Device,
    bridge: String,
    /// The container's network namespace, which has to be shown when it is removed.
    namespace: OwnedFd,
}

/// A key, and whether a network has it.
type Given = (&'static str, fn(&Network) -> bool);

/// Keys that only root can carry out; upstream ignores them as well.
const WITHOUT_EFFECT: [Given; 7] = [
    ("veth.pair", |n| n.veth_pair.is_some()),
    ("veth.mode = router", |n| n.veth_router),
    ("veth.vlan.id", |n| n.veth_vlan_id.is_some()),
    ("veth.vlan.tagged.id", |n| !n.veth_vlan_tagged.is_empty()),
    ("veth.n_rxqueues", |n| n.veth_rxqueues.is_some() || n.veth_txqueues.is_some()),
    ("veth.ipv4.route", |n| !n.veth_ipv4_routes.is_empty()),
    ("veth.ipv6.route", |n| !n.veth_ipv6_routes.is_empty()),
];

/// Makes the pair of a network of type veth.
pub(super) fn create(number: u32, network: &Network, inside: &Inside<'_>) -> Result<Made> {
    for (key, _) in WITHOUT_EFFECT.iter().filter(|(_, is_set)| is_set(network)) {
        log::warn!("lxc.net.{number}.{key} has no effect in containers of ordinary users");
    }
    let bridge = network.link.as_deref().filter(|l| !l.is_empty()).unwrap_or("none");
    let pid = inside.pid.as_raw_pid().to_string();
    let said = run(&["create", "-", "-", &pid, "veth", bridge, &inside.name])
        .doing(|| format!("lxc.net.{number}.link = {bridge}"))?;
    let bad = || Error::new(Kind::Failed, format!("lxc-user-nic said {said:?}, which is no device"));
    let mut words = said.trim_end().split(':');
    let (_, _, name, index) = (words.next(), words.next(), words.next(), words.next());
    let (name, index) = name.zip(index.and_then(|i| i.parse().ok())).ok_or_else(bad)?;
    Ok(Made {
        device: Device { index, name: name.to_string(), network: number, in_ovs: false },
        bridge: bridge.to_string(),
        namespace: inside.namespace.try_clone_to_owned().doing(|| "copy a descriptor")?,
    })
}

impl Made {
    /// Removes it. By itself it would go some time after the container's end, and count until then.
    pub(super) fn remove(self) -> Result<()> {
        let own = rustix::process::getpid().as_raw_nonzero();
        let path = format!("/proc/{own}/fd/{}", self.namespace.as_raw_fd());
        run(&["delete", "-", "-", &path, "veth", &self.bridge, &self.device.name]).map(drop)
    }
}

fn run(words: &[&str]) -> Result<String> {
    let own = paths::libexec_dir().join("lxc-user-nic");
    program::run(&own.to_string_lossy(), words)
}
