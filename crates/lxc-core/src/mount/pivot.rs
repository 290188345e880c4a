//! Making the container's root the root.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountPropagationFlags, UnmountFlags};

use crate::error::{Doing, Result};
use crate::rootfs::Root;

/// Detaches this new mount namespace from the host's: nothing mounted here shows there.
pub fn isolate() -> Result<()> {
    let flags = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", flags).doing(|| "make all mounts slaves of the host's")
}

/// pivot_root(2) without a directory for the old root, which is detached. Afterwards the tree is
/// shared among the container's own namespaces, and nothing of it is the host's.
pub fn pivot(root: &Root) -> Result<()> {
    let what = || format!("pivot to {}", root.path().display());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let old = rustix::fs::open("/", flags, Mode::empty()).doing(what)?;
    let new = rustix::fs::open(root.path(), flags, Mode::empty()).doing(what)?;
    rustix::process::fchdir(&new).doing(what)?;
    if is_initial_ramfs(&old).doing(what)? {
        // Nothing can pivot there: what else is mounted goes first, then the root moves over it.
        detach_all_but(root)?;
        rustix::process::fchdir(&new).doing(what)?;
        rustix::mount::mount_move(root.path(), "/").doing(what)?;
        rustix::process::chroot(".").doing(what)?;
    } else {
        rustix::process::pivot_root(".", ".").doing(what)?;
        // The old root lies over the new one: step on it, cut it off and let it go.
        rustix::process::fchdir(&old).doing(what)?;
        isolate_here()?;
        rustix::mount::unmount(".", UnmountFlags::DETACH).doing(|| "detach the host's root")?;
        rustix::process::fchdir(&new).doing(what)?;
    }
    rustix::process::chdir("/").doing(what)?;
    let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", shared).doing(|| "make the container's mounts shared among its own")
}

/// Whether the host still runs from its initial ramfs (kernel: ramfs-rootfs-initramfs.rst).
fn is_initial_ramfs(root: &OwnedFd) -> lxc_sys::Result<bool> {
    const RAMFS_MAGIC: i64 = 0x8584_58f6;
    const TMPFS_MAGIC: i64 = 0x0102_1994;
    let kind = rustix::fs::fstatfs(root)?.f_type;
    let is_rootfs = || {
        crate::files::read_text("/proc/self/mountinfo")
            .is_ok_and(|t| t.lines().any(|l| l.contains(" / / ") && l.contains(" - rootfs ")))
    };
    Ok(kind == RAMFS_MAGIC || (kind == TMPFS_MAGIC && is_rootfs()))
}

/// Detaches every mount of this namespace but the root and what is at or below the new one.
fn detach_all_but(root: &Root) -> Result<()> {
    let table = crate::files::read_text("/proc/self/mountinfo").doing(|| "read /proc/self/mountinfo")?;
    let points: Vec<&str> = table.lines().filter_map(|l| l.split(' ').nth(4)).collect();
    for point in points.into_iter().rev() {
        let point = std::path::Path::new(point);
        if point != std::path::Path::new("/")
            && !point.starts_with(root.path())
            && !root.path().starts_with(point)
        {
            // Mounted over by another that was detached before.
            let _ = rustix::mount::unmount(point, UnmountFlags::DETACH);
        }
    }
    Ok(())
}

fn isolate_here() -> Result<()> {
    let flags = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change(".", flags).doing(|| "make the old root a slave")
}
