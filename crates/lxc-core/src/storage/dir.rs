//! Directories.

use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use lxc_sys::Errno;
use rustix::fs::CWD;
use rustix::mount::OpenTreeFlags;

use super::{Backend, Mounted, Target, remove, wrong_kind};
use crate::error::{Doing, Error, Result};
use crate::plan::Storage;

pub(super) struct Dir;

/// Of a mount, with what is mounted below it.
pub const CLONE_ALL: OpenTreeFlags =
    OpenTreeFlags::OPEN_TREE_CLONE.union(OpenTreeFlags::OPEN_TREE_CLOEXEC).union(OpenTreeFlags::AT_RECURSIVE);

/// A detached copy of a directory's mount, with what is mounted below it.
pub fn clone_tree(path: &Path) -> Result<OwnedFd> {
    rustix::mount::open_tree(CWD, path, CLONE_ALL).doing(|| format!("clone the mount of {}", path.display()))
}

impl Backend for Dir {
    fn place(&self, target: &Target<'_>) -> Result<Storage> {
        Ok(Storage::Dir(target.rootfs()))
    }

    fn create(&self, storage: &Storage, _: &Target<'_>) -> Result<()> {
        let Storage::Dir(path) = storage else { return Err(wrong_kind(storage)) };
        make_rootfs(path)
    }

    fn mount(&self, storage: &Storage, data: &str) -> Result<Mounted> {
        let path = storage.directory().ok_or_else(|| wrong_kind(storage))?;
        if data.is_empty() {
            return clone_tree(path).map(Mounted::from);
        }
        Err(Error::invalid(format!("lxc.rootfs.options: {data} is no option of a directory's mount")))
    }

    fn destroy(&self, storage: &Storage) -> Result<()> {
        let Storage::Dir(path) = storage else { return Err(wrong_kind(storage)) };
        if path == Path::new("/") {
            return Err(Error::invalid(format!("{storage}: the host's root file system is not removed")));
        }
        remove::remove_directory(path, true)
    }
}

/// The root directory of a container, which all in it may read, whatever the caller's mask says.
pub(super) fn make_rootfs(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(path).doing(|| format!("create {}", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
        .doing(|| format!("set the mode of {}", path.display()))?;
    forget_acls(path)
}

/// Takes away what a new directory has got from the one that it is in: files in it are to have the ACLs that they are
/// given (acl(5)).
pub(super) fn forget_acls(path: &Path) -> Result<()> {
    for name in ["system.posix_acl_access", "system.posix_acl_default"] {
        match rustix::fs::lremovexattr(path, name) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(e) => return Err(e).doing(|| format!("take ACLs from {}", path.display())),
        }
    }
    Ok(())
}
