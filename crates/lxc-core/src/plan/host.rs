//! What a plan needs to know of the host: gathered once, plain data.

use std::path::Path;

/// Facts about this kernel and caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Effective user id of the caller.
    pub euid: u32,
    /// Effective group id of the caller.
    pub egid: u32,
    /// The kernel has cgroup namespaces (4.6).
    pub cgroup_namespaces: bool,
    /// Highest capability of the kernel.
    pub last_capability: u32,
    /// AppArmor is enabled.
    pub apparmor: bool,
    /// SELinux is enabled.
    pub selinux: bool,
    /// `lxc.cgroup.pattern` of lxc.conf.
    pub cgroup_pattern: Option<String>,
}

impl Host {
    /// Looks at the running host.
    pub fn detect(cgroup_pattern: Option<String>) -> Host {
        let starts_with =
            |path: &str, text: &str| std::fs::read_to_string(path).is_ok_and(|t| t.starts_with(text));
        Host {
            euid: rustix::process::geteuid().as_raw(),
            egid: rustix::process::getegid().as_raw(),
            cgroup_namespaces: Path::new("/proc/self/ns/cgroup").exists(),
            last_capability: std::fs::read_to_string("/proc/sys/kernel/cap_last_cap")
                .ok()
                .and_then(|t| t.trim().parse().ok())
                .unwrap_or(40),
            apparmor: starts_with("/sys/module/apparmor/parameters/enabled", "Y"),
            selinux: Path::new("/sys/fs/selinux/enforce").exists(),
            cgroup_pattern,
        }
    }

    /// Whether the caller is root.
    pub fn is_root(&self) -> bool {
        self.euid == 0
    }
}
