//! `lxc.net.<n>.*`

use super::access::{Access, Custom, field, separated};
use super::net_address::{gateway, ipv4_net, ipv6_net, prefixes};
use super::{KEY, Key, Kind, Place};
use crate::values::{Gateway, Network};

const GATEWAY: &str = "address, auto (the link's own), or dev (no router)";
const COMMAND: &str = "command line for sh -c";
const INTERFACE: &str = "interface name of at most 15 bytes";

/// A key of networks of any type.
const fn any(access: Access<Network>) -> Place {
    Place::Network { needs: None, access }
}

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "lxc.net",
        kind: Kind::List,
        value: "empty",
        default: "a new network namespace with nothing in it",
        doc: "Assigning nothing removes all networks. Reading gives their types.",
        place: Place::Networks,
        ..KEY
    },
    Key {
        name: "lxc.net.<n>",
        value: "empty",
        default: "no network",
        doc: "Assigning nothing removes network n. Indices may have gaps; networks are created in their \
              order.",
        listed: false,
        place: Place::WholeNetwork,
        ..KEY
    },
    Key {
        name: "lxc.net.<n>.type",
        value: "none, empty, veth, macvlan, ipvlan, vlan or phys",
        default: "empty",
        doc: "The type of the network. It must come first: assigning it forgets everything else about the \
              network. `none` shares the network of the host, `empty` has the loopback device alone, `veth` \
              is a pair of devices with one end on the host, `macvlan`, `ipvlan` and `vlan` are devices on \
              top of another one, and `phys` moves a device of the host into the container.",
        listed: false,
        place: Place::NetworkType,
        ..KEY
    },
    Key {
        name: "lxc.net.<n>.flags",
        value: "up",
        default: "down",
        doc: "With any value the device, and the loopback device, are brought up.",
        listed: false,
        place: any(Access::Custom(Custom {
            set: |network, _| {
                network.up = true;
                Ok(())
            },
            get: |network, _| if network.up { "up".to_owned() } else { String::new() },
            clear: |network, _| network.up = false,
        })),
        ..KEY
    },
    Key {
        name: "lxc.net.<n>.link",
        value: INTERFACE,
        doc: "The device of the host to use: a bridge for veth, the lower device for macvlan, ipvlan and \
              vlan, the device itself for phys.",
        listed: false,
        place: any(Access::InterfaceName(field!(link))),
        ..KEY
    },
    Key {
        name: "lxc.net.<n>.name",
        value: INTERFACE,
        default: "eth and a number; for phys that of the link",
        doc: "The name of the device inside the container.",
        listed: false,
        place: any(Access::InterfaceName(field!(name))),
        ..KEY
    },
    Key {
        name: "lxc.net.<n>.mtu",
        value: "number of bytes",
        default: "that of the link",
        doc: "The largest packet of the device.",
        listed: false,
        place: any(Access::Text(field!(mtu))),
        ..KEY
    },
    Key {
        name: "lxc.net.<n>.hwaddr",
        value: "hardware address, with x for random digits",
        default: "random",
        doc: "The hardware address of the device inside the container. Digits written as x are chosen at \
              random once, when the file is read.",
        listed: false,
        place: any(Access::HardwareAddress(field!(hwaddr))),
        ..KEY
    },
    Key {
        name: "lxc.net.<n>.l2proxy",
        value: "0 or 1",
        default: "0",
        since: "4.0",
        doc: "With 1 the host answers ARP and neighbour discovery for the container's addresses on the link.",
        listed: false,
        place: any(Access::Flag(field!(l2proxy), false)),
        ..KEY
    },
    Key {
        name: "lxc.net.<n>.script.up",
        value: COMMAND,
        doc: "Runs on the host when the device is made and set up.",
        listed: false,
        place: any(Access::Text(field!(script_up))),
        ..KEY
    },
    Key {
        name: "lxc.net.<n>.script.down",
        value: COMMAND,
        doc: "Runs on the host before the device is removed.",
        listed: false,
        place: any(Access::Text(field!(script_down))),
        ..KEY
    },
    Key {
        name: "lxc.net.<n>.ipv4.address",
        kind: Kind::List,
        value: "ADDRESS[/PREFIX] [BROADCAST]",
        default: "none",
        doc: "An IPv4 address of the device. Without a prefix that of the address's historical class is \
              taken.",
        listed: false,
        place: any(Access::Custom(Custom {
            set: |network, setting| ipv4_net(setting.value).map(|net| network.ipv4_addresses.push(net)),
            get: |network, _| separated(&network.ipv4_addresses),
            clear: |network, _| network.ipv4_addresses.clear(),
        })),
        ..KEY
    },
    Key {
        name: "lxc.net.<n>.ipv4.gateway",
        value: GATEWAY,
        doc: "The IPv4 default route of the container.",
        listed: false,
        place: any(Access::Custom(Custom {
            set: |network, setting| {
                gateway(setting.value).map(|gateway| network.ipv4_gateway = Some(gateway))
            },
            get: |network, _| network.ipv4_gateway.as_ref().map_or_else(String::new, Gateway::to_string),
            clear: |network, _| network.ipv4_gateway = None,
        })),
        ..KEY
    },
    Key {
        name: "lxc.net.<n>.ipv6.address",
        kind: Kind::List,
        value: "ADDRESS[/PREFIX]",
        default: "none",
        doc: "An IPv6 address of the device. The prefix is 64 unless written.",
        listed: false,
        place: any(Access::Custom(Custom {
            set: |network, setting| ipv6_net(setting.value).map(|net| network.ipv6_addresses.push(net)),
            get: |network, _| prefixes(&network.ipv6_addresses),
            clear: |network, _| network.ipv6_addresses.clear(),
        })),
        ..KEY
    },
    Key {
        name: "lxc.net.<n>.ipv6.gateway",
        value: GATEWAY,
        doc: "The IPv6 default route of the container.",
        listed: false,
        place: any(Access::Custom(Custom {
            set: |network, setting| {
                gateway(setting.value).map(|gateway| network.ipv6_gateway = Some(gateway))
            },
            get: |network, _| network.ipv6_gateway.as_ref().map_or_else(String::new, Gateway::to_string),
            clear: |network, _| network.ipv6_gateway = None,
        })),
        ..KEY
    },
];
