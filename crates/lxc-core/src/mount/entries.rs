//! fstab and `lxc.mount.entry`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lxc_config::mount_entry::Create;
use rustix::mount::{MountFlags, MountPropagationFlags};

use crate::error::{Doing, Error, Result};
use crate::files::fd_path;
use crate::plan::MountPlan;
use crate::rootfs::{Root, locked_flags, mount_on};

/// Performs one entry. An optional one that fails is logged.
pub fn mount(root: &Root, entry: &MountPlan) -> Result<()> {
    optional(entry, try_mount(root, entry))
}

/// Attaches what an entry with `idmap=` shows, made by [`super::tree::entry`]. An optional one that fails is logged.
pub fn attach(root: &Root, entry: &MountPlan, tree: BorrowedFd<'_>) -> Result<()> {
    use rustix::mount::MoveMountFlags as F;
    let try_attach = || -> Result<()> {
        let target = open_target(root, entry)?;
        let flags = F::MOVE_MOUNT_F_EMPTY_PATH | F::MOVE_MOUNT_T_EMPTY_PATH;
        rustix::mount::move_mount(tree, "", &target, "", flags)
            .doing(|| format!("mount {} on {}", entry.source, entry.target.display()))?;
        set_propagation(root, entry)
    };
    optional(entry, try_attach())
}

fn optional(entry: &MountPlan, result: Result<()>) -> Result<()> {
    match result {
        Err(e) if entry.options.optional => {
            log::info!("optional mount entry {:?}: {e}", entry.text);
            Ok(())
        }
        result => result.doing(|| format!("mount entry {:?}", entry.text)),
    }
}

fn open_target(root: &Root, entry: &MountPlan) -> Result<OwnedFd> {
    match entry.options.create {
        Some(Create::Dir) => root.make_dir(&entry.target, 0o755),
        Some(Create::File) => root.make_file(&entry.target, 0),
        None => root
            .find(&entry.target)
            .doing(|| format!("find the target {}", entry.target.display()))
            .map_err(|e: Error| match e.errno() {
                Some(lxc_sys::Errno::NOENT) => e.with_hint("add create=dir or create=file to its options"),
                _ => e,
            }),
    }
}

fn try_mount(root: &Root, entry: &MountPlan) -> Result<()> {
    let target = open_target(root, entry)?;
    let what = || format!("mount {} on {}", entry.source, entry.target.display());
    let options = &entry.options;
    let flags = MountFlags::from_bits_retain(options.flags as u32);
    // A source inside the root file system is found there, and held while it is used.
    let held: Option<OwnedFd>;
    let source = if options.relative {
        let fd = root.find(&entry.source).doing(|| format!("find the source {}", entry.source))?;
        let path = fd_path(fd.as_fd());
        held = Some(fd);
        path
    } else {
        held = None;
        entry.source.clone()
    };
    if entry.is_bind() {
        let bind = flags & (MountFlags::BIND | MountFlags::REC);
        mount_on(&source, target.as_fd(), "", bind, "").doing(what)?;
        let mounted = root.find(&entry.target).doing(what)?;
        let mut keep = locked_flags(mounted.as_fd());
        if options.cleared & lxc_config::mount_entry::MS_NODEV != 0 {
            keep -= MountFlags::NODEV;
        }
        let rest = flags - (MountFlags::BIND | MountFlags::REC);
        if !rest.is_empty() {
            rustix::mount::mount_remount(&*fd_path(mounted.as_fd()), MountFlags::BIND | rest | keep, "")
                .doing(|| format!("change the flags of {}", entry.target.display()))?;
        }
    } else {
        mount_on(&source, target.as_fd(), &entry.fstype, flags, &options.data).doing(what)?;
    }
    drop(held);
    set_propagation(root, entry)
}

fn set_propagation(root: &Root, entry: &MountPlan) -> Result<()> {
    if entry.options.propagation == 0 {
        return Ok(());
    }
    let what = || format!("change the propagation of {}", entry.target.display());
    let mounted = root.find(&entry.target).doing(what)?;
    let propagation = MountPropagationFlags::from_bits_retain(entry.options.propagation as u32);
    rustix::mount::mount_change(&*fd_path(mounted.as_fd()), propagation).doing(what)
}
