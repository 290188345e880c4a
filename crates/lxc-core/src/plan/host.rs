//! What a plan needs to know of the host: gathered once, plain data.

use std::path::Path;

use lxc_config::Values;
use lxc_sys::Errno;
use rustix::thread::CapabilitySet;

use super::label::UNCONFINED;
use super::subordinate::Subordinate;

/// Facts about AppArmor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppArmorHost {
    /// Label of this process, without its mode.
    pub label: String,
    /// A process can be under several profiles at once, one of them in a policy namespace.
    pub can_stack: bool,
    /// Profiles say what may be mounted.
    pub mediates_mounts: bool,
}

impl AppArmorHost {
    /// Looks at the running host, where AppArmor is enabled; for containers that are not confined not at what profiles
    /// could do.
    fn detect(confines: bool) -> Option<AppArmorHost> {
        // Only AppArmor answers here, and EINVAL says that it is not enabled. Kernels before 5.8 have no such file.
        let label = match crate::files::read_text("/proc/self/attr/apparmor/current") {
            Ok(text) => label_name(&text),
            Err(errno) if errno != Errno::INVAL && apparmor_enabled() => {
                read_label("/proc/self/attr/current")
            }
            Err(_) => return None,
        };
        const BASE: &str = "/sys/kernel/security/apparmor";
        let read = |file: &str| {
            if !confines {
                return String::new();
            }
            let text = crate::files::read_text(format!("{BASE}/{file}")).unwrap_or_default();
            text.trim().to_string()
        };
        let version = read("features/domain/version");
        let (major, minor) = version.split_once('.').unwrap_or((&version, "0"));
        let at_least = major.parse().unwrap_or(0) > 1 || (major == "1" && minor.parse().unwrap_or(0) >= 2);
        Some(AppArmorHost {
            label: label.unwrap_or_else(|| UNCONFINED.into()),
            can_stack: at_least && read("features/domain/stack") == "yes" && read(".ns_stacked") != "yes",
            mediates_mounts: confines && Path::new(BASE).join("features/mount/mask").exists(),
        })
    }
}

/// The last capability that the kernel knows: prctl(2) says of a later one that there is none.
fn last_capability() -> u32 {
    let all: [u32; 64] = std::array::from_fn(|number| number as u32);
    let is_known = |number: &u32| {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        rustix::thread::capability_is_in_bounding_set(capability).is_ok()
    };
    all.partition_point(is_known).saturating_sub(1) as u32
}

/// Whether the kernel has a file system, as far as it is loaded.
pub fn knows_file_system(name: &str) -> bool {
    let known = crate::files::read_text("/proc/filesystems").unwrap_or_default();
    known.lines().any(|line| line.split_whitespace().last() == Some(name))
}

/// Since Linux 4.6, which is older than all that runs here, whatever has cgroups has namespaces of them. Asked of
/// sysfs: files of /proc/self cost their making in every new process.
pub fn has_cgroup_namespaces() -> bool {
    let is_there = |path: &str| rustix::fs::access(path, rustix::fs::Access::EXISTS).is_ok();
    is_there("/sys/fs/cgroup") || is_there("/proc/self/ns/cgroup")
}

/// Whether AppArmor labels processes here.
pub fn apparmor_enabled() -> bool {
    crate::files::read_text("/sys/module/apparmor/parameters/enabled").is_ok_and(|t| t.starts_with('Y'))
}

/// Whether SELinux labels processes here.
pub fn selinux_enabled() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

/// A label as /proc shows it, without the mode that follows it: `NAME (enforce)`.
pub fn read_label(path: &str) -> Option<String> {
    label_name(&crate::files::read_text(path).ok()?)
}

fn label_name(text: &str) -> Option<String> {
    let text = text.trim_end_matches(['\n', '\0']);
    let name = match text.rsplit_once(" (") {
        Some((name, mode)) if mode.ends_with(')') => name,
        _ => text,
    };
    (!name.is_empty()).then(|| name.to_string())
}

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
    /// What an ordinary user may map; nothing for root, and where nothing is mapped.
    pub subordinate: Option<Subordinate>,
    /// AppArmor, where it is enabled.
    pub apparmor: Option<AppArmorHost>,
    /// SELinux is enabled.
    pub selinux: bool,
    /// `lxc.cgroup.pattern` of lxc.conf.
    pub cgroup_pattern: Option<String>,
}

impl Host {
    /// Looks at the running host, as far as a container with these values depends on it.
    pub fn detect(values: &Values, cgroup_pattern: Option<String>) -> Host {
        let confines = !matches!(values.apparmor.profile.as_deref(), Some("unchanged" | UNCONFINED));
        let euid = rustix::process::geteuid();
        let maps = !euid.is_root() && !values.idmap.is_empty();
        Host {
            euid: euid.as_raw(),
            subordinate: maps.then(Subordinate::of_caller),
            egid: rustix::process::getegid().as_raw(),
            cgroup_namespaces: has_cgroup_namespaces(),
            last_capability: last_capability(),
            apparmor: AppArmorHost::detect(confines),
            selinux: selinux_enabled(),
            cgroup_pattern,
        }
    }

    /// A host without surprises.
    #[cfg(test)]
    pub fn for_tests() -> Host {
        Host {
            euid: 0,
            egid: 0,
            subordinate: None,
            cgroup_namespaces: true,
            last_capability: 40,
            apparmor: None,
            selinux: false,
            cgroup_pattern: None,
        }
    }

    /// Whether the caller is root.
    pub fn is_root(&self) -> bool {
        self.euid == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_capability_is_what_the_kernel_says() {
        let told = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").expect("read cap_last_cap");
        assert_eq!(last_capability().to_string(), told.trim());
    }
}
