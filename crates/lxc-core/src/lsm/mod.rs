//! Security labels: what a Linux security module confines the container by.

pub mod apparmor;
mod profile;
pub mod selinux;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lxc_sys::Errno;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::error::{Doing, Result};
use crate::plan::host;
use crate::plan::label::Label;

/// Inode of the root of every instance of procfs (fs/proc/internal.h).
const PROC_ROOT_INO: u64 = 1;

/// The label of a process, by the module that confines containers here; `None` where there is none.
pub fn label_of(pid: i32) -> Option<Label> {
    if host::apparmor_enabled() {
        return apparmor::label_of(pid).map(Label::AppArmor);
    }
    if host::selinux_enabled() { selinux::label_of(pid).map(Label::SeLinux) } else { None }
}

/// A label that somebody has named, of the module that confines containers here.
pub fn named(label: &str) -> Option<Label> {
    if host::apparmor_enabled() {
        return Some(Label::AppArmor(label.to_string()));
    }
    host::selinux_enabled().then(|| Label::SeLinux(label.to_string()))
}

/// Changes this process's label, whose file is given: at once, or with the next program it executes.
pub fn change(own: &OwnedFd, label: &Label) -> Result<()> {
    match label {
        Label::AppArmor(profile) => apparmor::change(own, profile),
        Label::SeLinux(context) => selinux::change(own, context),
    }
}

/// This process's label, to be changed by itself: the kernel takes it from nobody else.
///
/// On the host, or while the host's /proc is still in sight: it is trusted.
pub fn open_own(label: &Label) -> Result<OwnedFd> {
    let open = |file: &str| {
        rustix::fs::open(format!("/proc/self/{file}"), OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
    };
    first_of(label, open).doing(|| "open the label of this process")
}

/// The same inside a container, whose /proc may be anything: through a root of procfs without following links
/// or crossing mounts, else through an instance of procfs that is mounted nowhere. Should the instance be that
/// of other processes, the kernel refuses the write.
pub fn open_own_inside(label: &Label) -> Result<OwnedFd> {
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let seen =
        rustix::fs::open("/proc", directory, Mode::empty()).and_then(|proc| open_below(label, proc.as_fd()));
    match seen {
        Ok(fd) => Ok(fd),
        Err(e) => {
            log::debug!("the label below /proc: {e}; using a procfs of our own");
            own_procfs()
                .and_then(|proc| open_below(label, proc.as_fd()))
                .doing(|| "open the label of this process")
        }
    }
}

fn open_below(label: &Label, proc: BorrowedFd<'_>) -> lxc_sys::Result<OwnedFd> {
    let is_procfs = rustix::fs::fstatfs(proc)?.f_type == rustix::fs::PROC_SUPER_MAGIC;
    if !is_procfs || rustix::fs::fstat(proc)?.st_ino != PROC_ROOT_INO {
        return Err(Errno::NOTSUP);
    }
    let pid = rustix::process::getpid().as_raw_nonzero();
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    first_of(label, |file| {
        let path = format!("{pid}/{file}");
        rustix::fs::openat2(proc, path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty(), resolve)
    })
}

fn own_procfs() -> lxc_sys::Result<OwnedFd> {
    let fs = rustix::mount::fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_create(fs.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn first_of(label: &Label, open: impl Fn(&str) -> lxc_sys::Result<OwnedFd>) -> lxc_sys::Result<OwnedFd> {
    let files = match label {
        Label::AppArmor(_) => apparmor::FILES,
        Label::SeLinux(_) => selinux::FILES,
    };
    let mut last = Err(Errno::NOENT);
    for file in files {
        last = open(file);
        if last.as_ref().err() != Some(&Errno::NOENT) {
            break;
        }
    }
    last
}
