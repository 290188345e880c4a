//! Protection of this program's file against what runs in containers (CVE-2019-5736).
//!
//! A process that enters a container can be made to execute `/proc/self/exe`, and whoever then
//! holds that file open can write to it once it is not executed any more. So a program that enters
//! containers executes itself again from where its file cannot be written by anybody:
//!
//! * as root from an overlay without an upper layer, attached nowhere: the kernel refuses every
//!   write to it and it cannot be made writable, since there is nothing to write to. Its pages are
//!   those of the file, so this costs a mount and an exec, a fraction of a millisecond;
//! * else from a sealed copy in memory.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use lxc_sys::exec::{CArray, fexecve};
use rustix::fs::{MemfdFlags, Mode, OFlags, ResolveFlags, SealFlags, StatVfsMountFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::error::{Doing, Error, Result};

/// f_type of overlayfs (linux/magic.h).
const OVERLAYFS_SUPER_MAGIC: i64 = 0x794c_7630;

/// A directory that surely is not part of the one with this program: an overlay without an upper
/// layer wants two lower ones.
const OTHER_LAYER: &str = "/dev";

/// All seals that a copy must have.
fn all_seals() -> SealFlags {
    SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE
}

/// Executes this program again from where it cannot be overwritten, with the same arguments;
/// returns at once where it runs from there already.
///
/// # Errors
/// It could not be made so, or not be executed.
pub fn run_protected() -> Result<()> {
    let exe = File::open("/proc/self/exe").doing(|| "open /proc/self/exe")?;
    let path = std::env::current_exe().doing(|| "find this program")?;
    if is_protected(&exe, &path)? {
        return Ok(());
    }
    let protected = match overlay_of(&exe, &path) {
        Ok(file) => file,
        Err(e) => {
            log::debug!("{e}: using a copy in memory");
            sealed_copy(&exe)?
        }
    };
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
    let errno = fexecve(protected.as_fd(), &CArray::new(&arguments), &CArray::new(&environment));
    Err(Error::os("execute this program from where it is protected", errno))
}

/// Whether this program runs from a sealed copy or from such an overlay: read-only as a whole, and
/// attached nowhere, which shows in a path of one component.
fn is_protected(exe: &File, path: &Path) -> Result<bool> {
    if rustix::fs::fcntl_get_seals(exe).is_ok_and(|s| s.contains(all_seals())) {
        return Ok(true);
    }
    let what = || "look at this program's file system";
    let overlay = rustix::fs::fstatfs(exe).doing(what)?.f_type == OVERLAYFS_SUPER_MAGIC;
    let read_only = rustix::fs::fstatvfs(exe).doing(what)?.f_flag.contains(StatVfsMountFlags::RDONLY);
    Ok(overlay && read_only && path.parent() == Some(Path::new("/")))
}

/// This program's file, seen through a read-only overlay of its directory.
fn overlay_of(exe: &File, path: &Path) -> Result<OwnedFd> {
    let what = || format!("mount a read-only overlay of {}", path.display());
    let (Some(dir), Some(name)) = (path.parent().and_then(Path::to_str), path.file_name()) else {
        return Err(Error::invalid(what()));
    };
    if dir.contains([':', ',', '\\']) {
        return Err(Error::invalid(what()));
    }
    let fs = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).doing(what)?;
    rustix::mount::fsconfig_set_string(fs.as_fd(), "source", "lxc").doing(what)?;
    rustix::mount::fsconfig_set_string(fs.as_fd(), "lowerdir", format!("{dir}:{OTHER_LAYER}")).doing(what)?;
    rustix::mount::fsconfig_create(fs.as_fd()).doing(what)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NODEV;
    let mount = rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).doing(what)?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let file = rustix::fs::openat2(&mount, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty(), resolve)
        .doing(what)?;
    // It is the program that runs, not one that took its name meanwhile.
    let (ours, theirs) = (rustix::fs::fstat(exe).doing(what)?, rustix::fs::fstat(&file).doing(what)?);
    let same = (ours.st_size, ours.st_mtime, ours.st_mtime_nsec)
        == (theirs.st_size, theirs.st_mtime, theirs.st_mtime_nsec);
    if same { Ok(file) } else { Err(Error::invalid(what())) }
}

/// A copy in memory that nobody can change.
fn sealed_copy(exe: &File) -> Result<OwnedFd> {
    let what = || "copy this program to memory";
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copy = rustix::fs::memfd_create("lxc", flags).doing(what)?;
    let length = exe.metadata().doing(what)?.len();
    let mut done = 0;
    while done < length {
        let rest = usize::try_from(length - done).unwrap_or(usize::MAX);
        match rustix::fs::sendfile(&copy, exe, None, rest).doing(what)? {
            0 => return Err(Error::os(what(), lxc_sys::Errno::IO)),
            n => done += n as u64,
        }
    }
    // The kernel refuses while pages are still on their way.
    for _ in 0..100 {
        match rustix::fs::fcntl_add_seals(&copy, all_seals()) {
            Err(lxc_sys::Errno::BUSY) => std::thread::sleep(std::time::Duration::from_millis(1)),
            result => return result.doing(|| "seal the copy of this program").map(|()| copy),
        }
    }
    Err(Error::os("seal the copy of this program", lxc_sys::Errno::BUSY))
}
