//! `lxc.mount.auto`: /proc, /sys and /sys/fs/cgroup.

use lxc_config::{CgroupAccess, CgroupMount, CgroupMountKind, ProcMount, SysMount};
use lxc_sys::Errno;
use rustix::fs::OFlags;
use rustix::mount::{MountFlags, UnmountFlags};

use crate::cgroup::{Layout, Version};
use crate::error::{Doing, Error, Result};
use crate::files::fd_path;
use crate::rootfs::{Root, mount_on};
use std::os::fd::{AsFd, OwnedFd};

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

/// Mounts /proc. `net_admin`: the container keeps CAP_NET_ADMIN, so /proc/sys/net stays writable.
pub fn proc(root: &Root, kind: ProcMount, net_admin: bool) -> Result<()> {
    let target = fresh(root, "proc")?;
    mount_on("proc", target.as_fd(), "proc", SAFE, "")
        .doing(|| format!("mount proc on {}/proc", root.path().display()))?;
    if kind == ProcMount::Rw {
        return Ok(());
    }
    // /proc/sys becomes read-only below a writable bind of /proc/sys/net, which is taken before.
    let net = if net_admin { root.find("proc/sys/net").ok() } else { None };
    let kept = match &net {
        Some(net) => Some(clone_here(net.as_fd()).doing(|| "bind /proc/sys/net")?),
        None => None,
    };
    root.bind_read_only("proc/sys", MountFlags::empty())?;
    if let Some(kept) = kept {
        move_to(root, kept.as_fd(), "proc/sys/net")?;
    }
    match root.bind_read_only("proc/sysrq-trigger", MountFlags::empty()) {
        // Kernels without it.
        Err(e) if e.errno() == Some(Errno::NOENT) => Ok(()),
        result => result,
    }
}

/// A detached copy of the mount at what the descriptor names.
fn clone_here(fd: std::os::fd::BorrowedFd<'_>) -> lxc_sys::Result<std::os::fd::OwnedFd> {
    use rustix::mount::OpenTreeFlags as F;
    rustix::mount::open_tree(fd, "", F::OPEN_TREE_CLONE | F::OPEN_TREE_CLOEXEC | F::AT_EMPTY_PATH)
}

fn move_to(root: &Root, mount: std::os::fd::BorrowedFd<'_>, path: &str) -> Result<()> {
    use rustix::mount::MoveMountFlags as F;
    let target = root.find(path).doing(|| format!("find {path}"))?;
    rustix::mount::move_mount(mount, "", &target, "", F::MOVE_MOUNT_F_EMPTY_PATH | F::MOVE_MOUNT_T_EMPTY_PATH)
        .doing(|| format!("mount {path}"))
}

/// Mounts /sys.
pub fn sys(root: &Root, kind: SysMount) -> Result<()> {
    let target = fresh(root, "sys")?;
    let mount = |flags: MountFlags| {
        let mounted = mount_on("sysfs", target.as_fd(), "sysfs", flags, "");
        let what = || format!("mount sysfs on {}/sys", root.path().display());
        mounted.doing(what).map_err(|e: Error| match e.errno() {
            Some(Errno::PERM) => e.with_hint(
                "sysfs needs a network namespace that the container's user namespace owns, and a host \
                 sysfs that is not covered by other mounts",
            ),
            _ => e,
        })
    };
    match kind {
        SysMount::Rw => mount(MountFlags::empty()),
        SysMount::Ro => mount(MountFlags::RDONLY),
        SysMount::Mixed => {
            mount(SAFE)?;
            let net = "sys/devices/virtual/net";
            let kept = match root.find(net) {
                Ok(fd) => Some(clone_here(fd.as_fd()).doing(|| "bind /sys/devices/virtual/net")?),
                Err(_) => None,
            };
            root.remount_bind("sys", SAFE | MountFlags::RDONLY)?;
            if let Some(kept) = kept {
                move_to(root, kept.as_fd(), net)?;
            }
            Ok(())
        }
    }
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
    root.mount("tmpfs", "sys/fs/cgroup", "tmpfs", SAFE | MountFlags::RELATIME, "size=10240k,mode=0755")?;
    for hierarchy in &layout.hierarchies {
        let name = hierarchy.mount.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let dir = format!("sys/fs/cgroup/{name}");
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
    let bind = |source: std::os::fd::BorrowedFd<'_>, to: &str| {
        let what = || format!("bind a cgroup on {to}");
        let target = root.make_dir(to, 0o755)?;
        mount_on(&fd_path(source), target.as_fd(), "", MountFlags::BIND, "").doing(what)
    };
    let open = |path: &std::path::Path| {
        rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, rustix::fs::Mode::empty())
            .doing(|| format!("open {}", path.display()))
    };
    if kind == CgroupMountKind::Full {
        bind(open(&hierarchy.mount)?.as_fd(), dir)?;
        if access == CgroupAccess::Ro {
            root.remount_bind(dir, SAFE | MountFlags::RDONLY)?;
        }
        return Ok(());
    }
    let below =
        if hierarchy.base.is_empty() { path.to_string() } else { format!("{}/{path}", hierarchy.base) };
    let own = format!("{dir}/{below}");
    bind(open(&hierarchy.mount.join(&below))?.as_fd(), &own)?;
    if access == CgroupAccess::Ro {
        root.remount_bind(&own, SAFE | MountFlags::RDONLY)?;
    }
    if access != CgroupAccess::Rw {
        root.bind_read_only(dir, SAFE)?;
        // The read-only bind covers the container's own part: show that again on top.
        bind(open(&hierarchy.mount.join(&below))?.as_fd(), &own)?;
        if access == CgroupAccess::Ro {
            root.remount_bind(&own, SAFE | MountFlags::RDONLY)?;
        }
    }
    Ok(())
}
