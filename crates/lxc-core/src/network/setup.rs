//! Making the devices of a starting container and taking them away.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::path::Path;

use lxc_config::{Gateway, NetType, Network, Values};
use lxc_sys::Errno;

use super::netlink::{Netlink, VethPair, mtu_of};
use crate::error::{Doing, Error, Result};
use crate::hooks::HookContext;
use crate::plan::network::{hardware_address, mtu};

/// A device that was made on the host.
#[derive(Debug, Clone)]
struct Device {
    index: u32,
    name: String,
    network: u32,
}

/// The host's ends of a container's devices. Dropping it removes them.
#[derive(Debug, Default)]
pub struct Devices {
    made: Vec<Device>,
    /// Networks whose up script ran: their down scripts are owed.
    scripted: Vec<u32>,
}

impl Devices {
    /// Makes all devices of a configuration; the container's ends go directly into its namespace.
    /// On failure what was made is removed by dropping the value.
    pub fn create(values: &Values, namespace: BorrowedFd<'_>, hooks: &HookContext) -> Result<Devices> {
        let mut devices = Devices::default();
        let mut netlink = Netlink::open().doing(|| "open a netlink socket")?;
        for (&number, network) in &values.networks {
            if network.kind == Some(NetType::Veth) {
                devices.create_veth(&mut netlink, values, number, network, namespace)?;
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

    fn create_veth(
        &mut self,
        netlink: &mut Netlink,
        values: &Values,
        number: u32,
        network: &Network,
        namespace: BorrowedFd<'_>,
    ) -> Result<()> {
        let key = |k: &str| format!("lxc.net.{number}.{k}");
        let bridge = match network.link.as_deref().filter(|l| !l.is_empty()) {
            None => None,
            Some(link) => {
                let what = || format!("{} = {link}", key("link"));
                let found = netlink.link(link).doing(what).map_err(|e| {
                    e.with_hint("there is no such bridge: create it (lxc-net, ip link add … type bridge) or change the key")
                })?;
                if !Path::new("/sys/class/net").join(link).join("bridge").exists() {
                    return Err(Error::unsupported(format!("{}: it is not a Linux bridge", what())));
                }
                Some(found)
            }
        };
        let wanted_mtu = mtu(number, network)?.or_else(|| bridge.as_ref().and_then(mtu_of));
        let peer = container_name(values, number);
        let queue = |n: Option<i32>| n.and_then(|n| u32::try_from(n).ok());
        for _ in 0..100 {
            let host = network.veth_pair.clone().unwrap_or_else(random_name);
            let pair = VethPair {
                host: &host,
                peer: &peer,
                namespace,
                peer_address: network.hwaddr.as_deref().and_then(hardware_address),
                mtu: wanted_mtu,
                queues: (queue(network.veth_rxqueues), queue(network.veth_txqueues)),
            };
            match netlink.create_veth(&pair) {
                Ok(()) => {}
                // Another random name.
                Err(Errno::EXIST) if network.veth_pair.is_none() => continue,
                Err(e) => {
                    return Err(Error::os(
                        format!("create veth pair {host} and {peer} ({})", key("type")),
                        e,
                    ));
                }
            }
            let link = netlink.link(&host).doing(|| format!("look at {host}"))?;
            let index = link.header.index;
            self.made.push(Device { index, name: host.clone(), network: number });
            // A bridge takes the lowest address of its ports: ours must not be it.
            let address = link.attributes.iter().find_map(|a| match a {
                netlink_packet_route::link::LinkAttribute::Address(bytes) => {
                    <[u8; 6]>::try_from(&bytes[..]).ok()
                }
                _ => None,
            });
            let address = address.map(|a| [0xfe, a[1], a[2], a[3], a[4], a[5]]);
            if bridge.is_some() {
                // The bridge speaks IPv6, not its port. Absent where IPv6 is off.
                let file = format!("/proc/sys/net/ipv6/conf/{host}/disable_ipv6");
                let _ = std::fs::write(file, "1");
            }
            return netlink
                .set_up(index, bridge.as_ref().map(|b| b.header.index), address)
                .doing(|| format!("bring {host} up"));
        }
        Err(Error::os("find a free name for a veth device", Errno::EXIST))
    }

    /// The host's end of a network's device.
    pub fn host_name(&self, network: u32) -> Option<&str> {
        self.made.iter().find(|d| d.network == network).map(|d| d.name.as_str())
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

    /// Runs the down scripts and removes the devices.
    pub fn take_down(mut self, values: &Values, hooks: &HookContext) {
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

    fn remove(&mut self) {
        if self.made.is_empty() {
            return;
        }
        let Ok(mut netlink) = Netlink::open() else { return };
        for device in self.made.drain(..).rev() {
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

/// `vethXXXXXX`, each X a letter or digit.
fn random_name() -> String {
    const LETTERS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut bytes = [0u8; 6];
    // Without random numbers the names collide and the caller tries again.
    let _ = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty());
    let tail: String = bytes.iter().map(|b| char::from(LETTERS[usize::from(*b) % LETTERS.len()])).collect();
    format!("veth{tail}")
}

/// The device's name inside: as configured, else the first `ethN` that no network asked for. The
/// namespace is new, so both processes come to the same answer.
pub fn container_name(values: &Values, number: u32) -> String {
    let explicit = |n: &Network| n.name.clone().filter(|n| !n.is_empty() && n != "eth%d");
    let taken: Vec<String> = values.networks.values().filter_map(explicit).collect();
    let mut free = (0..).map(|i| format!("eth{i}")).filter(|n| !taken.contains(n));
    for (&n, network) in &values.networks {
        if network.kind != Some(NetType::Veth) {
            continue;
        }
        let name = explicit(network).unwrap_or_else(|| free.next().unwrap_or_default());
        if n == number {
            return name;
        }
    }
    String::new()
}

/// In the container's network namespace: addresses, state and routes of each device, in the order
/// of the specification (networks, 1.2).
pub fn configure_inside(values: &Values) -> Result<()> {
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
        let name = match network.kind {
            None | Some(NetType::None) => continue,
            Some(NetType::Empty) => "lo".to_string(),
            Some(_) => container_name(values, number),
        };
        let what = |text: &str| format!("lxc.net.{number}: {text} {name}");
        let index = netlink.index_of(&name).doing(|| what("find"))?;
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
            add_gateway(&mut netlink, index, resolve(gateway, number)?, false)
                .doing(|| what("default route by"))?;
        }
        if let Some(gateway) = network.ipv6_gateway {
            add_gateway(&mut netlink, index, resolve(gateway, number)?, true)
                .doing(|| what("default route by"))?;
        }
    }
    Ok(())
}

/// `None`: directly by the device.
fn resolve<A: Into<IpAddr>>(gateway: Gateway<A>, number: u32) -> Result<Option<IpAddr>> {
    match gateway {
        Gateway::Address(a) => Ok(Some(a.into())),
        Gateway::Dev => Ok(None),
        Gateway::Auto => Err(Error::unsupported(format!(
            "lxc.net.{number}: a gateway of auto is not supported by this version"
        ))),
    }
}

/// RFC 919; none for /31 (RFC 3021) and /32.
fn broadcast(address: std::net::Ipv4Addr, prefix: u8) -> Option<std::net::Ipv4Addr> {
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
        assert_eq!([0, 3, 7].map(|n| container_name(&v, n)), ["eth1", "eth0", "eth2"]);
    }
}
