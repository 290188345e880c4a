//! Loop devices: block devices whose content is a file (loop(4)).

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use linux_raw_sys::loop_device::{
    LO_FLAGS_AUTOCLEAR, LO_FLAGS_READ_ONLY, LOOP_CONFIGURE, LOOP_CTL_GET_FREE, loop_config,
};
use rustix::fs::{Mode, OFlags};

use crate::{Errno, Result, check};

/// Makes a file the content of a free loop device, until the last user of the device is gone. Returns the device, open,
/// and its path (kernel 5.8).
pub fn attach(file: BorrowedFd<'_>, read_only: bool) -> Result<(OwnedFd, PathBuf)> {
    let flags = if read_only { OFlags::RDONLY } else { OFlags::RDWR } | OFlags::CLOEXEC;
    let control = rustix::fs::open("/dev/loop-control", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    loop {
        // SAFETY: the request takes no argument.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) };
        let number = check(libc::c_long::from(number))?;
        let path = Path::new("/dev").join(format!("loop{number}"));
        let device = rustix::fs::open(&path, flags, Mode::empty())?;
        // SAFETY: a structure of integers and arrays of them, for which zeros are valid.
        let mut config: loop_config = unsafe { std::mem::zeroed() };
        config.fd = u32::try_from(file.as_raw_fd()).map_err(|_| Errno::BADF)?;
        config.info.lo_flags =
            LO_FLAGS_AUTOCLEAR as u32 | if read_only { LO_FLAGS_READ_ONLY as u32 } else { 0 };
        // SAFETY: the kernel reads the structure that belongs to the request.
        let ret = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE as _, &raw const config) };
        match check(libc::c_long::from(ret)) {
            Ok(_) => return Ok((device, path)),
            // Somebody else was faster.
            Err(Errno::BUSY) => {}
            Err(e) => return Err(e),
        }
    }
}
