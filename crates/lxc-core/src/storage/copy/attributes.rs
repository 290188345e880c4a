//! What a file has beside its contents: owner, mode, extended attributes, times.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

use lxc_sys::Errno;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags};

use super::Directory;
use crate::files::fd_path;

thread_local! {
    static NAMES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static VALUE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The longest list of names, and the longest value, that the kernel gives (XATTR_LIST_MAX, XATTR_SIZE_MAX).
const LONGEST: usize = 64 * 1024;

fn owner(meta: &Stat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(meta.st_uid)), Some(Gid::from_raw(meta.st_gid)))
}

fn times(meta: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: meta.st_atime, tv_nsec: meta.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: meta.st_mtime, tv_nsec: meta.st_mtime_nsec as _ },
    }
}

/// Gives a file or directory that is open what another has. In this order: a change of the owner takes set-id bits and
/// capabilities away, and that of the mode changes ACLs.
pub(super) fn apply(from: BorrowedFd<'_>, to: BorrowedFd<'_>, meta: &Stat) -> lxc_sys::Result<()> {
    let (uid, gid) = owner(meta);
    rustix::fs::fchown(to, uid, gid)?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(meta.st_mode & 0o7777))?;
    xattrs(
        |list| rustix::fs::flistxattr(from, list),
        |name, value| rustix::fs::fgetxattr(from, name, value),
        |name, value| rustix::fs::fsetxattr(to, name, value, XattrFlags::empty()),
    )?;
    rustix::fs::futimens(to, &times(meta))
}

/// The same for what cannot be opened: symbolic links and nodes. The copy is reached by nobody else yet.
pub(super) fn apply_by_name(directory: &Directory, name: &CStr, meta: &Stat) -> lxc_sys::Result<()> {
    let (uid, gid) = owner(meta);
    let nofollow = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(&directory.to, name, uid, gid, nofollow)?;
    if FileType::from_raw_mode(meta.st_mode) != FileType::Symlink {
        let mode = Mode::from_raw_mode(meta.st_mode & 0o7777);
        rustix::fs::chmodat(&directory.to, name, mode, AtFlags::empty())?;
    }
    let named = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let from = rustix::fs::openat(&directory.from, name, named, Mode::empty())?;
    // The kernel has no call for a descriptor of this kind; the path of it leads to what it names, not further.
    let source = fd_path(from.as_fd());
    let mut to = None;
    xattrs(
        |list| rustix::fs::listxattr(&*source, list),
        |name, value| rustix::fs::getxattr(&*source, name, value),
        |attribute, value| {
            if to.is_none() {
                to = Some(rustix::fs::openat(&directory.to, name, named, Mode::empty())?);
            }
            let target = to.as_ref().map(|fd| fd_path(fd.as_fd())).unwrap_or_default();
            rustix::fs::setxattr(&*target, attribute, value, XattrFlags::empty())
        },
    )?;
    rustix::fs::utimensat(&directory.to, name, &times(meta), nofollow)
}

/// All extended attributes of a file that a copy has as well, by its path.
pub fn attributes_of(file: &str) -> lxc_sys::Result<BTreeMap<CString, Vec<u8>>> {
    let mut found = BTreeMap::new();
    xattrs(
        |list| rustix::fs::listxattr(file, list),
        |name, value| rustix::fs::getxattr(file, name, value),
        |name, value| {
            if !is_of_the_place(name) {
                found.insert(name.to_owned(), value.to_vec());
            }
            Ok(())
        },
    )?;
    Ok(found)
}

/// Copies all extended attributes: ACLs, capabilities and labels are some of them (xattr(7)).
fn xattrs(
    list: impl FnOnce(&mut [u8]) -> lxc_sys::Result<usize>,
    get: impl Fn(&CStr, &mut [u8]) -> lxc_sys::Result<usize>,
    mut set: impl FnMut(&CStr, &[u8]) -> lxc_sys::Result<()>,
) -> lxc_sys::Result<()> {
    NAMES.with_borrow_mut(|names| {
        names.resize(LONGEST, 0);
        let length = match list(names) {
            Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(()),
            found => found?,
        };
        VALUE.with_borrow_mut(|value| {
            value.resize(LONGEST, 0);
            for name in names[..length].split_inclusive(|&b| b == 0) {
                let name = CStr::from_bytes_with_nul(name).map_err(|_| Errno::ILSEQ)?;
                let size = match get(name, value) {
                    // Gone meanwhile, or only listed.
                    Err(Errno::NODATA | Errno::OPNOTSUPP) => continue,
                    size => size?,
                };
                match set(name, &value[..size]) {
                    // Properties of the file system or the host, not of the file: the copy has those of its own place.
                    Err(Errno::OPNOTSUPP | Errno::PERM | Errno::INVAL) if is_of_the_place(name) => {}
                    done => done?,
                }
            }
            Ok(())
        })
    })
}

/// Labels of a security module that does not run where the copy is, and properties of other file systems.
fn is_of_the_place(name: &CStr) -> bool {
    [
        &b"security.selinux"[..],
        b"security.SMACK64",
        b"security.ima",
        b"security.evm",
        b"btrfs.",
        b"system.nfs4",
    ]
    .iter()
    .any(|prefix| name.to_bytes().starts_with(prefix))
}
