//! `lxc.mount.auto`: /proc, /sys and /sys/fs/cgroup.

use lxc_config::{CgroupAccess, CgroupMount, CgroupMountKind, ProcMount, SysMount};
use lxc_sys::Errno;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::mount::{MountAttrFlags, MountFlags, UnmountFlags};

use crate::cgroup::{Layout, Version};
use crate::error::{Doing, Error, Result};
use crate::files::fd_path;
use crate::rootfs::{Root, attach_to, bind, copy_of, mount_new, mount_on};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const SAFE_NEW: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);
const SAFE: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// Prepares a mount point directly below the root: nothing of the image's own may cover it. On the
/// host's own root the new mount covers the old, which is needed until then.
fn fresh(root: &Root, dir: &str) -> Result<OwnedFd> {
    let target = root.make_dir(dir, 0o755)?;
    if root.path() == std::path::Path::new("/") {
        return Ok(target);
    }
    match rustix::mount::unmount(&*fd_path(target.as_fd()), UnmountFlags::DETACH) {
        Ok(()) => root.make_dir(dir, 0o755),
        // Nothing is mounted there, which is the common case.
        Err(_) => Ok(target),
    }
}

/// Finds what is in a mount itself.
fn find_in(mount: BorrowedFd<'_>, path: &str) -> lxc_sys::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    rustix::io::retry_on_intr(|| rustix::fs::openat2(mount, path, flags, Mode::empty(), resolve))
}

/// Mounts /proc. `net_admin`: the container keeps CAP_NET_ADMIN, so /proc/sys/net stays writable.
///
/// What is below it is looked up from the new mount: whoever renames the image's directories meanwhile does not choose
/// what becomes read-only (CVE-2025-31133, CVE-2025-52881).
pub fn proc(root: &Root, kind: ProcMount, net_admin: bool) -> Result<()> {
    let target = fresh(root, "proc")?;
    let place = root.path().join("proc");
    let place = place.display();
    let proc = mount_new("proc", "", SAFE_NEW, target.as_fd()).doing(|| format!("mount proc on {place}"))?;
    if kind == ProcMount::Rw {
        return Ok(());
    }
    // /proc/sys becomes read-only below a writable bind of /proc/sys/net, which is taken before.
    let net = if net_admin { find_in(proc.as_fd(), "sys/net").ok() } else { None };
    let kept = match &net {
        Some(net) => Some(copy_of(net.as_fd()).doing(|| format!("copy the mount of {place}/sys/net"))?),
        None => None,
    };
    let read_only = |path: &str| -> lxc_sys::Result<OwnedFd> {
        let found = find_in(proc.as_fd(), path)?;
        bind(found.as_fd(), found.as_fd(), Some(MountFlags::RDONLY))
    };
    let sys = read_only("sys").doing(|| format!("bind {place}/sys read-only"))?;
    if let Some(kept) = kept {
        find_in(sys.as_fd(), "net")
            .and_then(|target| attach_to(kept.as_fd(), target.as_fd()))
            .doing(|| format!("bind {place}/sys/net"))?;
    }
    match read_only("sysrq-trigger") {
        // Kernels without it.
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(Error::os(format!("bind {place}/sysrq-trigger read-only"), e)),
    }
}

/// Mounts /sys.
pub fn sys(root: &Root, kind: SysMount) -> Result<()> {
    let target = fresh(root, "sys")?;
    let place = root.path().join("sys");
    let place = place.display();
    let what = || format!("mount sysfs on {place}");
    let explain = |e: Error| match e.errno() {
        Some(Errno::PERM) => e.with_hint(
            "sysfs needs a network namespace that the container's user namespace owns, and a host \
             sysfs that is not covered by other mounts",
        ),
        _ => e,
    };
    let flags = match kind {
        SysMount::Rw => MountFlags::empty(),
        SysMount::Ro => MountFlags::RDONLY,
        SysMount::Mixed => {
            let sys = mount_new("sysfs", "", SAFE_NEW, target.as_fd()).doing(what).map_err(explain)?;
            let what = || format!("bind {place}/devices/virtual/net");
            let net = find_in(sys.as_fd(), "devices/virtual/net").ok();
            let kept = match &net {
                Some(net) => Some(copy_of(net.as_fd()).doing(what)?),
                None => None,
            };
            let flags = MountFlags::BIND | SAFE | MountFlags::RDONLY;
            rustix::mount::mount_remount(&*fd_path(sys.as_fd()), flags, "")
                .doing(|| format!("make {place} read-only"))?;
            return match (&kept, &net) {
                (Some(kept), Some(net)) => attach_to(kept.as_fd(), net.as_fd()).doing(what),
                _ => Ok(()),
            };
        }
    };
    mount_on("sysfs", target.as_fd(), "sysfs", flags, "").doing(what).map_err(explain)
}

/// What is known when cgroups are mounted.
#[derive(Debug)]
pub struct CgroupContext<'a> {
    /// The host's hierarchies.
    pub layout: &'a Layout,
    /// The container has a cgroup namespace of its own.
    pub own_namespace: bool,
    /// The container keeps CAP_SYS_ADMIN.
    pub sys_admin: bool,
    /// Path of the container's cgroup below each hierarchy's base.
    pub path: &'a str,
}

/// Mounts cgroups below /sys/fs/cgroup (spec: cgroups, section 9).
pub fn cgroup(root: &Root, wanted: CgroupMount, context: &CgroupContext<'_>) -> Result<()> {
    let layout = context.layout;
    let unified = layout.is_unified() || wanted.kind == CgroupMountKind::Unified;
    let force = wanted.force || !context.sys_admin || unified;
    let access =
        wanted.access.unwrap_or(if context.sys_admin { CgroupAccess::Rw } else { CgroupAccess::Mixed });
    if context.own_namespace && !force {
        // init mounts them itself.
        return Ok(());
    }
    let flags = SAFE | MountFlags::RELATIME;
    let read_only = if access == CgroupAccess::Ro { MountFlags::RDONLY } else { MountFlags::empty() };
    if unified {
        if !context.own_namespace {
            return Err(Error::unsupported(
                "lxc.mount.auto: cgroup2 can only be mounted in a cgroup namespace",
            ));
        }
        return root.mount("cgroup2", "sys/fs/cgroup", "cgroup2", flags | read_only, "");
    }
    let what = || format!("mount tmpfs on {}/sys/fs/cgroup", root.path().display());
    let tmpfs = root
        .find("sys/fs/cgroup")
        .and_then(|target| mount_new("tmpfs", "size=10240k,mode=0755", SAFE_NEW, target.as_fd()))
        .doing(what)?;
    let root = &Root::of(tmpfs, root.path().join("sys/fs/cgroup"));
    for hierarchy in &layout.hierarchies {
        let dir = hierarchy.mount.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        drop(root.make_dir(&dir, 0o755)?);
        if context.own_namespace {
            let (fstype, data) = match hierarchy.version {
                Version::V2 => ("cgroup2", String::new()),
                Version::V1 => ("cgroup", hierarchy.controllers.join(",")),
            };
            root.mount("cgroup", &dir, fstype, flags | read_only, &data)?;
        } else {
            bind_hierarchy(root, &dir, wanted.kind, access, hierarchy, context.path)?;
        }
    }
    Ok(())
}

/// Without a cgroup namespace: the host's hierarchy, or the container's part of it at its full path.
fn bind_hierarchy(
    root: &Root,
    dir: &str,
    kind: CgroupMountKind,
    access: CgroupAccess,
    hierarchy: &crate::cgroup::Hierarchy,
    path: &str,
) -> Result<()> {
    let read_only = (access == CgroupAccess::Ro).then_some(SAFE | MountFlags::RDONLY);
    let show = |source: &OwnedFd, to: &str| {
        let target = root.make_dir(to, 0o755)?;
        let what = || format!("bind a cgroup on {}/{to}", root.path().display());
        bind(source.as_fd(), target.as_fd(), read_only).doing(what)
    };
    let open = |path: &std::path::Path| {
        rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .doing(|| format!("open {}", path.display()))
    };
    if kind == CgroupMountKind::Full {
        return show(&open(&hierarchy.mount)?, dir).map(drop);
    }
    let below =
        if hierarchy.base.is_empty() { path.to_string() } else { format!("{}/{path}", hierarchy.base) };
    let own = format!("{dir}/{below}");
    let source = open(&hierarchy.mount.join(&below))?;
    show(&source, &own)?;
    if access != CgroupAccess::Rw {
        let what = || format!("bind {}/{dir} read-only", root.path().display());
        let whole = root.find(dir).doing(what)?;
        bind(whole.as_fd(), whole.as_fd(), Some(SAFE | MountFlags::RDONLY)).doing(what)?;
        // The read-only bind covers the container's own part: show that again on top.
        show(&source, &own)?;
    }
    Ok(())
}
