//! What a namespace is and whose (ioctl_ns(2)).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::{Result, check};

const NS_GET_USERNS: libc::c_ulong = 0xb701;
const NS_GET_PARENT: libc::c_ulong = 0xb702;
const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
const NS_GET_OWNER_UID: libc::c_ulong = 0xb704;

/// Its kind, a CLONE_NEW* flag. ENOTTY for what is no namespace.
pub fn kind(namespace: BorrowedFd<'_>) -> Result<u64> {
    // SAFETY: this request takes no argument.
    let kind = check(unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_NSTYPE) }.into())?;
    Ok(kind.unsigned_abs())
}

fn related(namespace: BorrowedFd<'_>, request: libc::c_ulong) -> Result<OwnedFd> {
    // SAFETY: the request takes no argument and returns a new descriptor.
    let fd = check(unsafe { libc::ioctl(namespace.as_raw_fd(), request) }.into())?;
    // SAFETY: nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// The user namespace that a namespace belongs to. EPERM where it is none of the caller's own and those below.
pub fn user_namespace(namespace: BorrowedFd<'_>) -> Result<OwnedFd> {
    related(namespace, NS_GET_USERNS)
}

/// The user namespace in which a user namespace was made. EPERM as above.
pub fn parent(user_namespace: BorrowedFd<'_>) -> Result<OwnedFd> {
    related(user_namespace, NS_GET_PARENT)
}

/// Who made a user namespace: a user as the caller sees it.
pub fn owner_uid(user_namespace: BorrowedFd<'_>) -> Result<u32> {
    let mut uid: libc::uid_t = 0;
    // SAFETY: the kernel writes a uid_t.
    check(unsafe { libc::ioctl(user_namespace.as_raw_fd(), NS_GET_OWNER_UID, &raw mut uid) }.into())?;
    Ok(uid)
}
