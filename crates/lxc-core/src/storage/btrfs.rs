//! Subvolumes of btrfs.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use lxc_sys::{Errno, btrfs};
use rustix::fs::{AtFlags, Mode, OFlags};

use super::{Backend, Mounted, Target, dir, remove, wrong_kind};
use crate::error::{Doing, Error, Result};
use crate::plan::Storage;

pub(super) struct Btrfs;

fn open(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).doing(|| format!("open {}", path.display()))
}

/// Whether a directory is the root of a subvolume.
fn is_subvolume(path: &Path) -> bool {
    open(path).is_ok_and(|fd| btrfs::is_subvolume(fd.as_fd()).unwrap_or(false))
}

/// Whether a directory can hold a snapshot of a path: that is a subvolume of the same file system.
pub fn can_hold_snapshot(directory: &Path, of: &Path) -> bool {
    let id = |path: &Path| open(path).ok().and_then(|fd| btrfs::file_system_id(fd.as_fd()).ok());
    is_subvolume(of) && id(of).is_some_and(|of| id(directory) == Some(of))
}

/// The directory that holds a path, and its name there.
fn split(path: &Path) -> Result<(OwnedFd, CString)> {
    let bad = || Error::invalid(format!("{}: no path for a subvolume", path.display()));
    let (parent, name) = path.parent().zip(path.file_name()).ok_or_else(bad)?;
    std::fs::create_dir_all(parent).doing(|| format!("create {}", parent.display()))?;
    Ok((open(parent)?, CString::new(name.as_bytes()).map_err(|_| bad())?))
}

impl Backend for Btrfs {
    fn place(&self, target: &Target<'_>) -> Result<Storage> {
        Ok(Storage::Btrfs(target.rootfs()))
    }

    fn create(&self, storage: &Storage, _: &Target<'_>) -> Result<()> {
        let Storage::Btrfs(path) = storage else { return Err(wrong_kind(storage)) };
        let (parent, name) = split(path)?;
        btrfs::create_subvolume(parent.as_fd(), &name)
            .doing(|| format!("create subvolume {}", path.display()))
            .map_err(|e| match e.errno() {
                Some(Errno::NOTTY) => e.with_hint("this is not on btrfs"),
                _ => e,
            })?;
        let mode = Mode::from_raw_mode(0o755);
        rustix::fs::chmodat(&parent, &*name, mode, AtFlags::empty())
            .doing(|| format!("set the mode of {}", path.display()))?;
        dir::forget_acls(path)
    }

    fn mount(&self, storage: &Storage, data: &str) -> Result<Mounted> {
        dir::Dir.mount(storage, data)
    }

    fn destroy(&self, storage: &Storage) -> Result<()> {
        let Storage::Btrfs(path) = storage else { return Err(wrong_kind(storage)) };
        remove::remove_directory(path, true)
    }

    /// Subvolumes inside are snapshotted too: the kernel would leave empty directories of them.
    fn snapshot(&self, source: &Storage, new: &Storage, _: &Target<'_>) -> Result<()> {
        let (Storage::Btrfs(from), Storage::Btrfs(to)) = (source, new) else {
            return Err(Error::unsupported(format!(
                "a snapshot of storage of type {} cannot be of type {}",
                source.kind(),
                new.kind()
            )));
        };
        snapshot_all(from, to)
    }
}

fn snapshot_all(from: &Path, to: &Path) -> Result<()> {
    let what = || format!("snapshot {} as {}", from.display(), to.display());
    let source = open(from)?;
    let (parent, name) = split(to)?;
    btrfs::snapshot(source.as_fd(), parent.as_fd(), &name).doing(what)?;
    let inside = match btrfs::subvolumes_inside(source.as_fd()) {
        // A kernel that does not tell.
        Err(Errno::NOTTY) => Vec::new(),
        inside => inside.doing(|| format!("look for subvolumes in {}", from.display()))?,
    };
    for below in inside {
        replace_by_snapshot(from, to, &below)?;
    }
    Ok(())
}

/// The empty directory that stands for a subvolume gives way to a snapshot of that.
fn replace_by_snapshot(from: &Path, to: &Path, below: &Path) -> Result<()> {
    // Nothing in a root file system is followed.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = rustix::fs::ResolveFlags::BENEATH | rustix::fs::ResolveFlags::NO_SYMLINKS;
    let find = |root: &Path, path: &Path| {
        let root = open(root)?;
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        rustix::fs::openat2(&root, path, flags, Mode::empty(), resolve)
            .doing(|| format!("open the subvolume {}", path.display()))
    };
    let source = find(from, below)?;
    let parent = find(to, below.parent().unwrap_or(Path::new("")))?;
    let name = below.file_name().unwrap_or_default();
    let name = CString::new(name.as_bytes()).map_err(|_| Error::invalid("a name with a NUL"))?;
    let what = || format!("snapshot the subvolume {}", below.display());
    rustix::fs::unlinkat(&parent, &*name, AtFlags::REMOVEDIR).doing(what)?;
    btrfs::snapshot(source.as_fd(), parent.as_fd(), &name).doing(what)?;
    let inside = btrfs::subvolumes_inside(source.as_fd()).doing(what)?;
    inside.iter().try_for_each(|deeper| replace_by_snapshot(from, to, &below.join(deeper)))
}
