//! Pairs of virtual Ethernet devices, and how the host's end is connected: as a port of a bridge, with VLANs, or
//! as an interface of the host, which routes.

use std::net::IpAddr;

use lxc_config::{Gateway, Network, VlanId};
use lxc_sys::Errno;

use super::link::{Bridge, bridge_of};
use super::openvswitch;
use super::setup::{Device, Devices, Inside};
use crate::error::{Doing, Error, Result};
use crate::plan::network::{hardware_address, mtu};
use lxc_netlink::{Netlink, VethPair, random_device_name};

impl Devices {
    /// Makes the pair of a network of type veth and connects the host's end.
    pub(super) fn create_veth(
        &mut self,
        netlink: &mut Netlink,
        number: u32,
        network: &Network,
        inside: &Inside<'_>,
    ) -> Result<()> {
        let key = |k: &str| format!("lxc.net.{number}.{k}");
        let bridge = bridge_of(netlink, number, network)?;
        let wanted_mtu = mtu(number, network)?.or_else(|| bridge.as_ref().map(|b| b.device().mtu));
        let queue = |n: Option<i32>| n.and_then(|n| u32::try_from(n).ok());
        for _ in 0..100 {
            let host = network.veth_pair.clone().unwrap_or_else(|| random_device_name("veth", 6));
            let pair = VethPair {
                host: &host,
                peer: &inside.name,
                namespace: inside.namespace,
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
                        format!("create veth pair {host} and {} ({})", inside.name, key("type")),
                        e,
                    ));
                }
            }
            let device = netlink.device(&host).doing(|| format!("look at {host}"))?;
            let index = device.index;
            self.made.push(Device { index, name: host.clone(), network: number, in_ovs: false });
            let controller = match &bridge {
                Some(Bridge::Linux(device)) => Some(device.index),
                _ => None,
            };
            netlink
                .bring_up_host_end(&device, bridge.is_some(), controller)
                .doing(|| format!("bring {host} up"))?;
            if let Some(Bridge::OpenVSwitch(device)) = &bridge {
                if let Some(made) = self.made.last_mut() {
                    made.in_ovs = true;
                }
                openvswitch::add_port(number, network, &device.name, &host)?;
            }
            return connect(netlink, number, network, bridge.as_ref(), &host, index);
        }
        Err(Error::os("find a free name for a veth device", Errno::EXIST))
    }
}

/// What the host's end needs when it is up. All of it goes with the device.
fn connect(
    netlink: &mut Netlink,
    number: u32,
    network: &Network,
    bridge: Option<&Bridge>,
    host: &str,
    index: u32,
) -> Result<()> {
    if network.veth_router {
        route_by_host(netlink, number, network, host, index)?;
    } else if let Some(Bridge::Linux(bridge)) = bridge {
        join_vlans(netlink, number, network, &bridge.name, index)?;
    }
    let v4 = network.veth_ipv4_routes.iter().map(|&(a, prefix)| (IpAddr::V4(a), prefix));
    let v6 = network.veth_ipv6_routes.iter().map(|&(a, prefix)| (IpAddr::V6(a), prefix));
    for (address, prefix) in v4.chain(v6) {
        let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
        netlink.add_route(index, Some((address, prefix)), None, address.is_ipv6()).doing(|| {
            format!("lxc.net.{number}.veth.{family}.route = {address}/{prefix}: add it to {host}")
        })?;
    }
    Ok(())
}

/// `veth.mode = router`: the host answers for the gateway and knows the way to the container's addresses.
fn route_by_host(
    netlink: &mut Netlink,
    number: u32,
    network: &Network,
    host: &str,
    index: u32,
) -> Result<()> {
    let write = |file: String| {
        std::fs::write(&file, "1").doing(|| format!("lxc.net.{number}.veth.mode: write {file}"))
    };
    if let Some(Gateway::Address(gateway)) = network.ipv4_gateway {
        write(format!("/proc/sys/net/ipv4/conf/{host}/forwarding"))?;
        netlink.add_proxy(index, gateway.into()).doing(|| format!("answer for {gateway} on {host}"))?;
    }
    if let Some(Gateway::Address(gateway)) = network.ipv6_gateway {
        let file = "/proc/sys/net/ipv6/conf/all/forwarding";
        let forwards = std::fs::read_to_string(file).doing(|| format!("read {file}"))?;
        if forwards.trim() != "1" {
            let text = format!(
                "lxc.net.{number}.veth.mode: the host does not forward IPv6: {file} is {}",
                forwards.trim()
            );
            return Err(Error::invalid(text).with_hint("sysctl net.ipv6.conf.all.forwarding=1 lets it"));
        }
        write(format!("/proc/sys/net/ipv6/conf/{host}/proxy_ndp"))?;
        netlink.add_proxy(index, gateway.into()).doing(|| format!("answer for {gateway} on {host}"))?;
    }
    let v4 = network.ipv4_addresses.iter().map(|net| (IpAddr::V4(net.address), 32));
    let v6 = network.ipv6_addresses.iter().map(|&(address, _)| (IpAddr::V6(address), 128));
    for destination in v4.chain(v6) {
        let (address, _) = destination;
        netlink
            .add_route(index, Some(destination), None, address.is_ipv6())
            .doing(|| format!("lxc.net.{number}.veth.mode: route to {address} by {host}"))?;
    }
    Ok(())
}

/// The VLANs of the port (kernel: Documentation/networking/bridge.rst, VLAN filtering).
fn join_vlans(netlink: &mut Netlink, number: u32, network: &Network, bridge: &str, index: u32) -> Result<()> {
    if network.veth_vlan_id.is_none() && network.veth_vlan_tagged.is_empty() {
        return Ok(());
    }
    let key = if network.veth_vlan_id.is_some() { "vlan.id" } else { "vlan.tagged.id" };
    let key = format!("lxc.net.{number}.veth.{key}");
    let read = |file: &str| {
        let path = format!("/sys/class/net/{bridge}/bridge/{file}");
        let text = std::fs::read_to_string(&path).doing(|| format!("{key}: read {path}"))?;
        Ok::<_, Error>(text.trim().to_string())
    };
    if read("vlan_filtering")? != "1" {
        return Err(Error::invalid(format!("{key}: the bridge {bridge} does not filter VLANs"))
            .with_hint(format!("ip link set {bridge} type bridge vlan_filtering 1 makes it")));
    }
    if let Some(wanted) = network.veth_vlan_id {
        let own = if let VlanId::Id(id) = wanted { id } else { 0 };
        let first: u16 = read("default_pvid")?.parse().unwrap_or(0);
        if first != 0 && first != own {
            netlink.leave_vlan(index, first).doing(|| format!("{key}: leave VLAN {first}"))?;
        }
        if own != 0 {
            netlink.join_vlan(index, own, true).doing(|| format!("{key}: join VLAN {own}"))?;
        }
    }
    for &id in &network.veth_vlan_tagged {
        netlink
            .join_vlan(index, id, false)
            .doing(|| format!("lxc.net.{number}.veth.vlan.tagged.id: join VLAN {id}"))?;
    }
    Ok(())
}

/// Whether it is the name of a pair's end that was given none: `vethXXXXXX`, each X a letter or digit.
pub(crate) fn is_random_name(name: &str) -> bool {
    let tail = name.strip_prefix("veth");
    tail.is_some_and(|t| t.len() == 6 && t.bytes().all(|b| b.is_ascii_alphanumeric()))
}
