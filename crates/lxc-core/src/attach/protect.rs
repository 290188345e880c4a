//! Protection of this program's file against what runs in containers (CVE-2019-5736).
//!
//! A process that enters a container can be made to execute `/proc/self/exe`, and whoever then
//! holds that file open can write to it once it is not executed any more. So a program that enters
//! containers runs from a sealed copy in memory, not from its file.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;

use lxc_sys::exec::{CArray, fexecve};
use rustix::fs::{MemfdFlags, SealFlags};

use crate::error::{Doing, Error, Result};

/// All seals that a copy must have.
fn all_seals() -> SealFlags {
    SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE
}

/// Executes this program again from a sealed copy, with the same arguments; returns at once where
/// it runs from one already.
///
/// # Errors
/// The copy could not be made or executed.
pub fn run_from_sealed_copy() -> Result<()> {
    let exe = File::open("/proc/self/exe").doing(|| "open /proc/self/exe")?;
    if rustix::fs::fcntl_get_seals(&exe).is_ok_and(|s| s.contains(all_seals())) {
        return Ok(());
    }
    let what = || "copy this program to memory";
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut copy = File::from(rustix::fs::memfd_create("lxc", flags).doing(what)?);
    let length = exe.metadata().doing(what)?.len();
    let mut done = 0;
    while done < length {
        let rest = usize::try_from(length - done).unwrap_or(usize::MAX);
        match rustix::fs::sendfile(&copy, &exe, None, rest).doing(what)? {
            0 => return Err(Error::os(what(), lxc_sys::Errno::IO)),
            n => done += n as u64,
        }
    }
    use std::io::Seek;
    copy.rewind().doing(what)?;
    rustix::fs::fcntl_add_seals(&copy, all_seals()).doing(|| "seal the copy of this program")?;
    let c = |s: std::ffi::OsString| CString::new(s.into_vec()).ok();
    let arguments: Vec<CString> = std::env::args_os().filter_map(c).collect();
    let environment: Vec<CString> = std::env::vars_os()
        .filter_map(|(n, v)| {
            let mut line = n;
            line.push("=");
            line.push(v);
            c(line)
        })
        .collect();
    let errno = fexecve(copy.as_fd(), &CArray::new(&arguments), &CArray::new(&environment));
    Err(Error::os("execute the copy of this program", errno))
}
