//! Network devices: what can be refused before anything is made.

use lxc_config::{NetType, Network, Values};

use crate::error::{Error, Result};

/// Checks every network of the configuration.
pub fn check(values: &Values) -> Result<()> {
    for (index, net) in &values.networks {
        check_one(*index, net)?;
    }
    Ok(())
}

fn check_one(index: u32, net: &Network) -> Result<()> {
    let key = |k: &str| format!("lxc.net.{index}.{k}");
    let later = |k: &str, what: &str| {
        Err(Error::unsupported(format!("{}: {what} is not supported by this version", key(k))))
    };
    match net.kind {
        None | Some(NetType::None | NetType::Empty | NetType::Veth) => {}
        Some(other) => return later("type", &format!("a network of type {}", other.name())),
    }
    if net.kind == Some(NetType::Empty) && net.name.as_deref().is_some_and(|n| n != "lo") {
        return Err(Error::invalid(format!("{}: a network of type empty has lo only", key("name"))));
    }
    if net.veth_router {
        return later("veth.mode", "router mode");
    }
    if net.l2proxy {
        return later("l2proxy", "a layer 2 proxy");
    }
    if net.veth_vlan_id.is_some() || !net.veth_vlan_tagged.is_empty() {
        return later("veth.vlan.id", "VLAN filtering");
    }
    if !net.veth_ipv4_routes.is_empty() || !net.veth_ipv6_routes.is_empty() {
        return later("veth.ipv4.route", "a route on the host");
    }
    mtu(index, net)?;
    if let Some(text) = &net.hwaddr {
        hardware_address(text)
            .ok_or_else(|| Error::invalid(format!("{} = {text}: not an Ethernet address", key("hwaddr"))))?;
    }
    if net.ipv4_gateway.is_some() && (!net.up || net.ipv4_addresses.is_empty()) {
        return Err(Error::invalid(format!(
            "{} needs {} = up and an address",
            key("ipv4.gateway"),
            key("flags")
        )));
    }
    let link_local = |g: &lxc_config::Gateway<std::net::Ipv6Addr>| matches!(g, lxc_config::Gateway::Address(a) if a.segments()[0] & 0xffc0 == 0xfe80);
    if let Some(gateway) = &net.ipv6_gateway
        && (!net.up || (net.ipv6_addresses.is_empty() && !link_local(gateway)))
    {
        return Err(Error::invalid(format!(
            "{} needs {} = up and an address",
            key("ipv6.gateway"),
            key("flags")
        )));
    }
    Ok(())
}

/// The MTU of a network, where one is given.
pub fn mtu(index: u32, net: &Network) -> Result<Option<u32>> {
    let Some(text) = &net.mtu else { return Ok(None) };
    match text.trim().parse() {
        // RFC 791 and RFC 8200 allow 68 and more; Ethernet devices take up to 65535.
        Ok(mtu @ 68..=65535) => Ok(Some(mtu)),
        _ => Err(Error::invalid(format!("lxc.net.{index}.mtu = {text}: not a number from 68 to 65535"))),
    }
}

/// Six bytes of `aa:bb:cc:dd:ee:ff`.
pub fn hardware_address(text: &str) -> Option<[u8; 6]> {
    let mut out = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut out {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(out)
}
