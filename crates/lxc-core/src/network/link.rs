//! The devices of the host that networks are connected to: what must hold of them, and what must not be there yet.

use std::collections::BTreeMap;

use lxc_config::{NetType, Network, Values};
use lxc_sys::Errno;

use super::setup::container_name;
use crate::error::{Doing, Error, Result};
use crate::plan::network::mtu;
use lxc_netlink::{self as netlink, Netlink, is_device_name};

/// What a pair's end on the host becomes a port of.
#[derive(Debug)]
pub enum Bridge {
    /// Of the kernel's own.
    Linux(netlink::Device),
    /// Of Open vSwitch.
    OpenVSwitch(netlink::Device),
}

impl Bridge {
    /// The device that stands for it.
    pub fn device(&self) -> &netlink::Device {
        match self {
            Bridge::Linux(device) | Bridge::OpenVSwitch(device) => device,
        }
    }
}

/// Checks all networks of a configuration against the network namespace of the caller, so that nothing is made
/// for a container that cannot have what it wants.
///
/// # Errors
/// The first that cannot be had, with its key.
pub fn check(values: &Values) -> Result<()> {
    // An ordinary user's devices are the helper's to make, and to say why not.
    let by_user = !rustix::process::geteuid().is_root();
    if by_user || !values.networks.values().any(|n| n.kind.is_some_and(NetType::has_device)) {
        return Ok(());
    }
    let mut netlink = Netlink::open().doing(|| "open a netlink socket")?;
    let mut inside: BTreeMap<String, u32> = BTreeMap::new();
    let mut outside: BTreeMap<&str, u32> = BTreeMap::new();
    for (&number, network) in &values.networks {
        let key = |k: &str| format!("lxc.net.{number}.{k}");
        let Some(kind) = network.kind.filter(|k| k.has_device()) else { continue };
        let link = match kind {
            NetType::Veth => bridge_of(&mut netlink, number, network)?.map(|b| b.device().clone()),
            NetType::Phys => Some(phys(&mut netlink, number, network)?),
            _ => Some(device_of(&mut netlink, number, network)?),
        };
        let fits = |parent: &netlink::Device| match mtu(number, network) {
            Ok(Some(mtu)) if mtu > parent.mtu && matches!(kind, NetType::Macvlan | NetType::Vlan) => {
                let text = format!("{} = {mtu}: {} has only {}", key("mtu"), parent.name, parent.mtu);
                Err(Error::invalid(text))
            }
            other => other.map(drop),
        };
        link.as_ref().map_or(Ok(()), fits)?;
        check_pair(&mut netlink, number, network, &mut outside)?;
        check_name(values, number, &mut inside)?;
    }
    Ok(())
}

/// The name of a pair's end on the host: neither taken nor wanted twice.
fn check_pair<'a>(
    netlink: &mut Netlink,
    number: u32,
    network: &'a Network,
    seen: &mut BTreeMap<&'a str, u32>,
) -> Result<()> {
    let pair = network.veth_pair.as_deref().filter(|_| network.kind == Some(NetType::Veth));
    let Some(pair) = pair else { return Ok(()) };
    let what = || format!("lxc.net.{number}.veth.pair = {pair}");
    if !is_device_name(pair) {
        return Err(Error::invalid(format!("{}: {BAD_NAME}", what())));
    }
    if let Some(other) = seen.insert(pair, number) {
        return Err(Error::invalid(format!("{}: network {other} has the same", what())));
    }
    if netlink.index_of(pair).is_ok() {
        return Err(Error::os(what(), Errno::EXIST)
            .with_hint(format!("the host has a device of this name: ip link show {pair}")));
    }
    Ok(())
}

/// The name inside, where there is nothing else yet than the loopback device.
fn check_name(values: &Values, number: u32, seen: &mut BTreeMap<String, u32>) -> Result<()> {
    let Some(name) = container_name(values, number) else { return Ok(()) };
    let what = || format!("lxc.net.{number}.name = {name}");
    if !is_device_name(&name) {
        return Err(Error::invalid(format!("{}: {BAD_NAME}", what())));
    }
    if name == "lo" {
        return Err(Error::invalid(format!("{}: the loopback device has this name", what())));
    }
    match seen.insert(name.clone(), number) {
        Some(other) => Err(Error::invalid(format!("{}: network {other} has the same", what()))),
        None => Ok(()),
    }
}

const BAD_NAME: &str = "not a name for a device: 1 to 15 characters, no blank, / or :";

/// The link of a network, which must exist.
pub(super) fn device_of(netlink: &mut Netlink, number: u32, network: &Network) -> Result<netlink::Device> {
    let link = network.link.as_deref().unwrap_or_default();
    let what = || format!("lxc.net.{number}.link = {link}");
    if !is_device_name(link) {
        return Err(Error::invalid(format!("{}: {BAD_NAME}", what())));
    }
    netlink.device(link).doing(what).map_err(|e| match (e.errno(), network.kind) {
        (Some(Errno::NODEV), Some(NetType::Veth)) => e.with_hint(
            "there is no such bridge: create it (lxc-net, ip link add … type bridge) or change the key",
        ),
        (Some(Errno::NODEV), _) => e.with_hint("the host has no such device; it may be in another container"),
        _ => e,
    })
}

/// The bridge that the host's end of a network of type veth becomes a port of; none where it routes, and none where
/// no link is given.
pub fn bridge_of(netlink: &mut Netlink, number: u32, network: &Network) -> Result<Option<Bridge>> {
    let has_link = network.link.as_deref().is_some_and(|l| !l.is_empty());
    // The link of a router is for other things.
    if !has_link || network.veth_router {
        return Ok(None);
    }
    let device = device_of(netlink, number, network)?;
    if device.kind == "bridge" {
        return Ok(Some(Bridge::Linux(device)));
    }
    if super::openvswitch::is_bridge(&device.name) {
        return Ok(Some(Bridge::OpenVSwitch(device)));
    }
    Err(Error::invalid(format!(
        "lxc.net.{number}.link = {}: it is neither a Linux bridge nor one of Open vSwitch",
        device.name
    )))
}

/// The host's device that a network of type phys takes.
pub(super) fn phys(netlink: &mut Netlink, number: u32, network: &Network) -> Result<netlink::Device> {
    let device = device_of(netlink, number, network)?;
    if device.controller.is_some() {
        let text = format!("lxc.net.{number}.link = {}: it is a port of another device", device.name);
        return Err(
            Error::invalid(text).with_hint(format!("ip link set {} nomaster takes it out", device.name))
        );
    }
    if Some(&*device.name) != network.link.as_deref() {
        // An alternative name moves with it, and cannot become its name then.
        let text = format!("lxc.net.{number}.link: {} is its name", device.name);
        return Err(Error::invalid(text).with_hint("give the name, not an alternative one"));
    }
    if device.loopback {
        return Err(Error::invalid(format!("lxc.net.{number}.link = {}: it stays where it is", device.name)));
    }
    Ok(device)
}
