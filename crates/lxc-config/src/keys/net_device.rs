//! Keys of networks of one type: `lxc.net.<n>.veth.*` and the like.

use super::access::{Access, Custom, field, separated};
use super::net_address::{prefixes, route};
use super::{KEY, Key, Kind, Place};
use crate::values::{IpvlanIsolation, IpvlanMode, MacvlanMode, NetType, Network, VlanId};
use crate::{ValueError, scalar};

/// Highest VLAN of a bridge port.
const VLAN_MAX: u32 = 4094;

const INTERFACE: &str = "interface name of at most 15 bytes";
const QUEUES: &str = "number from 1";

const fn only(kind: NetType, access: Access<Network>) -> Place {
    Place::Network { needs: Some(kind), access }
}

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "lxc.net.<n>.veth.mode",
        value: "bridge or router",
        default: "bridge",
        since: "4.0",
        doc: "Whether the host's end is a port of the bridge that lxc.net.<n>.link names, or the host \
              routes.",
        listed: false,
        place: only(
            NetType::Veth,
            Access::Custom(Custom {
                set: |network, setting| {
                    choice(setting.value, &[("bridge", false), ("router", true)])
                        .map(|mode| network.veth_router = mode)
                },
                get: |network, _| if network.veth_router { "router" } else { "bridge" }.to_owned(),
                clear: |network, _| network.veth_router = false,
            }),
        ),
        ..KEY
    },
    Key {
        name: "lxc.net.<n>.veth.pair",
        value: INTERFACE,
        default: "veth and random characters",
        doc: "The name of the host's end.",
        listed: false,
        place: only(NetType::Veth, Access::InterfaceName(field!(veth_pair))),
        ..KEY
    },
    Key {
        name: "lxc.net.<n>.veth.ipv4.route",
        kind: Kind::List,
        value: "NETWORK/PREFIX",
        default: "none",
        since: "3.1",
        doc: "An IPv4 route on the host that leads to the container.",
        listed: false,
        place: only(
            NetType::Veth,
            Access::Custom(Custom {
                set: |network, setting| {
                    route(setting.value, 32).map(|route| network.veth_ipv4_routes.push(route))
                },
                get: |network, _| prefixes(&network.veth_ipv4_routes),
                clear: |network, _| network.veth_ipv4_routes.clear(),
            }),
        ),
        ..KEY
    },
    Key {
        name: "lxc.net.<n>.veth.ipv6.route",
        kind: Kind::List,
        value: "NETWORK/PREFIX",
        default: "none",
        since: "3.1",
        doc: "An IPv6 route on the host that leads to the container.",
        listed: false,
        place: only(
            NetType::Veth,
            Access::Custom(Custom {
                set: |network, setting| {
                    route(setting.value, 128).map(|route| network.veth_ipv6_routes.push(route))
                },
                get: |network, _| prefixes(&network.veth_ipv6_routes),
                clear: |network, _| network.veth_ipv6_routes.clear(),
            }),
        ),
        ..KEY
    },
    Key {
        name: "lxc.net.<n>.veth.vlan.id",
        value: "0 to 4094, or none",
        default: "that of the bridge",
        since: "4.0",
        doc: "The VLAN of untagged packets at the bridge port. `none` takes the port out of the bridge's \
              own.",
        listed: false,
        place: only(
            NetType::Veth,
            Access::Custom(Custom {
                set: |network, setting| {
                    let id =
                        if setting.value == "none" { VlanId::None } else { VlanId::Id(vlan(setting.value)?) };
                    network.veth_vlan_id = Some(id);
                    Ok(())
                },
                get: |network, _| match network.veth_vlan_id {
                    None => String::new(),
                    Some(VlanId::None) => "-1".to_owned(),
                    Some(VlanId::Id(id)) => id.to_string(),
                },
                clear: |network, _| network.veth_vlan_id = None,
            }),
        ),
        ..KEY
    },
    Key {
        name: "lxc.net.<n>.veth.vlan.tagged.id",
        kind: Kind::List,
        value: "0 to 4094",
        default: "none",
        since: "4.0",
        doc: "A VLAN whose tagged packets pass the bridge port.",
        listed: false,
        place: only(
            NetType::Veth,
            Access::Custom(Custom {
                set: |network, setting| vlan(setting.value).map(|id| network.veth_vlan_tagged.push(id)),
                get: |network, _| separated(&network.veth_vlan_tagged),
                clear: |network, _| network.veth_vlan_tagged.clear(),
            }),
        ),
        ..KEY
    },
    Key {
        name: "lxc.net.<n>.veth.n_rxqueues",
        value: QUEUES,
        default: "1",
        since: "5.0",
        doc: "Number of receive queues of the container's end.",
        listed: false,
        place: only(
            NetType::Veth,
            Access::Custom(Custom {
                set: |network, setting| {
                    queues(setting.value).map(|count| network.veth_rxqueues = Some(count))
                },
                get: |network, _| network.veth_rxqueues.map_or_else(String::new, |count| count.to_string()),
                clear: |network, _| network.veth_rxqueues = None,
            }),
        ),
        ..KEY
    },
    Key {
        name: "lxc.net.<n>.veth.n_txqueues",
        value: QUEUES,
        default: "1",
        since: "5.0",
        doc: "Number of transmit queues of the container's end.",
        listed: false,
        place: only(
            NetType::Veth,
            Access::Custom(Custom {
                set: |network, setting| {
                    queues(setting.value).map(|count| network.veth_txqueues = Some(count))
                },
                get: |network, _| network.veth_txqueues.map_or_else(String::new, |count| count.to_string()),
                clear: |network, _| network.veth_txqueues = None,
            }),
        ),
        ..KEY
    },
    Key {
        name: "lxc.net.<n>.macvlan.mode",
        value: "private, vepa, bridge or passthru",
        default: "private",
        doc: "How devices of one link reach each other: not at all, through the external switch, directly, \
              or there is only one.",
        listed: false,
        place: only(
            NetType::Macvlan,
            Access::Custom(Custom {
                set: |network, setting| {
                    choice(setting.value, MACVLAN_MODES).map(|mode| network.macvlan_mode = mode)
                },
                get: |network, _| word(network.macvlan_mode, MACVLAN_MODES),
                clear: |network, _| network.macvlan_mode = MacvlanMode::default(),
            }),
        ),
        ..KEY
    },
    Key {
        name: "lxc.net.<n>.ipvlan.mode",
        value: "l3, l3s or l2",
        default: "l2",
        since: "4.0",
        doc: "The layer at which the devices of one link are told apart; `l3s` lets the host filter.",
        listed: false,
        place: only(
            NetType::Ipvlan,
            Access::Custom(Custom {
                set: |network, setting| {
                    choice(setting.value, IPVLAN_MODES).map(|mode| network.ipvlan_mode = mode)
                },
                get: |network, _| word(network.ipvlan_mode, IPVLAN_MODES),
                clear: |network, _| network.ipvlan_mode = IpvlanMode::default(),
            }),
        ),
        ..KEY
    },
    Key {
        name: "lxc.net.<n>.ipvlan.isolation",
        value: "bridge, private or vepa",
        default: "bridge",
        since: "4.0",
        doc: "How devices of one link reach each other: directly, not at all, or through the external \
              switch.",
        listed: false,
        place: only(
            NetType::Ipvlan,
            Access::Custom(Custom {
                set: |network, setting| {
                    choice(setting.value, IPVLAN_ISOLATIONS).map(|mode| network.ipvlan_isolation = mode)
                },
                get: |network, _| word(network.ipvlan_isolation, IPVLAN_ISOLATIONS),
                clear: |network, _| network.ipvlan_isolation = IpvlanIsolation::default(),
            }),
        ),
        ..KEY
    },
    Key {
        name: "lxc.net.<n>.vlan.id",
        value: "0 to 65535",
        default: "0",
        doc: "The VLAN of the device.",
        listed: false,
        place: only(
            NetType::Vlan,
            Access::Custom(Custom {
                set: |network, setting| {
                    let id = scalar::uint(setting.value)?;
                    let id = u16::try_from(id).map_err(|_| ValueError::new(format!("{id} is not a VLAN")))?;
                    network.vlan_id = id.into();
                    Ok(())
                },
                get: |network, _| network.vlan_id.to_string(),
                clear: |network, _| network.vlan_id = 0,
            }),
        ),
        ..KEY
    },
];

const NET_TYPES: &[(&str, NetType)] = &[
    ("none", NetType::None),
    ("empty", NetType::Empty),
    ("veth", NetType::Veth),
    ("macvlan", NetType::Macvlan),
    ("ipvlan", NetType::Ipvlan),
    ("vlan", NetType::Vlan),
    ("phys", NetType::Phys),
];

const MACVLAN_MODES: &[(&str, MacvlanMode)] = &[
    ("private", MacvlanMode::Private),
    ("vepa", MacvlanMode::Vepa),
    ("bridge", MacvlanMode::Bridge),
    ("passthru", MacvlanMode::Passthru),
];

const IPVLAN_MODES: &[(&str, IpvlanMode)] =
    &[("l3", IpvlanMode::L3), ("l3s", IpvlanMode::L3s), ("l2", IpvlanMode::L2)];

const IPVLAN_ISOLATIONS: &[(&str, IpvlanIsolation)] = &[
    ("bridge", IpvlanIsolation::Bridge),
    ("private", IpvlanIsolation::Private),
    ("vepa", IpvlanIsolation::Vepa),
];

/// A value of `lxc.net.<n>.type`.
pub(super) fn net_type(value: &str) -> Result<NetType, ValueError> {
    choice(value, NET_TYPES)
}

/// One of a few words.
fn choice<T: Copy>(value: &str, words: &[(&str, T)]) -> Result<T, ValueError> {
    let found = words.iter().find(|(word, _)| *word == value);
    found
        .map(|&(_, choice)| choice)
        .ok_or_else(|| ValueError::new(format!("'{value}' is not one of the choices")))
}

/// The word of a choice.
fn word<T: PartialEq>(value: T, words: &[(&str, T)]) -> String {
    words.iter().find(|(_, choice)| *choice == value).map_or_else(String::new, |(word, _)| (*word).to_owned())
}

fn vlan(value: &str) -> Result<u16, ValueError> {
    let id = scalar::uint(value)?;
    if id > VLAN_MAX {
        return Err(ValueError::new(format!("{id} is not a VLAN")));
    }
    Ok(id as u16)
}

fn queues(value: &str) -> Result<i32, ValueError> {
    let count = scalar::int(value)?;
    if count < 1 { Err(ValueError::new("there must be at least one queue")) } else { Ok(count) }
}
