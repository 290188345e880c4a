//! Ports of bridges of Open vSwitch. What belongs to one of its bridges is in its database and survives the device, so
//! it is taken out again; its own program speaks with the database.

use lxc_config::{Network, VlanId};

use crate::error::{Error, Result};
use crate::program;

const PROGRAM: &str = "ovs-vsctl";

/// Whether Open vSwitch has a bridge of this name. Not where it is not installed or does not run.
pub(super) fn is_bridge(name: &str) -> bool {
    run(&["br-exists", name]).is_ok()
}

/// Makes a device a port of a bridge, with the VLANs of its network. A record that an earlier device of that name has
/// left, on whatever bridge, goes in the same transaction.
pub(super) fn add_port(number: u32, network: &Network, bridge: &str, device: &str) -> Result<()> {
    if network.veth_vlan_id == Some(VlanId::None) && network.veth_vlan_tagged.is_empty() {
        let text = format!("lxc.net.{number}.veth.vlan.id = none: a port of Open vSwitch needs VLANs then");
        return Err(Error::invalid(text).with_hint("give them by veth.vlan.tagged.id"));
    }
    let mut words = vec!["--if-exists".to_string(), "del-port".into(), device.into(), "--".into()];
    words.extend(["add-port".into(), bridge.into(), device.into()]);
    words.extend(vlans(network));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    run(&words)
        .map(drop)
        .map_err(|e| e.during(format!("lxc.net.{number}.link = {bridge}: make {device} a port")))
}

/// Takes a device out of whatever bridge it is a port of. That it is in none is fine.
pub(crate) fn remove_port(device: &str) -> Result<()> {
    run(&["--if-exists", "del-port", device]).map(drop)
}

/// Ports with names that LXC makes, whose devices are gone. None where Open vSwitch is not installed or does not run.
pub(crate) fn ports_without_device() -> Vec<String> {
    let words = ["--timeout=2", "--bare", "--columns=name", "find", "interface", "error!=[]"];
    let said = program::run(PROGRAM, &words).unwrap_or_default();
    let gone = |name: &&str| {
        super::is_random_name(name) && !std::path::Path::new("/sys/class/net").join(name).exists()
    };
    said.lines().map(str::trim).filter(gone).map(String::from).collect()
}

/// Columns of a port (ovs-vswitchd.conf.db(5)).
fn vlans(network: &Network) -> Vec<String> {
    let ids: Vec<String> = network.veth_vlan_tagged.iter().map(u16::to_string).collect();
    let trunks = format!("trunks={}", ids.join(","));
    match (network.veth_vlan_id, ids.is_empty()) {
        (Some(VlanId::Id(id)), true) => vec!["vlan_mode=access".into(), format!("tag={id}")],
        (Some(VlanId::Id(id)), false) => {
            vec!["vlan_mode=native-untagged".into(), format!("tag={id}"), trunks]
        }
        // What comes without a tag is none of the container's only where that was asked for.
        (Some(VlanId::None), false) => vec!["vlan_mode=trunk".into(), trunks],
        (None, false) => vec!["vlan_mode=native-untagged".into(), trunks],
        (_, true) => Vec::new(),
    }
}

fn run(words: &[&str]) -> Result<String> {
    // Its daemon may not run: nobody waits for that.
    program::run(PROGRAM, &[&["--timeout=10"], words].concat())
}
