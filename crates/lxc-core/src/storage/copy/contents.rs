//! What is in a file.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use lxc_sys::Errno;
use rustix::fs::{SeekFrom, Stat};

/// Files up to this size are read and written: two system calls.
const SMALL: u64 = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Copies the contents of a file into an empty one: by sharing its blocks where the file system can, without what is not
/// there. Returns the bytes that were copied.
pub(super) fn copy(from: &OwnedFd, to: &OwnedFd, meta: &Stat, reflinks: &AtomicBool) -> lxc_sys::Result<u64> {
    let size = u64::try_from(meta.st_size).unwrap_or(0);
    if size == 0 {
        return Ok(0);
    }
    if reflinks.load(Ordering::Relaxed) {
        match rustix::fs::ioctl_ficlone(to, from) {
            Ok(()) => return Ok(size),
            // Not for this file alone: other file systems, or one that shares nothing.
            Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::NOTTY | Errno::NOSYS) => {
                reflinks.store(false, Ordering::Relaxed);
            }
            // Not for this file: its blocks may be compressed or checked in another way.
            Err(Errno::INVAL | Errno::PERM | Errno::ACCESS) => {}
            Err(e) => return Err(e),
        }
    }
    let blocks = u64::try_from(meta.st_blocks).unwrap_or(0);
    if blocks.saturating_mul(512) >= size {
        return range(from, to, 0, size);
    }
    sparse(from, to, size)
}

/// A file with holes: only what is there.
fn sparse(from: &OwnedFd, to: &OwnedFd, size: u64) -> lxc_sys::Result<u64> {
    rustix::fs::ftruncate(to, size)?;
    let (mut at, mut copied) = (0, 0);
    while at < size {
        let start = match rustix::fs::seek(from, SeekFrom::Data(at)) {
            Ok(start) => start.min(size),
            // Nothing but a hole is left.
            Err(Errno::NXIO) => break,
            // The file system knows no holes.
            Err(Errno::INVAL) => at,
            Err(e) => return Err(e),
        };
        let end = match rustix::fs::seek(from, SeekFrom::Hole(start)) {
            Ok(end) => end.min(size),
            Err(Errno::INVAL) => size,
            // It was made shorter meanwhile.
            Err(Errno::NXIO) => break,
            Err(e) => return Err(e),
        };
        copied += range(from, to, start, end - start)?;
        at = end;
    }
    Ok(copied)
}

/// Copies a part of a file to the same place.
fn range(from: &OwnedFd, to: &OwnedFd, start: u64, length: u64) -> lxc_sys::Result<u64> {
    if length <= SMALL {
        return by_hand(from, to, start, length);
    }
    let mut done = 0;
    while done < length {
        let (mut read, mut write) = (start + done, start + done);
        let rest = usize::try_from(length - done).unwrap_or(usize::MAX).min(1 << 30);
        match rustix::fs::copy_file_range(from, Some(&mut read), to, Some(&mut write), rest) {
            // It was made shorter meanwhile; or a file of proc or sys, which tells no size.
            Ok(0) => break,
            Ok(n) => done += n as u64,
            Err(Errno::INTR) => {}
            // Between these file systems, or in this file, the kernel does not.
            Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM) => {
                return by_hand(from, to, start + done, length - done).map(|n| done + n);
            }
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

fn by_hand(from: &OwnedFd, to: &OwnedFd, start: u64, length: u64) -> lxc_sys::Result<u64> {
    BUFFER.with_borrow_mut(|buffer| {
        buffer.resize(SMALL as usize, 0);
        let mut done = 0;
        while done < length {
            let rest = usize::try_from(length - done).unwrap_or(usize::MAX).min(buffer.len());
            let read =
                rustix::io::retry_on_intr(|| rustix::io::pread(from, &mut buffer[..rest], start + done))?;
            if read == 0 {
                break;
            }
            let mut written = 0;
            while written < read {
                let at = start + done + written as u64;
                match rustix::io::retry_on_intr(|| rustix::io::pwrite(to, &buffer[written..read], at))? {
                    0 => return Err(Errno::IO),
                    n => written += n,
                }
            }
            done += read as u64;
        }
        Ok(done)
    })
}
