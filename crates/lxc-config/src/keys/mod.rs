//! The table of keys: each declared once, in the file of its family.
//!
//! A declaration is data ([`Key`]); how its value is stored is an [`Access`], which names a field of
//! [`Values`] or of a [`Network`]. The table is put together here, in the order in which the API lists the
//! names.

mod access;
mod apparmor;
mod autodev;
mod cap;
mod cgroup;
mod console;
mod env;
mod hook;
mod include;
mod init;
mod kernel;
mod legacy;
mod log;
mod mount;
mod namespace;
mod net;
mod net_address;
mod net_device;
mod process;
mod rootfs;
mod seccomp;
mod selinux;
mod signal;
mod start;
mod suggest;
mod target;
mod tty;

use std::sync::OnceLock;

use crate::values::{NetType, Network, Values};
pub(crate) use access::{Access, Setting, lines};
pub(crate) use legacy::Legacy;
pub use legacy::{LEGACY_KEYS, LegacyKey};
pub use rootfs::DEFAULT_ROOTFS_MOUNT;
pub(crate) use rootfs::split_storage_type;
pub(crate) use suggest::suggestion;
pub(crate) use target::{Target, Unresolved};

/// How a second assignment of the same name behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Replaces the first.
    Scalar,
    /// Adds to the first.
    List,
    /// Replaces the entry of the same sub-key.
    Map,
}

/// Whether the name is followed by a name of the user's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sub {
    /// No.
    None,
    /// Yes; without it the name stands for all entries. Holds the placeholder for texts.
    Optional(&'static str),
    /// Always. Holds the placeholder for texts.
    Required(&'static str),
}

/// What an assignment of nothing does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Empty {
    /// The key goes back to its default.
    Clear,
    /// It is an error.
    Refused,
    /// It is the same as assigning this.
    Means(&'static str),
}

/// One configuration key.
#[derive(Debug)]
pub struct Key {
    /// The name without sub-key. Keys of a network are written with `<n>` in place of the index.
    pub name: &'static str,
    /// What may follow the name after a dot.
    pub sub: Sub,
    /// How repeated assignments behave.
    pub kind: Kind,
    /// What values look like, for people.
    pub value: &'static str,
    /// What holds when nothing is written, for people.
    pub default: &'static str,
    /// The LXC version that first had the key under this name.
    pub since: &'static str,
    /// What the key does, for the manual page.
    pub doc: &'static str,
    /// Whether the API lists it among all keys.
    pub listed: bool,
    /// What assigning the empty value does.
    pub empty: Empty,
    pub(crate) place: Place,
}

/// Where a key's value lives.
#[derive(Debug)]
pub(crate) enum Place {
    /// In the container's values.
    Container(Access<Values>),
    /// In one network, which for some keys must be of a certain type.
    Network { needs: Option<NetType>, access: Access<Network> },
    /// `lxc.net`: all networks at once.
    Networks,
    /// `lxc.net.<n>`: one network as a whole.
    WholeNetwork,
    /// `lxc.net.<n>.type`.
    NetworkType,
    /// `lxc.hook`: all hooks at once.
    Hooks,
    /// `lxc.include`, which the reader of files carries out.
    Include,
}

/// What a declaration does not have to repeat.
pub(super) const KEY: Key = Key {
    name: "",
    sub: Sub::None,
    kind: Kind::Scalar,
    value: "",
    default: "unset",
    since: "2.1",
    doc: "",
    listed: true,
    empty: Empty::Clear,
    place: Place::Include,
};

impl Key {
    /// The name with placeholders, as in the manual: `lxc.cgroup2.<file>`.
    pub fn pattern(&self) -> String {
        match self.sub {
            Sub::None => self.name.to_owned(),
            Sub::Optional(sub) | Sub::Required(sub) => format!("{}.{sub}", self.name),
        }
    }

    /// The part of the name between the first two dots: `net` of `lxc.net.<n>.type`.
    pub fn family(&self) -> &'static str {
        let rest = self.name.strip_prefix("lxc.").unwrap_or(self.name);
        rest.split_once('.').map_or(rest, |(family, _)| family)
    }

    /// Whether `x` in the value stands for a random hexadecimal digit.
    pub(crate) fn has_random_digits(&self) -> bool {
        matches!(self.place, Place::Network { access: Access::HardwareAddress(_), .. })
    }
}

/// The families in the order of the API's list of names.
static FAMILIES: &[&[Key]] = &[
    process::ARCH,
    apparmor::KEYS,
    autodev::KEYS,
    cap::KEYS,
    cgroup::KEYS,
    console::KEYS,
    process::SCHED,
    env::KEYS,
    start::EPHEMERAL,
    init::EXECUTE,
    start::GROUP,
    hook::KEYS,
    namespace::IDMAP,
    include::KEYS,
    init::KEYS,
    process::KEYRING,
    log::KEYS,
    process::MONITOR,
    mount::KEYS,
    namespace::KEYS,
    net::KEYS,
    net_device::KEYS,
    process::NO_NEW_PRIVS,
    process::PRLIMIT,
    tty::PTY,
    rootfs::KEYS,
    seccomp::KEYS,
    selinux::KEYS,
    signal::KEYS,
    start::START,
    tty::TTY,
    namespace::UTS,
    kernel::KEYS,
];

/// All keys, in the order in which the API lists them.
pub fn keys() -> impl Iterator<Item = &'static Key> + Clone {
    FAMILIES.iter().copied().flatten()
}

/// The keys by name, sorted. Names with `<n>` are kept apart: nobody may write that literally.
struct Index {
    plain: Vec<(&'static str, &'static Key)>,
    /// By what follows `lxc.net.<n>.`.
    network: Vec<(&'static str, &'static Key)>,
}

const NETWORK_PREFIX: &str = "lxc.net.<n>";

fn index() -> &'static Index {
    static INDEX: OnceLock<Index> = OnceLock::new();
    INDEX.get_or_init(|| {
        let mut index = Index { plain: Vec::new(), network: Vec::new() };
        for key in keys() {
            match key.name.strip_prefix(NETWORK_PREFIX) {
                Some(rest) => index.network.push((rest.strip_prefix('.').unwrap_or(rest), key)),
                None => index.plain.push((key.name, key)),
            }
        }
        index.plain.sort_unstable_by_key(|&(name, _)| name);
        index.network.sort_unstable_by_key(|&(rest, _)| rest);
        index
    })
}

fn plain_key(name: &str) -> Option<&'static Key> {
    let plain = &index().plain;
    plain.binary_search_by_key(&name, |&(name, _)| name).ok().map(|at| plain[at].1)
}

/// The key of a network by what follows the index; nothing for the network as a whole.
fn network_key(rest: &str) -> Option<&'static Key> {
    let network = &index().network;
    network.binary_search_by_key(&rest, |&(rest, _)| rest).ok().map(|at| network[at].1)
}

/// The declaration behind a name as a user writes it, e.g. `lxc.net.0.type` or
/// `lxc.sysctl.net.ipv4.ip_forward`.
pub fn find_key(name: &str) -> Option<&'static Key> {
    Target::resolve(name).ok().map(|target| target.key)
}

/// Whether the name is one of the table, as `lxc_config_item_is_supported` answers: prefixes count, names
/// with an index or sub-key do not.
pub fn is_supported(name: &str) -> bool {
    match plain_key(name) {
        Some(key) => !matches!(key.sub, Sub::Required(_)),
        // The two prefixes that are no keys by themselves are known with their dot.
        None => matches!(name, "lxc.net." | "lxc.namespace.share."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_key_is_declared_once_and_documented() {
        let mut names = BTreeSet::new();
        for key in keys() {
            assert!(names.insert(key.name), "{} is declared twice", key.name);
            assert!(key.name.starts_with("lxc."), "{}", key.name);
            assert!(!key.value.is_empty(), "{} has no grammar", key.name);
            assert!(!key.default.is_empty(), "{} has no default", key.name);
            assert!(key.doc.ends_with('.'), "{} has no documentation", key.name);
            assert!(!key.doc.contains("  "), "{} has double blanks", key.name);
        }
    }

    #[test]
    fn longest_prefix_wins() {
        assert_eq!(find_key("lxc.cgroup.dir").unwrap().name, "lxc.cgroup.dir");
        assert_eq!(find_key("lxc.cgroup.dir.monitor.pivot").unwrap().name, "lxc.cgroup.dir.monitor.pivot");
        assert_eq!(find_key("lxc.cgroup.memory.limit_in_bytes").unwrap().name, "lxc.cgroup");
        assert_eq!(find_key("lxc.cgroup2.memory.max").unwrap().name, "lxc.cgroup2");
        assert_eq!(find_key("lxc.net.12.veth.pair").unwrap().name, "lxc.net.<n>.veth.pair");
        assert_eq!(find_key("lxc.net.12").unwrap().name, "lxc.net.<n>");
        for unknown in [
            "lxc",
            "lxc.",
            "lxc.net.",
            "lxc.net.<n>.type",
            "lxc.net.1x.type",
            "lxc.sysctl.",
            "lxc.cgroup.dirx",
        ] {
            assert!(find_key(unknown).is_none(), "{unknown}");
        }
    }

    #[test]
    fn supported_names_are_those_of_the_table() {
        for name in [
            "lxc.arch",
            "lxc.net",
            "lxc.net.",
            "lxc.namespace.share.",
            "lxc.cgroup2",
            "lxc.hook",
            "lxc.include",
        ] {
            assert!(is_supported(name), "{name}");
        }
        for name in [
            "lxc.net.0.type",
            "lxc.sysctl.a.b",
            "lxc.cgroup2.memory.max",
            "lxc.namespace.share.net",
            "lxc.bogus",
        ] {
            assert!(!is_supported(name), "{name}");
        }
    }
}
