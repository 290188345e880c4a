//! `l2proxy`: on the link of a network the host answers for the container's addresses, so that they need no address
//! of the link's own network on the way.

use std::net::IpAddr;

use lxc_config::{NetType, Network};
use lxc_sys::Errno;

use crate::error::{Doing, Error, Result};
use lxc_netlink::Netlink;

/// The loopback device's index, in every network namespace.
const LOOPBACK: u32 = 1;

/// An address that the host answers for.
#[derive(Debug)]
pub(super) struct Proxy {
    link: u32,
    address: IpAddr,
    /// The address has a route to the loopback device, too.
    routed: bool,
}

/// Lets the host answer for the addresses of a network that has `l2proxy`; what was added is in `proxies`, also when
/// it fails.
pub(super) fn add(
    proxies: &mut Vec<Proxy>,
    netlink: &mut Netlink,
    number: u32,
    network: &Network,
) -> Result<()> {
    if !network.l2proxy {
        return Ok(());
    }
    let link = network.link.as_deref().unwrap_or_default();
    let what = || format!("lxc.net.{number}.l2proxy: {link}");
    let index = netlink.index_of(link).doing(what)?;
    if !network.ipv4_addresses.is_empty() {
        must_be_on(number, &format!("net/ipv4/conf/{link}/forwarding"))?;
    }
    if !network.ipv6_addresses.is_empty() {
        must_be_on(number, &format!("net/ipv6/conf/{link}/proxy_ndp"))?;
        must_be_on(number, &format!("net/ipv6/conf/{link}/forwarding"))?;
    }
    let v4 = network.ipv4_addresses.iter().map(|net| IpAddr::V4(net.address));
    let v6 = network.ipv6_addresses.iter().map(|&(address, _)| IpAddr::V6(address));
    for address in v4.chain(v6) {
        match netlink.add_proxy(index, address) {
            // Left by a run that was killed.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(Error::os(format!("{}: answer for {address}", what()), e)),
        }
        let routed = network.kind == Some(NetType::Ipvlan);
        proxies.push(Proxy { link: index, address, routed });
        if routed {
            match netlink.add_route(LOOPBACK, Some((address, length(address))), None, address.is_ipv6()) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(Error::os(format!("{}: route {address} to lo", what()), e)),
            }
        }
    }
    Ok(())
}

/// The prefix length of a single address.
fn length(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn must_be_on(number: u32, name: &str) -> Result<()> {
    let path = format!("/proc/sys/{name}");
    let text = std::fs::read_to_string(&path).doing(|| format!("lxc.net.{number}.l2proxy: read {path}"))?;
    if text.trim() == "1" {
        return Ok(());
    }
    let name = name.replace('/', ".");
    Err(Error::invalid(format!("lxc.net.{number}.l2proxy: {name} is {}", text.trim()))
        .with_hint(format!("sysctl {name}=1 lets the host answer and forward")))
}

/// Takes back what was added; failures are logged.
pub(super) fn remove(proxies: &mut Vec<Proxy>, netlink: &mut Netlink) {
    for proxy in proxies.drain(..).rev() {
        let Proxy { link, address, routed } = proxy;
        if routed && let Err(e) = netlink.remove_route(LOOPBACK, (address, length(address))) {
            log::warn!("remove the route to {address}: {e}");
        }
        match netlink.remove_proxy(link, address) {
            // With the link it goes by itself.
            Ok(()) | Err(Errno::NODEV | Errno::NOENT) => {}
            Err(e) => log::warn!("stop answering for {address}: {e}"),
        }
    }
}
