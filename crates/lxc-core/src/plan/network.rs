//! Network devices: what can be refused before anything is made.

use std::net::IpAddr;

use lxc_config::{Config, Gateway, IpvlanMode, NetType, Network, Values, VlanId};

use super::host::Host;
use crate::error::{Doing, Error, Result};
use lxc_netlink::Netlink;

/// Checks every network of the configuration.
pub fn check(values: &Values) -> Result<()> {
    for (index, net) in &values.networks {
        check_one(*index, net)?;
    }
    Ok(())
}

/// Refuses what only root can make.
pub fn check_for_user(values: &Values, host: &Host) -> Result<()> {
    if host.is_root() {
        return Ok(());
    }
    let rooted = |n: &Network| n.kind.is_some_and(|k| k.has_device() && k != NetType::Veth);
    match values.networks.iter().find(|(_, n)| rooted(n)) {
        Some((number, network)) => {
            let kind = network.kind.map_or("", NetType::name);
            Err(Error::invalid(format!("lxc.net.{number}.type = {kind}: only root makes such devices"))
                .with_hint("ordinary users have type veth, none and empty: see lxc-usernet(5)"))
        }
        None => Ok(()),
    }
}

/// Refuses a number that two networks have: what was meant for the second has changed the first. Another file may
/// say something else of a network, and so may a program.
pub fn check_repetition(config: &Config) -> Result<()> {
    for number in config.values.networks.keys() {
        let key = format!("lxc.net.{number}.type");
        if let Some((_, first, second)) = config.assigned_twice(&key) {
            let text =
                format!("{key}: line {second} begins network {number} again, which began in line {first}");
            return Err(Error::invalid(text).with_hint("give each network a number of its own"));
        }
    }
    Ok(())
}

fn check_one(index: u32, net: &Network) -> Result<()> {
    let key = |k: &str| format!("lxc.net.{index}.{k}");
    let invalid = |k: &str, what: &str| Err(Error::invalid(format!("{}: {what}", key(k))));
    let has_link = net.link.as_deref().is_some_and(|l| !l.is_empty());
    match net.kind {
        Some(NetType::Phys | NetType::Macvlan | NetType::Ipvlan | NetType::Vlan) if !has_link => {
            return invalid("link", "a network of this type needs a device of the host");
        }
        Some(NetType::Phys) if net.link.as_deref().is_some_and(|l| l.ends_with('+')) => {
            return invalid(
                "link",
                "name each device in a network of its own: a + at the end is for none in particular",
            );
        }
        // IEEE 802.1Q: 0 is no VLAN, 4095 is reserved.
        Some(NetType::Vlan) if !(1..=4094).contains(&net.vlan_id) => {
            return invalid("vlan.id", &format!("{} is not a number from 1 to 4094", net.vlan_id));
        }
        Some(NetType::Empty) if net.name.as_deref().is_some_and(|n| n != "lo") => {
            return invalid("name", "a network of type empty has lo only");
        }
        _ => {}
    }
    if net.l2proxy && !has_link {
        return invalid("l2proxy", "it is for a link, and there is none");
    }
    if net.l2proxy && net.kind == Some(NetType::Ipvlan) && net.ipvlan_mode != IpvlanMode::L3s {
        return invalid("l2proxy", "with ipvlan it needs ipvlan.mode = l3s");
    }
    check_vlans(index, net, has_link)?;
    check_gateways(index, net, has_link)?;
    // RFC 8200, section 5: with less, the kernel takes IPv6 from the device.
    if let Some(mtu @ ..1280) = mtu(index, net)?
        && !net.ipv6_addresses.is_empty()
    {
        return invalid("mtu", &format!("IPv6 needs 1280, {mtu} is less"));
    }
    if let Some(text) = &net.hwaddr {
        let address = hardware_address(text)
            .ok_or_else(|| Error::invalid(format!("{} = {text}: not an Ethernet address", key("hwaddr"))))?;
        // IEEE 802: the lowest bit of the first byte is for groups; the kernel refuses it, and none at all.
        if address[0] & 1 == 1 || address == [0; 6] {
            return invalid("hwaddr", &format!("{text} is not the address of one device"));
        }
    }
    Ok(())
}

/// VLANs of the port of a bridge.
fn check_vlans(index: u32, net: &Network, has_link: bool) -> Result<()> {
    let invalid = |k: &str, what: &str| Err(Error::invalid(format!("lxc.net.{index}.{k}: {what}")));
    let vlan_key = if net.veth_vlan_id.is_some() { "veth.vlan.id" } else { "veth.vlan.tagged.id" };
    let has_vlans = net.veth_vlan_id.is_some() || !net.veth_vlan_tagged.is_empty();
    if has_vlans && (net.veth_router || !has_link) {
        return invalid(vlan_key, "VLANs are those of a bridge: they need veth.mode = bridge and a link");
    }
    if let Some(VlanId::Id(id)) = net.veth_vlan_id
        && net.veth_vlan_tagged.contains(&id)
    {
        return invalid("veth.vlan.tagged.id", &format!("{id} is the untagged VLAN, veth.vlan.id"));
    }
    Ok(())
}

fn check_gateways(index: u32, net: &Network, has_link: bool) -> Result<()> {
    let key = |k: &str| format!("lxc.net.{index}.{k}");
    let invalid = |k: &str, what: &str| Err(Error::invalid(format!("{}: {what}", key(k))));
    let auto = (Some(Gateway::Auto), Some(Gateway::Auto));
    for (k, is) in
        [("ipv4.gateway", net.ipv4_gateway == auto.0), ("ipv6.gateway", net.ipv6_gateway == auto.1)]
    {
        let able = matches!(net.kind, Some(NetType::Veth | NetType::Macvlan));
        if is && !(able && has_link) {
            return invalid(
                k,
                "auto is the address of the link, for networks of type veth and macvlan that have one",
            );
        }
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

/// Puts the addresses of their links in place of gateways that are `auto`.
pub fn resolve_gateways(values: &mut Values) -> Result<()> {
    for (index, net) in &mut values.networks {
        let link = net.link.clone().unwrap_or_default();
        if net.ipv4_gateway == Some(Gateway::Auto) {
            let key = format!("lxc.net.{index}.ipv4.gateway");
            if let IpAddr::V4(a) = address_of(&key, &link, false)? {
                net.ipv4_gateway = Some(Gateway::Address(a));
            }
        }
        if net.ipv6_gateway == Some(Gateway::Auto) {
            let key = format!("lxc.net.{index}.ipv6.gateway");
            if let IpAddr::V6(a) = address_of(&key, &link, true)? {
                net.ipv6_gateway = Some(Gateway::Address(a));
            }
        }
    }
    Ok(())
}

/// The first address of a device of the host, one for more than the link where there is one.
fn address_of(key: &str, link: &str, v6: bool) -> Result<IpAddr> {
    let what = || format!("{key} = auto: the address of {link}");
    let mut netlink = Netlink::open().doing(what)?;
    let index = netlink.index_of(link).doing(what)?;
    let mut found = netlink.addresses().doing(what)?;
    found.retain(|a| a.index == index && a.address.is_ipv6() == v6);
    found.sort_by_key(|a| a.link_local);
    let first = found.first().map(|a| a.address);
    first.ok_or_else(|| Error::invalid(format!("{}: it has none", what())))
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
