//! Names of LXC 1 and 2, read so that old files still load.

use crate::values::Values;

/// An old name and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LegacyKey {
    /// The name in LXC 1 and 2.
    pub name: &'static str,
    /// The name today; `None` where the key has no effect any more.
    pub replacement: Option<&'static str>,
    /// Whether programs still get and set it by the old name.
    pub in_api: bool,
}

const fn renamed(name: &'static str, replacement: &'static str) -> LegacyKey {
    LegacyKey { name, replacement: Some(replacement), in_api: false }
}

/// All old names but those below `lxc.network` and `lxc.limit`.
pub static LEGACY_KEYS: &[LegacyKey] = &[
    renamed("lxc.aa_allow_incomplete", "lxc.apparmor.allow_incomplete"),
    renamed("lxc.aa_profile", "lxc.apparmor.profile"),
    renamed("lxc.console", "lxc.console.path"),
    renamed("lxc.devttydir", "lxc.tty.dir"),
    renamed("lxc.haltsignal", "lxc.signal.halt"),
    renamed("lxc.id_map", "lxc.idmap"),
    renamed("lxc.init_cmd", "lxc.init.cmd"),
    renamed("lxc.init_gid", "lxc.init.gid"),
    renamed("lxc.init_uid", "lxc.init.uid"),
    LegacyKey { name: "lxc.kmsg", replacement: None, in_api: false },
    renamed("lxc.limit", "lxc.prlimit"),
    renamed("lxc.logfile", "lxc.log.file"),
    renamed("lxc.loglevel", "lxc.log.level"),
    renamed("lxc.mount", "lxc.mount.fstab"),
    LegacyKey { name: "lxc.network", replacement: Some("lxc.net"), in_api: true },
    LegacyKey { name: "lxc.pivotdir", replacement: None, in_api: false },
    renamed("lxc.pts", "lxc.pty.max"),
    renamed("lxc.rebootsignal", "lxc.signal.reboot"),
    LegacyKey { name: "lxc.rootfs", replacement: Some("lxc.rootfs.path"), in_api: true },
    renamed("lxc.rootfs.backend", "lxc.rootfs.path"),
    renamed("lxc.se_context", "lxc.selinux.context"),
    renamed("lxc.seccomp", "lxc.seccomp.profile"),
    renamed("lxc.stopsignal", "lxc.signal.stop"),
    renamed("lxc.syslog", "lxc.log.syslog"),
    renamed("lxc.tty", "lxc.tty.max"),
    LegacyKey { name: "lxc.utsname", replacement: Some("lxc.uts.name"), in_api: true },
];

/// What to do with a line that has an old name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Legacy {
    /// Treat it as this key.
    Renamed(String),
    /// Remember the storage type that the next root file system path lacks.
    StorageType,
    /// Ignore it.
    Ignored,
}

impl Legacy {
    /// Recognises an old name. Networks without an index mean the last one, and their type begins another.
    pub(crate) fn resolve(name: &str, values: &Values) -> Option<Legacy> {
        if let Some(field) = name.strip_prefix("lxc.network.") {
            return Some(Legacy::Renamed(network(field, values)));
        }
        if let Some(resource) = name.strip_prefix("lxc.limit.") {
            return Some(Legacy::Renamed(format!("lxc.prlimit.{resource}")));
        }
        let at = LEGACY_KEYS.binary_search_by_key(&name, |key| key.name).ok()?;
        Some(match LEGACY_KEYS[at].replacement {
            _ if name == "lxc.rootfs.backend" => Legacy::StorageType,
            Some(replacement) => Legacy::Renamed(replacement.to_owned()),
            None => Legacy::Ignored,
        })
    }

    /// The new name, where programs may still use the old one.
    pub(crate) fn resolve_in_api(name: &str, values: &Values) -> Option<String> {
        let in_api =
            name.starts_with("lxc.network.") || LEGACY_KEYS.iter().any(|key| key.in_api && key.name == name);
        match Legacy::resolve(name, values) {
            Some(Legacy::Renamed(name)) if in_api => Some(name),
            _ => None,
        }
    }
}

/// The new name of what follows `lxc.network.`.
fn network(field: &str, values: &Values) -> String {
    let last = values.networks.keys().next_back().copied();
    let (index, field) = match field.split_once('.') {
        Some((digits, rest)) if is_number(digits) => (digits.to_owned(), rest),
        _ if is_number(field) => return format!("lxc.net.{field}"),
        _ if field == "type" => (last.map_or(0, |last| last + 1).to_string(), field),
        _ => (last.unwrap_or(0).to_string(), field),
    };
    let field = match field {
        "ipv4" => "ipv4.address",
        "ipv6" => "ipv6.address",
        other => other,
    };
    format!("lxc.net.{index}.{field}")
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::find_key;
    use crate::values::Network;

    #[test]
    fn table_is_sorted_and_leads_to_keys() {
        assert!(LEGACY_KEYS.is_sorted_by_key(|key| key.name));
        for key in LEGACY_KEYS {
            assert!(find_key(key.name).is_none_or(|found| found.name != key.name), "{}", key.name);
            if let Some(replacement) = key.replacement {
                assert!(find_key(replacement).is_some(), "{replacement}");
            }
        }
    }

    #[test]
    fn networks_count_up() {
        let mut values = Values::default();
        let renamed = |name: &str, values: &Values| match Legacy::resolve(name, values) {
            Some(Legacy::Renamed(name)) => name,
            other => panic!("{other:?}"),
        };
        assert_eq!(renamed("lxc.network.type", &values), "lxc.net.0.type");
        values.networks.insert(0, Network::default());
        assert_eq!(renamed("lxc.network.ipv4", &values), "lxc.net.0.ipv4.address");
        assert_eq!(renamed("lxc.network.type", &values), "lxc.net.1.type");
        assert_eq!(renamed("lxc.network.3.ipv6", &values), "lxc.net.3.ipv6.address");
        assert_eq!(renamed("lxc.network.3.ipv4.gateway", &values), "lxc.net.3.ipv4.gateway");
        assert_eq!(renamed("lxc.network.script.up", &values), "lxc.net.0.script.up");
        assert_eq!(renamed("lxc.network.3", &values), "lxc.net.3");
        assert_eq!(renamed("lxc.limit.nofile", &values), "lxc.prlimit.nofile");
    }
}
