//! Open-file-description locks (fcntl(2), F_OFD_SETLK): they exclude upstream's locks, flock does not.

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::{Errno, Result, check};

fn whole_file(kind: libc::c_int) -> libc::flock {
    libc::flock { l_type: kind as i16, l_whence: libc::SEEK_SET as i16, l_start: 0, l_len: 0, l_pid: 0 }
}

fn set(fd: BorrowedFd<'_>, command: libc::c_int) -> Result<()> {
    let lock = whole_file(libc::F_WRLCK);
    loop {
        // SAFETY: `lock` is a valid struct flock for the duration of the call.
        let ret = unsafe { libc::fcntl(fd.as_raw_fd(), command, &raw const lock) };
        match check(ret.into()) {
            Err(Errno::INTR) => {}
            other => return other.map(drop),
        }
    }
}

/// Takes a write lock on the whole file, waiting for it. Held until the description is closed.
pub fn lock_exclusive(fd: BorrowedFd<'_>) -> Result<()> {
    set(fd, libc::F_OFD_SETLKW)
}

/// Takes a write lock on the whole file, or fails with EAGAIN if somebody holds one.
pub fn try_lock_exclusive(fd: BorrowedFd<'_>) -> Result<()> {
    set(fd, libc::F_OFD_SETLK)
}

/// Takes a POSIX record lock (owned by the process), as lxc-monitord does on its FIFO.
pub fn try_lock_posix(fd: BorrowedFd<'_>) -> Result<()> {
    set(fd, libc::F_SETLK)
}

/// Whether another description holds a lock on the file.
pub fn is_locked(fd: BorrowedFd<'_>) -> Result<bool> {
    let mut lock = whole_file(libc::F_WRLCK);
    // SAFETY: `lock` is a valid struct flock that the kernel may overwrite.
    let ret = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
    check(ret.into())?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}
