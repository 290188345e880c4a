//! Lists of names, as `get_keys` of the API returns them.

use crate::GetError;
use crate::keys::{Place, Target, keys};
use crate::values::{NetType, Values};

/// The names below a prefix that the API has always listed. They are what clients iterate over, not all keys.
const FAMILIES: &[(&str, &[&str])] = &[
    ("lxc.apparmor", &["allow_incomplete", "allow_nesting", "profile", "raw"]),
    ("lxc.cap", &["drop", "keep"]),
    ("lxc.cgroup", &["dir"]),
    ("lxc.console", &["logfile", "path"]),
    ("lxc.environment", &["runtime", "hooks"]),
    (
        "lxc.hook",
        &[
            "autodev",
            "clone",
            "destroy",
            "mount",
            "post-stop",
            "pre-mount",
            "pre-start",
            "start-host",
            "start",
            "stop",
        ],
    ),
    ("lxc.keyring", &["session"]),
    ("lxc.monitor", &["unshare"]),
    ("lxc.mount", &["auto", "entry", "fstab"]),
    ("lxc.rootfs", &["mount", "options", "path"]),
    ("lxc.seccomp", &["profile"]),
    ("lxc.selinux", &["context", "context.keyring"]),
    ("lxc.signal", &["halt", "reboot", "stop"]),
    ("lxc.start", &["auto", "delay", "order"]),
    ("lxc.uts", &["name"]),
];

const NETWORK: &[&str] = &["type", "script.up", "script.down"];
const NETWORK_DEVICE: &[&str] = &[
    "flags",
    "link",
    "name",
    "hwaddr",
    "mtu",
    "ipv6.address",
    "ipv6.gateway",
    "ipv4.address",
    "ipv4.gateway",
];
const VETH: &[&str] = &["veth.pair", "veth.ipv4.route", "veth.ipv6.route", "veth.vlan.id"];

/// The names of all keys, or those below a prefix without it, one a line.
pub(crate) fn list(values: &Values, prefix: Option<&str>) -> Result<String, GetError> {
    let Some(prefix) = prefix else {
        return Ok(crate::keys::lines(keys().filter(|key| key.listed).map(|key| key.name)));
    };
    if let Some((_, names)) = FAMILIES.iter().find(|(family, _)| *family == prefix) {
        return Ok(crate::keys::lines(*names));
    }
    match Target::resolve(prefix) {
        Ok(Target { key, index, .. }) if is_network(&key.place) => list_network(values, index),
        _ => Err(GetError::Invalid),
    }
}

fn is_network(place: &Place) -> bool {
    matches!(place, Place::WholeNetwork | Place::NetworkType | Place::Network { .. })
}

fn list_network(values: &Values, index: u32) -> Result<String, GetError> {
    let network = values.networks.get(&index).ok_or(GetError::Invalid)?;
    let kind = network.kind.unwrap_or(NetType::Empty);
    let device = if kind == NetType::Empty { &[] } else { NETWORK_DEVICE };
    let own: &[&str] = match kind {
        NetType::Veth => VETH,
        NetType::Macvlan => &["macvlan.mode"],
        NetType::Ipvlan => &["ipvlan.mode", "ipvlan.isolation"],
        NetType::Vlan => &["vlan.id"],
        NetType::None | NetType::Empty | NetType::Phys => &[],
    };
    Ok(crate::keys::lines([NETWORK, device, own].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::find_key;

    #[test]
    fn all_names_as_in_7_0() {
        let all = list(&Values::default(), None).unwrap();
        assert_eq!(all.lines().count(), 85);
        assert_eq!(all.len(), 1480);
        assert!(all.starts_with("lxc.arch\nlxc.apparmor.profile\n"));
        assert!(all.ends_with("lxc.uts.name\nlxc.sysctl\nlxc.proc\n"));
    }

    #[test]
    fn listed_names_exist() {
        for (family, names) in FAMILIES {
            for name in *names {
                assert!(find_key(&format!("{family}.{name}")).is_some(), "{family}.{name}");
            }
        }
        for name in [NETWORK, NETWORK_DEVICE, VETH].concat() {
            assert!(find_key(&format!("lxc.net.0.{name}")).is_some(), "{name}");
        }
    }
}
