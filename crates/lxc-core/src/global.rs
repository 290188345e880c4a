//! lxc.conf: settings of all containers.

use std::path::{Path, PathBuf};

use lxc_config::GlobalConfig;
use lxc_config::global::Defaults;

use crate::paths;

/// Reads lxc.conf of the caller: the system's for root, the user's own otherwise.
pub fn load() -> GlobalConfig {
    let root = rustix::process::geteuid().is_root();
    let (file, defaults) = if root {
        let etc = Path::new(paths::SYSCONFDIR).join("lxc");
        (etc.join("lxc.conf"), defaults(&paths::built_in_lxcpath(), &etc.join("default.conf")))
    } else {
        let config = paths::home().join(".config/lxc");
        let lxcpath = paths::home().join(".local/share/lxc");
        (config.join("lxc.conf"), defaults(&lxcpath, &config.join("default.conf")))
    };
    GlobalConfig::parse(&std::fs::read(file).unwrap_or_default(), &defaults)
}

/// Directory of containers.
pub fn lxcpath() -> PathBuf {
    PathBuf::from(load().lxcpath())
}

fn defaults(lxcpath: &Path, default_config: &Path) -> Defaults {
    Defaults {
        lxcpath: lxcpath.display().to_string(),
        default_config: default_config.display().to_string(),
        cgroup_pattern: None,
    }
}
