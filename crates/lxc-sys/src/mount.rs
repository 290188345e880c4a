//! mount_setattr(2), kernel 5.12.

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::{Result, check};

/// Gives a mount (with `recursive`: the whole tree) of a detached descriptor an id mapping.
pub fn set_idmap(tree: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>, recursive: bool) -> Result<()> {
    set_attributes(tree, libc::MOUNT_ATTR_IDMAP, 0, Some(user_namespace), recursive)
}

/// Sets and clears MOUNT_ATTR_* of the mount behind a descriptor.
pub fn set_attributes(
    tree: BorrowedFd<'_>,
    set: u64,
    clear: u64,
    user_namespace: Option<BorrowedFd<'_>>,
    recursive: bool,
) -> Result<()> {
    let attr = libc::mount_attr {
        attr_set: set,
        attr_clr: clear,
        propagation: 0,
        userns_fd: user_namespace.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: the path is a valid empty string and `attr` has the size passed.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    };
    check(ret).map(drop)
}
