//! Making the devices of a starting container and taking them away.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use lxc_config::{Gateway, NetType, Network, Values};
use lxc_sys::Errno;
use rustix::process::Pid;

use super::phys::{self, Moved};
use super::proxy::{self, Proxy};
use super::{openvswitch, stacked, user_nic};
use crate::error::{Doing, Result};
use crate::hooks::HookContext;
use crate::plan::network::{hardware_address, mtu};
use lxc_netlink::Netlink;
use netlink_packet_route::link::LinkAttribute;

/// A device that was made on the host.
#[derive(Debug, Clone)]
pub(super) struct Device {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) network: u32,
    /// A port of a bridge of Open vSwitch, whose record of it outlives it.
    pub(super) in_ovs: bool,
}

/// What the container sees of a device.
#[derive(Debug)]
pub(super) struct Inside<'a> {
    pub(super) name: String,
    pub(super) namespace: BorrowedFd<'a>,
    /// A process in it.
    pub(super) pid: Pid,
}

/// The host's ends of a container's devices. Dropping it removes them.
#[derive(Debug, Default)]
pub struct Devices {
    pub(super) made: Vec<Device>,
    /// Those that were made for an ordinary user.
    by_helper: Vec<user_nic::Made>,
    /// Devices of the host's that are in the container.
    moved: Vec<Moved>,
    /// What the host answers for on the links of the networks.
    proxies: Vec<Proxy>,
    /// Networks whose up script ran: their down scripts are owed.
    scripted: Vec<u32>,
}

impl Devices {
    /// Makes all devices of a configuration; the container's ends go directly into its namespace.
    /// On failure what was made is removed by dropping the value.
    pub fn create(
        values: &Values,
        (namespace, pid): (BorrowedFd<'_>, Pid),
        hooks: &HookContext,
    ) -> Result<Devices> {
        let mut devices = Devices::default();
        let mut netlink = Netlink::open().doing(|| "open a netlink socket")?;
        for (&number, network) in &values.networks {
            if let Some(name) = container_name(values, number) {
                devices.make(&mut netlink, number, network, &Inside { name, namespace, pid })?;
            }
            if let (Some(script), Some(kind)) = (&network.script_up, network.kind)
                && kind != NetType::None
            {
                devices.scripted.push(number);
                devices.script(hooks, "up", script, number, network)?;
            }
        }
        Ok(devices)
    }

    /// Makes the device of one network, without its scripts.
    pub fn create_one(
        values: &Values,
        number: u32,
        (namespace, pid): (BorrowedFd<'_>, Pid),
    ) -> Result<Devices> {
        let mut devices = Devices::default();
        let mut netlink = Netlink::open().doing(|| "open a netlink socket")?;
        if let (Some(name), Some(network)) = (container_name(values, number), values.networks.get(&number)) {
            devices.make(&mut netlink, number, network, &Inside { name, namespace, pid })?;
        }
        Ok(devices)
    }

    fn make(
        &mut self,
        netlink: &mut Netlink,
        number: u32,
        network: &Network,
        inside: &Inside<'_>,
    ) -> Result<()> {
        match network.kind {
            Some(NetType::Veth) if !rustix::process::geteuid().is_root() => {
                self.by_helper.push(user_nic::create(number, network, inside)?);
                return Ok(());
            }
            Some(NetType::Veth) => self.create_veth(netlink, number, network, inside)?,
            Some(NetType::Phys) => self.moved.push(phys::take(number, network, inside)?),
            _ => stacked::create(netlink, number, network, inside)?,
        }
        proxy::add(&mut self.proxies, netlink, number, network)
    }

    /// Leaves what was made to the container, whose end removes it.
    pub fn leave(mut self) {
        self.made.clear();
        self.by_helper.clear();
    }

    /// The host's end of a network's device.
    pub fn host_name(&self, network: u32) -> Option<&str> {
        let all = self.made.iter().chain(self.by_helper.iter().map(|m| &m.device));
        all.into_iter().find(|d| d.network == network).map(|d| d.name.as_str())
    }

    fn script(
        &self,
        hooks: &HookContext,
        event: &str,
        line: &str,
        number: u32,
        network: &Network,
    ) -> Result<()> {
        let kind = network.kind.map_or("empty", NetType::name);
        let mut arguments = vec![kind.to_string()];
        let mut variables = vec![("LXC_NET_TYPE", kind.to_string())];
        if let Some(link) = &network.link {
            arguments.push(link.clone());
            variables.push(("LXC_NET_PARENT", link.clone()));
        }
        if let Some(host) = self.host_name(number) {
            arguments.push(host.to_string());
            variables.push(("LXC_NET_PEER", host.to_string()));
        }
        hooks.run_network(event, line, &arguments, &variables)
    }

    /// Gives devices back, runs the down scripts and removes the devices.
    pub fn take_down(mut self, values: &Values, hooks: &HookContext) {
        self.give_back();
        for &number in &self.scripted {
            let Some(network) = values.networks.get(&number) else { continue };
            if let Some(script) = &network.script_down
                && let Err(e) = self.script(hooks, "down", script, number, network)
            {
                log::warn!("{e}");
            }
        }
        self.remove();
    }

    fn give_back(&mut self) {
        self.moved.drain(..).rev().for_each(Moved::give_back);
    }

    fn remove(&mut self) {
        self.give_back();
        for made in self.by_helper.drain(..) {
            if let Err(e) = made.remove() {
                log::warn!("{e}");
            }
        }
        if self.made.is_empty() && self.proxies.is_empty() {
            return;
        }
        let Ok(mut netlink) = Netlink::open() else { return };
        proxy::remove(&mut self.proxies, &mut netlink);
        for device in self.made.drain(..).rev() {
            if device.in_ovs
                && let Err(e) = openvswitch::remove_port(&device.name)
            {
                log::warn!("{e}");
            }
            match netlink.delete(device.index) {
                // The kernel removes a pair with the namespace of either end.
                Ok(()) | Err(Errno::NODEV) => {}
                Err(e) => log::warn!("remove device {}: {e}", device.name),
            }
        }
    }
}

impl Drop for Devices {
    fn drop(&mut self) {
        self.remove();
    }
}

/// The name inside of a network's device: as configured, else the first `ethN` that no network asked for. The
/// namespace is new, so both processes come to the same answer. Nothing for a network without a device.
pub fn container_name(values: &Values, number: u32) -> Option<String> {
    match values.networks.get(&number)?.kind? {
        NetType::None => return None,
        NetType::Empty => return Some("lo".to_string()),
        _ => {}
    }
    let explicit = |n: &Network| {
        let own = n.name.clone().filter(|n| !n.is_empty() && n != "eth%d");
        // A device of the host keeps its name.
        own.or_else(|| n.link.clone().filter(|_| n.kind == Some(NetType::Phys)))
    };
    let taken: Vec<String> = values.networks.values().filter_map(explicit).collect();
    let mut free = (0..).map(|i| format!("eth{i}")).filter(|n| !taken.contains(n));
    values
        .networks
        .iter()
        .filter(|(_, network)| network.kind.is_some_and(NetType::has_device))
        .map(|(&n, network)| (n, explicit(network).or_else(|| free.next())))
        .find_map(|(n, name)| name.filter(|_| n == number))
}

/// In the container's network namespace: addresses, state and routes of each device, in the order
/// of the specification (networks, 1.2). `by_user`: those of an ordinary user, which the helper has made without what
/// the configuration says of their address and MTU.
pub fn configure_inside(values: &Values, by_user: bool) -> Result<()> {
    let nothing = |n: &Network| match n.kind {
        None | Some(NetType::None) => true,
        Some(NetType::Empty) => !n.up && n.ipv4_addresses.is_empty() && n.ipv6_addresses.is_empty(),
        Some(_) => false,
    };
    if values.networks.values().all(nothing) {
        return Ok(());
    }
    let mut netlink = Netlink::open().doing(|| "open a netlink socket in the container")?;
    let mut loopback_up = false;
    for (&number, network) in &values.networks {
        let Some(name) = container_name(values, number) else { continue };
        let what = |text: &str| format!("lxc.net.{number}: {text} {name}");
        let index = netlink.index_of(&name).doing(|| what("find"))?;
        if by_user {
            let address = network.hwaddr.as_deref().and_then(hardware_address);
            let address = address.map(|a| LinkAttribute::Address(a.to_vec()));
            let wanted: Vec<_> =
                address.into_iter().chain(mtu(number, network)?.map(LinkAttribute::Mtu)).collect();
            if !wanted.is_empty() {
                netlink.change(index, None, wanted).doing(|| what("set the address and MTU of"))?;
            }
        }
        for net in &network.ipv4_addresses {
            let broadcast = net.broadcast.or_else(|| broadcast(net.address, net.prefix));
            netlink
                .add_address(index, net.address.into(), net.prefix, broadcast)
                .doing(|| what(&format!("add {}/{} to", net.address, net.prefix)))?;
        }
        for (address, prefix) in &network.ipv6_addresses {
            netlink
                .add_address(index, (*address).into(), *prefix, None)
                .doing(|| what(&format!("add {address}/{prefix} to")))?;
        }
        if !network.up {
            continue;
        }
        if index != 1 {
            netlink.set_up(index, None, None).doing(|| what("bring up"))?;
        }
        if !loopback_up {
            netlink.set_up(1, None, None).doing(|| what("bring lo up for"))?;
            loopback_up = true;
        }
        if let Some(gateway) = network.ipv4_gateway {
            add_gateway(&mut netlink, index, router(gateway), false).doing(|| what("default route by"))?;
        }
        if let Some(gateway) = network.ipv6_gateway {
            add_gateway(&mut netlink, index, router(gateway), true).doing(|| what("default route by"))?;
        }
    }
    Ok(())
}

/// `None`: directly by the device. What `auto` is, the plan has found out.
fn router<A: Into<IpAddr>>(gateway: Gateway<A>) -> Option<IpAddr> {
    if let Gateway::Address(address) = gateway { Some(address.into()) } else { None }
}

/// RFC 919; none for /31 (RFC 3021) and /32.
pub(super) fn broadcast(address: std::net::Ipv4Addr, prefix: u8) -> Option<std::net::Ipv4Addr> {
    let host_bits = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
    (prefix < 31).then(|| (u32::from(address) | host_bits).into())
}

fn add_gateway(netlink: &mut Netlink, index: u32, gateway: Option<IpAddr>, v6: bool) -> lxc_sys::Result<()> {
    match netlink.add_route(index, None, gateway, v6) {
        // A router outside the device's networks: first a route to it.
        Err(Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::INVAL) => {
            let Some(gateway) = gateway else { return Err(Errno::NETUNREACH) };
            netlink.add_route(index, Some((gateway, if v6 { 128 } else { 32 })), None, v6)?;
            netlink.add_route(index, None, Some(gateway), v6)
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasts() {
        let a = "10.0.3.5".parse().expect("an address");
        assert_eq!(broadcast(a, 24), "10.0.3.255".parse().ok());
        assert_eq!(broadcast(a, 32), None);
        assert_eq!(broadcast(a, 0), "255.255.255.255".parse().ok());
    }

    #[test]
    fn names_inside() {
        let veth = |name: Option<&str>| Network {
            kind: Some(NetType::Veth),
            name: name.map(Into::into),
            ..Default::default()
        };
        let mut v = Values::default();
        v.networks.insert(0, veth(None));
        v.networks.insert(3, veth(Some("eth0")));
        v.networks.insert(7, veth(None));
        assert_eq!([0, 3, 7].map(|n| container_name(&v, n).unwrap_or_default()), ["eth1", "eth0", "eth2"]);
        assert_eq!(container_name(&v, 1), None);
    }
}
