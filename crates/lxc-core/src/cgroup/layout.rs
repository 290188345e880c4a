//! Which hierarchies the host has and where containers go in them (spec: cgroups, section 1).

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use lxc_sys::Errno;
use rustix::fs::{AtFlags, Mode, OFlags, StatVfsMountFlags};

use super::scope::Scope;
use crate::error::{Doing, Error, Result};
use crate::protocol::wire::CgroupLayoutNumber;

const ROOT: &str = "/sys/fs/cgroup";

/// f_type of a cgroup v1 mount.
pub const CGROUP_SUPER_MAGIC: i64 = 0x27_e0eb;
/// f_type of a cgroup v2 mount.
pub const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;

/// Which interface a hierarchy has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// cgroup v1
    V1,
    /// cgroup v2
    V2,
}

/// One mounted hierarchy, and the cgroup below which containers are placed.
#[derive(Debug)]
pub struct Hierarchy {
    /// v1: as in /proc/self/cgroup, named ones with `name=`. v2: available controllers.
    pub controllers: Vec<String>,
    /// Mount point.
    pub mount: PathBuf,
    /// Base cgroup relative to the mount point, without leading slash; may be empty.
    pub base: String,
    /// Interface.
    pub version: Version,
    /// The base cgroup's directory.
    pub base_dir: OwnedFd,
}

/// All hierarchies that containers are placed in.
#[derive(Debug)]
pub struct Layout {
    /// In the order of /proc/PID/cgroup.
    pub hierarchies: Vec<Hierarchy>,
    /// Arrangement.
    pub kind: CgroupLayoutNumber,
    /// The scope of systemd's that the containers of this layout are in.
    pub scope: Option<Scope>,
}

impl Layout {
    /// Whether the host has cgroup v2 alone.
    pub fn is_unified(&self) -> bool {
        self.kind == CgroupLayoutNumber::Unified
    }

    /// Descriptors of the base cgroups.
    pub fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        self.hierarchies.iter().map(|hierarchy| hierarchy.base_dir.as_raw_fd())
    }

    /// Whether any v1 hierarchy is used.
    pub fn has_v1(&self) -> bool {
        self.hierarchies.iter().any(|h| h.version == Version::V1)
    }
}

/// Finds the hierarchies. `relative`: containers go below the caller's own cgroups instead of
/// init's. `only`: the comma list of `lxc.cgroup.use`.
///
/// # Errors
/// A controller of `only` is in no hierarchy.
pub fn detect(relative: bool, only: Option<&str>) -> Result<Layout> {
    detect_in(None, relative, only)
}

/// The same, where the calling process is in a scope of its own.
pub fn detect_in(scope: Option<Scope>, relative: bool, only: Option<&str>) -> Result<Layout> {
    let privileged = rustix::process::geteuid().is_root();
    let file = if privileged && !relative { "/proc/1/cgroup" } else { "/proc/self/cgroup" };
    let text = crate::files::read_text(file).doing(|| format!("read {file}"))?;
    let only: Option<Vec<&str>> =
        only.map(|l| l.split(',').map(str::trim).filter(|c| !c.is_empty()).collect());
    let mut hierarchies = Vec::new();
    let (mut saw_v1, mut saw_v2) = (false, false);
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let mut base = path.trim_start_matches('/');
        if let Some(scope) = &scope {
            base = &scope.cgroup;
        } else if !relative {
            base = base.strip_suffix("init.scope").unwrap_or(base).trim_end_matches('/');
        }
        let found = if controllers.is_empty() {
            saw_v2 = true;
            unified(base, privileged)
        } else {
            saw_v1 = true;
            let wanted = |only: &Vec<&str>| controllers.split(',').all(|c| only.contains(&c));
            if only.as_ref().is_some_and(|o| !wanted(o)) { None } else { legacy(controllers, base) }
        };
        match found {
            Some(h) => hierarchies.push(h),
            None => log::debug!("cgroup hierarchy {line} is not used"),
        }
    }
    for controller in only.iter().flatten() {
        if !hierarchies.iter().any(|h| h.controllers.iter().any(|c| c == controller)) {
            return Err(Error::unsupported(format!(
                "lxc.cgroup.use names the controller {controller}, which no writable hierarchy has"
            )));
        }
    }
    let used = |v| hierarchies.iter().any(|h| h.version == v);
    let (v1, v2) =
        if hierarchies.is_empty() { (saw_v1, saw_v2) } else { (used(Version::V1), used(Version::V2)) };
    let kind = match (v1, v2) {
        (true, true) => CgroupLayoutNumber::Hybrid,
        (true, false) => CgroupLayoutNumber::Legacy,
        _ => CgroupLayoutNumber::Unified,
    };
    Ok(Layout { hierarchies, kind, scope })
}

/// Opens `mount/base` if the mount has the magic and is writable.
fn open_base(mount: &Path, base: &str, magic: i64) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::open(mount, flags, Mode::empty()).ok()?;
    if rustix::fs::fstatfs(&root).ok()?.f_type != magic {
        return None;
    }
    if rustix::fs::fstatvfs(&root).ok()?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return None;
    }
    if base.is_empty() {
        return Some(root);
    }
    rustix::fs::openat(&root, base, flags, Mode::empty()).ok()
}

fn writable(dir: &OwnedFd, file: &str) -> lxc_sys::Result<()> {
    rustix::fs::accessat(dir, file, rustix::fs::Access::WRITE_OK, AtFlags::EACCESS)
}

fn legacy(controllers: &str, base: &str) -> Option<Hierarchy> {
    let name = controllers.strip_prefix("name=").unwrap_or(controllers);
    let name = match name {
        "cpuacct,cpu" => "cpu,cpuacct",
        "net_prio,net_cls" => "net_cls,net_prio",
        other => other,
    };
    let mount = Path::new(ROOT).join(name);
    let base_dir = open_base(&mount, base, CGROUP_SUPER_MAGIC)?;
    writable(&base_dir, ".").ok()?;
    Some(Hierarchy {
        controllers: controllers.split(',').map(str::to_string).collect(),
        mount,
        base: base.to_string(),
        version: Version::V1,
        base_dir,
    })
}

fn unified(base: &str, privileged: bool) -> Option<Hierarchy> {
    let root = Path::new(ROOT);
    let (mount, base_dir) = [root.to_path_buf(), root.join("unified")]
        .into_iter()
        .find_map(|m| open_base(&m, base, CGROUP2_SUPER_MAGIC).map(|d| (m, d)))?;
    if !privileged {
        for file in delegated_files().lines() {
            match writable(&base_dir, file) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(_) if file != "cgroup.procs" => return None,
                Err(_) => {}
            }
        }
        writable(&base_dir, ".").ok()?;
    }
    let controllers = read_at(base_dir.as_fd(), "cgroup.controllers").unwrap_or_default();
    Some(Hierarchy {
        controllers: controllers.split_ascii_whitespace().map(str::to_string).collect(),
        mount,
        base: base.to_string(),
        version: Version::V2,
        base_dir,
    })
}

/// The files that a delegated cgroup2 hands over (kernel 4.15), one per line.
pub fn delegated_files() -> String {
    std::fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap_or_else(|_| {
        "cgroup.procs\ncgroup.threads\ncgroup.subtree_control\nmemory.oom.group\n".to_string()
    })
}

/// Reads a small file below a directory.
pub fn read_at(dir: std::os::fd::BorrowedFd<'_>, file: &str) -> lxc_sys::Result<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::openat(dir, file, flags, Mode::empty())?;
    let bytes = crate::files::read_to_end(fd.as_fd())?;
    Ok(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}

/// Writes a value to a file below a directory, in one write.
pub fn write_at(dir: std::os::fd::BorrowedFd<'_>, file: &str, value: &str) -> lxc_sys::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::openat(dir, file, flags, Mode::empty())?;
    rustix::io::retry_on_intr(|| rustix::io::write(&fd, value.as_bytes())).map(drop)
}
