//! The cellar: system calls that rustix has no safe function for.
//!
//! Everything here is a thin, safe function on owned or borrowed descriptors that returns the
//! kernel's error number. All `unsafe` code of the project is in this crate (and, later, at the C
//! boundary of liblxc), each block with the reason why it is sound. What rustix offers safely is
//! called from rustix directly.

pub mod bpf;
pub mod btrfs;
pub mod clone;
pub mod entry;
pub mod exec;
pub mod lock;
pub mod loop_device;
pub mod mount;
pub mod namespace;
pub mod process;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod title;

pub use rustix::io::Errno;

/// Result of a system call.
pub type Result<T> = std::result::Result<T, Errno>;

/// An error number that somebody else has sent; EPROTO for what is none (the kernel's are 1 to 4095).
pub fn errno_from(number: i32) -> Errno {
    if (1..4096).contains(&number) { Errno::from_raw_os_error(number) } else { Errno::PROTO }
}

/// Turns the return value of a raw system call into a result.
fn check(ret: libc::c_long) -> Result<libc::c_long> {
    if ret < 0 { Err(last_errno()) } else { Ok(ret) }
}

/// The calling thread's errno.
fn last_errno() -> Errno {
    Errno::from_raw_os_error(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
}
