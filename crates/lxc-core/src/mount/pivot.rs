//! Making the container's root the root.

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
    match rustix::process::pivot_root(".", ".") {
        // On the initial ramfs nothing can pivot: move the root over it instead.
        Err(lxc_sys::Errno::INVAL) => {
            rustix::mount::mount_move(root.path(), "/").doing(what)?;
            rustix::process::chroot(".").doing(what)?;
        }
        result => {
            result.doing(what)?;
            // The old root lies over the new one: step on it, cut it off and let it go.
            rustix::process::fchdir(&old).doing(what)?;
            isolate_here()?;
            rustix::mount::unmount(".", UnmountFlags::DETACH).doing(|| "detach the host's root")?;
            rustix::process::fchdir(&new).doing(what)?;
        }
    }
    rustix::process::chdir("/").doing(what)?;
    let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", shared).doing(|| "make the container's mounts shared among its own")
}

fn isolate_here() -> Result<()> {
    let flags = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change(".", flags).doing(|| "make the old root a slave")
}
