//! Which namespaces the container gets of its own (spec: life cycle, section 5).

use std::path::{Path, PathBuf};

use lxc_config::{NamespaceKind, NetType, Values};

use super::host::Host;
use crate::error::{Error, Result};

/// CLONE_NEW* of a kind.
pub fn flag(kind: NamespaceKind) -> u64 {
    (match kind {
        NamespaceKind::User => libc::CLONE_NEWUSER,
        NamespaceKind::Mnt => libc::CLONE_NEWNS,
        NamespaceKind::Pid => libc::CLONE_NEWPID,
        NamespaceKind::Uts => libc::CLONE_NEWUTS,
        NamespaceKind::Ipc => libc::CLONE_NEWIPC,
        NamespaceKind::Net => libc::CLONE_NEWNET,
        NamespaceKind::Cgroup => libc::CLONE_NEWCGROUP,
        NamespaceKind::Time => libc::CLONE_NEWTIME,
    }) as u32 as u64
}

/// Where a shared namespace comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShareSource {
    /// A namespace file.
    File(PathBuf),
    /// A process.
    Process(i32),
    /// init of a running container.
    Container {
        /// Directory of containers.
        lxcpath: PathBuf,
        /// Name.
        name: String,
    },
}

/// Namespaces of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// CLONE_NEW* of all that are new.
    pub new: u64,
    /// Those that are joined instead.
    pub share: Vec<(NamespaceKind, ShareSource)>,
}

impl Namespaces {
    /// Decides.
    pub fn resolve(values: &Values, lxcpath: &Path, host: &Host) -> Result<Namespaces> {
        let keys = &values.namespace;
        let chosen = |kind: &NamespaceKind| -> bool {
            if !keys.keep.is_empty() {
                return !keys.keep.contains(kind) && applies(*kind, values, host);
            }
            if !keys.clone.is_empty() {
                return keys.clone.contains(kind);
            }
            applies(*kind, values, host)
        };
        let share: Vec<_> = keys.share.iter().map(|(&k, v)| (k, share_source(v, lxcpath))).collect();
        let mut new = 0;
        for kind in NamespaceKind::ALL.iter().filter(|k| chosen(k)) {
            if !keys.share.contains_key(kind) {
                new |= flag(*kind);
            }
        }
        let namespaces = Namespaces { new, share };
        if keys.keep.contains(&NamespaceKind::Time) && values.time_offset.any() {
            return Err(Error::invalid(
                "lxc.time.offset.* needs a time namespace, but lxc.namespace.keep names time",
            ));
        }
        if values.sched_core && !namespaces.has(NamespaceKind::Pid) {
            return Err(Error::invalid("lxc.sched.core = 1 needs a pid namespace of the container's own"));
        }
        if !values.idmap.is_empty() && !namespaces.has(NamespaceKind::User) {
            return Err(Error::invalid("lxc.idmap needs a user namespace of the container's own"));
        }
        if values.idmap.is_empty() && namespaces.has(NamespaceKind::User) {
            return Err(Error::invalid("lxc.namespace.clone = user needs lxc.idmap"));
        }
        if !host.is_root() && !namespaces.has(NamespaceKind::User) {
            return Err(Error::new(
                crate::error::Kind::Denied,
                "an ordinary user needs lxc.idmap to start containers",
            )
            .with_hint("run as root, or map your subordinate ids: see subuid(5) and lxc.idmap"));
        }
        Ok(namespaces)
    }

    /// Whether the container has such a namespace of its own.
    pub fn has(&self, kind: NamespaceKind) -> bool {
        self.new & flag(kind) != 0
    }

    /// Those that clone3 makes. The rest the child leaves for new ones when it is where they begin:
    /// the cgroup namespace in its cgroups, the time namespace with its offsets written, the
    /// network namespace when its user namespace is complete (so that this one owns it), or it finds one made
    /// ahead.
    pub fn at_clone(&self) -> u64 {
        let late = [NamespaceKind::Cgroup, NamespaceKind::Time, NamespaceKind::Net];
        late.into_iter().fold(self.new, |all, kind| all & !flag(kind))
    }
}

/// Whether a kind is new when nothing is said about it.
fn applies(kind: NamespaceKind, values: &Values, host: &Host) -> bool {
    match kind {
        NamespaceKind::User => !values.idmap.is_empty(),
        NamespaceKind::Net => {
            let mut networks = values.networks.values().peekable();
            networks.peek().is_none() || networks.any(|n| n.kind != Some(NetType::None))
        }
        NamespaceKind::Cgroup => host.cgroup_namespaces,
        NamespaceKind::Time => values.time_offset.any(),
        NamespaceKind::Mnt | NamespaceKind::Pid | NamespaceKind::Uts | NamespaceKind::Ipc => true,
    }
}

fn share_source(value: &str, lxcpath: &Path) -> ShareSource {
    if let Ok(pid) = value.parse() {
        return ShareSource::Process(pid);
    }
    let path = Path::new(value);
    let is_namespace_file = path.is_absolute() && (path.is_file() || value.starts_with("/proc/"));
    match (is_namespace_file, path.parent(), path.file_name()) {
        (true, ..) => ShareSource::File(path.to_path_buf()),
        (false, Some(dir), Some(name)) if value.contains('/') => {
            ShareSource::Container { lxcpath: dir.to_path_buf(), name: name.to_string_lossy().into_owned() }
        }
        _ => ShareSource::Container { lxcpath: lxcpath.to_path_buf(), name: value.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(values: &Values) -> Vec<&'static str> {
        let n = Namespaces::resolve(values, Path::new("/c"), &Host::for_tests()).expect("namespaces");
        NamespaceKind::ALL.into_iter().filter(|&k| n.has(k)).map(NamespaceKind::name).collect()
    }

    #[test]
    fn defaults() {
        let mut v = Values::default();
        assert_eq!(names(&v), ["mnt", "pid", "uts", "ipc", "net", "cgroup"]);
        v.networks.insert(0, lxc_config::Network { kind: Some(NetType::None), ..Default::default() });
        assert_eq!(names(&v), ["mnt", "pid", "uts", "ipc", "cgroup"]);
        v.namespace.keep = vec![NamespaceKind::Ipc];
        assert_eq!(names(&v), ["mnt", "pid", "uts", "cgroup"]);
    }

    #[test]
    fn sharing() {
        let mut v = Values::default();
        v.namespace.share.insert(NamespaceKind::Net, "/other/path/web".into());
        let n = Namespaces::resolve(&v, Path::new("/c"), &Host::for_tests()).expect("namespaces");
        assert!(!n.has(NamespaceKind::Net));
        let web = ShareSource::Container { lxcpath: "/other/path".into(), name: "web".into() };
        assert_eq!(n.share, [(NamespaceKind::Net, web)]);
    }
}
