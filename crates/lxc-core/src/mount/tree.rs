//! The root file system as a detached mount.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use lxc_config::mount_entry as m;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MountPropagationFlags, MoveMountFlags, OpenTreeFlags};

use crate::error::{Doing, Error, Kind, Result};
use crate::plan::{MountPlan, RootfsPlan, Storage};
use crate::storage::{self, CLONE_ALL, Mounted, overlay};

/// Makes the mount, attached nowhere yet.
pub fn make(plan: &RootfsPlan) -> Result<Mounted> {
    let mounted = storage::backend(plan.storage.kind()).mount(&plan.storage, &plan.options.data)?;
    let tree = apply_options(mounted.tree, plan)?;
    Ok(Mounted { tree, ..mounted })
}

/// The directories of a root file system, found by somebody who may pass where its root may not.
#[derive(Debug)]
pub struct Found(Vec<OwnedFd>);

/// Opens the directories of a root file system.
pub fn find(plan: &RootfsPlan) -> Result<Found> {
    let open = |path: &Path| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).doing(|| format!("open {}", path.display()))
    };
    let found = match &plan.storage {
        Storage::Dir(path) | Storage::Btrfs(path) => vec![open(path)?],
        Storage::Overlay { lower, upper, work } => {
            let all = lower.iter().chain([upper, work]);
            all.map(|path| open(path)).collect::<Result<_>>()?
        }
        other => return Err(Error::unsupported(format!("{other}: only root mounts it"))),
    };
    Ok(Found(found))
}

/// Makes the mount of directories that were found, in the mount namespace in which they were.
pub fn make_of(plan: &RootfsPlan, found: &Found) -> Result<OwnedFd> {
    let tree = match (&plan.storage, &*found.0) {
        (Storage::Dir(path) | Storage::Btrfs(path), [dir]) => {
            let flags = CLONE_ALL | OpenTreeFlags::AT_EMPTY_PATH;
            rustix::mount::open_tree(dir, "", flags)
                .doing(|| format!("clone the mount of {}", path.display()))?
        }
        (_, [lower @ .., upper, work]) => {
            let path = |fd: &OwnedFd| std::path::PathBuf::from(crate::files::fd_path(fd.as_fd()));
            let lower: Vec<_> = lower.iter().map(path).collect();
            overlay::mount(&lower, &path(upper), &path(work), &plan.options.data)?
        }
        _ => return Err(Error::invalid("the root file system has no directory")),
    };
    apply_options(tree, plan)
}

/// Applies the flags of `lxc.rootfs.options`.
fn apply_options(tree: OwnedFd, plan: &RootfsPlan) -> Result<OwnedFd> {
    set_flags(tree.as_fd(), plan.options.flags, false)
        .doing(|| "lxc.rootfs.options: change the root file system's mount")?;
    Ok(tree)
}

/// Gives a mount (with `recursive`: the whole tree) what mount flags say.
fn set_flags(tree: BorrowedFd<'_>, flags: u64, recursive: bool) -> lxc_sys::Result<()> {
    let set = attributes(flags);
    // The kernel wants the old choice of access times cleared with a new one.
    let chosen = flags & (m::MS_NOATIME | m::MS_RELATIME | m::MS_STRICTATIME) != 0;
    let clear = if chosen { libc::MOUNT_ATTR__ATIME } else { 0 };
    if set == 0 && clear == 0 {
        return Ok(());
    }
    lxc_sys::mount::set_attributes(tree, set, clear, None, recursive)
}

/// MOUNT_ATTR_* of mount flags.
fn attributes(flags: u64) -> u64 {
    [
        (m::MS_RDONLY, libc::MOUNT_ATTR_RDONLY),
        (m::MS_NOSUID, libc::MOUNT_ATTR_NOSUID),
        (m::MS_NODEV, libc::MOUNT_ATTR_NODEV),
        (m::MS_NOEXEC, libc::MOUNT_ATTR_NOEXEC),
        (m::MS_NOATIME, libc::MOUNT_ATTR_NOATIME),
        (m::MS_STRICTATIME, libc::MOUNT_ATTR_STRICTATIME),
        (m::MS_NODIRATIME, libc::MOUNT_ATTR_NODIRATIME),
        (m::MS_NOSYMFOLLOW, libc::MOUNT_ATTR_NOSYMFOLLOW),
    ]
    .into_iter()
    .filter(|(flag, _)| flags & flag != 0)
    .fold(0, |all, (_, attribute)| all | attribute)
}

/// What a mount entry with `idmap=` shows, attached nowhere yet: a copy of the source's mount with the flags of the
/// entry and the id map of a user namespace.
pub fn entry(plan: &MountPlan, user_namespace: BorrowedFd<'_>) -> Result<OwnedFd> {
    let recursive = plan.options.flags & m::MS_REC != 0;
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let what = || format!("clone the mount of {}", plan.source);
    let tree = rustix::mount::open_tree(CWD, &*plan.source, flags).doing(what)?;
    lxc_sys::mount::set_idmap(tree.as_fd(), user_namespace, recursive)
        .doing(|| format!("give {} its id map", plan.source))
        .map_err(explain_idmap)?;
    set_flags(tree.as_fd(), plan.options.flags, recursive)
        .doing(|| format!("change the flags of {}", plan.source))?;
    Ok(tree)
}

/// An overlay whose lower layers are seen through a user namespace's id map: ids on disk there are
/// the container's. The upper layer is not mapped: the kernel writes to it as the mounter, whom the
/// map does not know, and so it holds ids of the host. The kernel takes layers only from mounts that are attached somewhere, so a thread
/// attaches them in a mount namespace of its own, which ends with it.
pub fn idmapped_overlay(plan: &RootfsPlan, user_namespace: BorrowedFd<'_>) -> Result<OwnedFd> {
    let Storage::Overlay { lower, upper, work } = &plan.storage else {
        return Err(crate::Error::invalid("the root file system has no layers"));
    };
    let make = || -> Result<OwnedFd> {
        const SCRATCH: &str = "/sys";
        let mut trees = Vec::new();
        for dir in lower {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            let tree = rustix::mount::open_tree(CWD, dir, flags)
                .doing(|| format!("clone the mount of {}", dir.display()))?;
            set_idmap(tree.as_fd(), user_namespace).map_err(|e| e.during(dir.display().to_string()))?;
            trees.push(tree);
        }
        let private = libc::CLONE_NEWNS | libc::CLONE_FS;
        lxc_sys::process::unshare(private as u64).doing(|| "unshare a thread's mount namespace")?;
        crate::mount::pivot::isolate()?;
        rustix::mount::mount("none", SCRATCH, "tmpfs", rustix::mount::MountFlags::empty(), None)
            .doing(|| "mount a scratch tmpfs")?;
        let mut places = Vec::new();
        for (i, tree) in trees.iter().enumerate() {
            let place = Path::new(SCRATCH).join(i.to_string());
            std::fs::create_dir(&place).doing(|| "create a scratch directory")?;
            attach(tree.as_fd(), &place)?;
            places.push(place);
        }
        apply_options(overlay::mount(&places, upper, work, &plan.options.data)?, plan)
    };
    std::thread::scope(|scope| {
        scope
            .spawn(make)
            .join()
            .unwrap_or_else(|_| Err(crate::Error::invalid("the thread that mounts layers died")))
    })
}

/// Gives the detached mount the id map of a user namespace.
pub fn set_idmap(tree: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>) -> Result<()> {
    lxc_sys::mount::set_idmap(tree, user_namespace, true)
        .doing(|| "give the root file system its id map")
        .map_err(explain_idmap)
        .map_err(|e| match e.kind() {
            Kind::NoIdmappedMounts => e.with_hint("shift the ownership on disk and drop idmap="),
            _ => e,
        })
}

fn explain_idmap(error: Error) -> Error {
    match error.errno() {
        Some(lxc_sys::Errno::INVAL | lxc_sys::Errno::OPNOTSUPP) => {
            error.with_kind(Kind::NoIdmappedMounts).during(
                "the file system or kernel cannot do id-mapped mounts (5.12, and support by the file system)",
            )
        }
        _ => error,
    }
}

/// Attaches the mount, in a mount namespace of the container's own. Made on the host it belongs to the peer
/// group of the mount that it is a copy of: what is mounted in the container must not show there, and
/// pivot_root(2) takes no shared mount.
pub fn attach(tree: BorrowedFd<'_>, target: &Path) -> Result<()> {
    rustix::mount::move_mount(tree, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .doing(|| format!("mount the root file system on {}", target.display()))?;
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change(target, slave).doing(|| "make the root file system a slave of the host's")
}
