//! The system configuration lxc.conf: a few paths and names for all containers.

use crate::scalar;

/// The keys of lxc.conf.
#[derive(Debug, Clone, Copy)]
pub struct GlobalKey {
    /// Its name.
    pub name: &'static str,
    /// Whether `lxc-config` lists and finds it.
    pub listed: bool,
    /// What it means.
    pub doc: &'static str,
    default: fn(&Defaults) -> Option<&str>,
}

/// What holds where lxc.conf says nothing; it depends on the user and on how the programs were built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// `lxc.lxcpath`
    pub lxcpath: String,
    /// `lxc.default_config`
    pub default_config: String,
    /// `lxc.cgroup.pattern`
    pub cgroup_pattern: Option<String>,
}

/// Name of volume groups, pools and data sets where none is configured.
const STORAGE_NAME: &str = "lxc";

/// All keys; the listed ones in the order of `lxc-config -l`.
pub const GLOBAL_KEYS: &[GlobalKey] = &[
    GlobalKey {
        name: "lxc.default_config",
        listed: true,
        doc: "The configuration that new containers start from.",
        default: |defaults| Some(&defaults.default_config),
    },
    GlobalKey {
        name: "lxc.lxcpath",
        listed: true,
        doc: "The directory that holds the containers.",
        default: |defaults| Some(&defaults.lxcpath),
    },
    GlobalKey {
        name: "lxc.bdev.lvm.vg",
        listed: true,
        doc: "The LVM volume group for new containers.",
        default: |_| Some(STORAGE_NAME),
    },
    GlobalKey {
        name: "lxc.bdev.lvm.thin_pool",
        listed: true,
        doc: "The LVM thin pool for new containers.",
        default: |_| Some(STORAGE_NAME),
    },
    GlobalKey {
        name: "lxc.bdev.zfs.root",
        listed: true,
        doc: "The ZFS data set for new containers.",
        default: |_| Some(STORAGE_NAME),
    },
    GlobalKey {
        name: "lxc.cgroup.use",
        listed: true,
        doc: "The cgroup v1 controllers to use, separated by commas; all unless set.",
        default: |_| None,
    },
    GlobalKey {
        name: "lxc.cgroup.pattern",
        listed: true,
        doc: "The cgroup of a container; %n stands for its name.",
        default: |defaults| defaults.cgroup_pattern.as_deref(),
    },
    GlobalKey {
        name: "lxc.bdev.rbd.rbdpool",
        listed: false,
        doc: "The Ceph pool for new containers.",
        default: |_| Some(STORAGE_NAME),
    },
    GlobalKey {
        name: "lxc.bdev.rbd.rbduser",
        listed: false,
        doc: "The Ceph user for new containers.",
        default: |_| None,
    },
];

/// The first listed key that starts with what was typed, as `lxc-config` finds it.
pub fn find_global_key(typed: &str) -> Option<&'static GlobalKey> {
    GLOBAL_KEYS.iter().find(|key| key.listed && key.name.starts_with(typed))
}

/// What lxc.conf says, completed by the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlobalConfig {
    /// In the order of [`GLOBAL_KEYS`].
    values: [Option<String>; GLOBAL_KEYS.len()],
}

impl GlobalConfig {
    /// Reads the text of lxc.conf; without a file, pass an empty one. Unknown keys are ignored, and of
    /// several lines for one key the first counts. Bytes that are no UTF-8 are replaced.
    pub fn parse(text: &[u8], defaults: &Defaults) -> GlobalConfig {
        let mut values: [Option<String>; GLOBAL_KEYS.len()] = Default::default();
        for line in text.split(|&b| b == b'\n').filter(|line| !line.starts_with(b"#")) {
            let line = String::from_utf8_lossy(line);
            let Some((name, value)) = line.split_once('=') else { continue };
            let name = name.trim_matches([' ', '\t']);
            if let Some(at) = GLOBAL_KEYS.iter().position(|key| key.name == name) {
                // Blanks at the end and what looks like a comment belong to the value.
                values[at].get_or_insert_with(|| value.trim_start_matches([' ', '\t']).to_owned());
            }
        }
        for (value, key) in values.iter_mut().zip(GLOBAL_KEYS) {
            match value {
                Some(path) if key.name == "lxc.lxcpath" => {
                    let simple = path.trim_end_matches('/').len().max(usize::from(path.starts_with('/')));
                    path.truncate(simple);
                }
                Some(_) => {}
                None => *value = (key.default)(defaults).map(str::to_owned),
            }
        }
        GlobalConfig { values }
    }

    /// The value of a key: `None` for an unknown one, `Some(None)` for one that is not set.
    pub fn get(&self, name: &str) -> Option<Option<&str>> {
        let at = GLOBAL_KEYS.iter().position(|key| key.name == name)?;
        Some(self.values[at].as_deref())
    }

    /// The directory that holds the containers.
    pub fn lxcpath(&self) -> &str {
        self.get("lxc.lxcpath").flatten().unwrap_or_default()
    }

    /// The configuration that new containers start from.
    pub fn default_config(&self) -> &str {
        self.get("lxc.default_config").flatten().unwrap_or_default()
    }

    /// The controllers of `lxc.cgroup.use`; `None` for all.
    pub fn cgroup_use(&self) -> Option<Vec<&str>> {
        let list = self.get("lxc.cgroup.use").flatten()?;
        Some(list.split(',').flat_map(scalar::words).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> Defaults {
        Defaults {
            lxcpath: "/var/lib/lxc".into(),
            default_config: "/etc/lxc/default.conf".into(),
            cgroup_pattern: None,
        }
    }

    #[test]
    fn first_line_counts_and_values_run_to_the_end() {
        let text = b"#lxc.lxcpath = /no\n \tlxc.lxcpath\t= /srv/lxc//\nlxc.lxcpath = /other\nlxc.bdev.lvm.thin_poolx = 1\n\
                     lxc.bdev.lvm.vg = vg0 # here \nlxc.bdev.zfs.root=\njunk\nlxc.cgroup.use = memory, cpu";
        let global = GlobalConfig::parse(text, &defaults());
        assert_eq!(global.lxcpath(), "/srv/lxc");
        assert_eq!(global.get("lxc.bdev.lvm.vg"), Some(Some("vg0 # here ")));
        assert_eq!(global.get("lxc.bdev.lvm.thin_pool"), Some(Some("lxc")));
        assert_eq!(global.get("lxc.bdev.zfs.root"), Some(Some("")));
        assert_eq!(global.cgroup_use(), Some(vec!["memory", "cpu"]));
        assert_eq!(global.default_config(), "/etc/lxc/default.conf");
        assert_eq!(global.get("lxc.bdev.rbd.rbduser"), Some(None));
        assert_eq!(global.get("lxc.bogus"), None);
        assert_eq!(GlobalConfig::parse(b"lxc.lxcpath = /", &defaults()).lxcpath(), "/");
    }

    #[test]
    fn prefixes_find_the_first_listed_key() {
        assert_eq!(find_global_key("l").unwrap().name, "lxc.default_config");
        assert_eq!(find_global_key("lxc.bdev.l").unwrap().name, "lxc.bdev.lvm.vg");
        assert!(find_global_key("lxc.bdev.rbd.rbdpool").is_none());
        let listed: Vec<_> = GLOBAL_KEYS.iter().filter(|key| key.listed).map(|key| key.name).collect();
        assert_eq!(listed.len(), 7);
    }
}
