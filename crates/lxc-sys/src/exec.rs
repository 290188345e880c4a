//! execve(2) and its relatives.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::{Errno, last_errno};

/// A NULL-terminated array of pointers to C strings, as the exec calls want it.
#[derive(Debug)]
pub struct CArray<'a> {
    pointers: Vec<*const libc::c_char>,
    _strings: std::marker::PhantomData<&'a CStr>,
}

impl<'a> CArray<'a> {
    /// Borrows the strings.
    pub fn new(strings: &'a [CString]) -> CArray<'a> {
        let mut pointers: Vec<_> = strings.iter().map(|s| s.as_ptr()).collect();
        pointers.push(std::ptr::null());
        CArray { pointers, _strings: std::marker::PhantomData }
    }
}

/// execve(2); returns only on failure.
pub fn execve(path: &CStr, argv: &CArray<'_>, env: &CArray<'_>) -> Errno {
    // SAFETY: path is NUL-terminated; both arrays are NULL-terminated and their strings live as
    // long as the borrow in CArray.
    unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), env.pointers.as_ptr()) };
    last_errno()
}

/// Executes the file behind a descriptor (execveat(2) with AT_EMPTY_PATH); returns only on failure.
pub fn fexecve(fd: BorrowedFd<'_>, argv: &CArray<'_>, env: &CArray<'_>) -> Errno {
    // SAFETY: as in `execve`; the path is a valid empty string.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            fd.as_raw_fd(),
            c"".as_ptr(),
            argv.pointers.as_ptr(),
            env.pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    last_errno()
}
