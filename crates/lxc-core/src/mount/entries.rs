//! fstab and `lxc.mount.entry`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lxc_config::mount_entry::Create;
use rustix::fs::CWD;
use rustix::mount::{MountFlags, MountPropagationFlags, OpenTreeFlags};

use crate::error::{Doing, Error, Result};
use crate::files::fd_path;
use crate::plan::MountPlan;
use crate::rootfs::{Root, attach_to, locked_flags, mount_on};

/// Performs one entry. An optional one that fails is logged.
pub fn mount(root: &Root, entry: &MountPlan) -> Result<()> {
    optional(entry, try_mount(root, entry))
}

/// Attaches what an entry with `idmap=` shows, made by [`super::tree::entry`]. An optional one that fails is logged.
pub fn attach(root: &Root, entry: &MountPlan, tree: BorrowedFd<'_>) -> Result<()> {
    let try_attach = || -> Result<()> {
        let target = open_target(root, entry)?;
        attach_to(tree, target.as_fd())
            .doing(|| format!("mount {} on {}", entry.source, entry.target.display()))?;
        set_propagation(tree, entry)
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
    if !entry.is_bind() {
        mount_on(&entry.source, target.as_fd(), &entry.fstype, flags, &options.data).doing(what)?;
        if options.propagation == 0 {
            return Ok(());
        }
        let mounted = root.find(&entry.target).doing(what)?;
        return set_propagation(mounted.as_fd(), entry);
    }
    let copy =
        if flags.contains(MountFlags::REC) { OpenTreeFlags::AT_RECURSIVE } else { OpenTreeFlags::empty() }
            | OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    // A source inside the root file system is found there. What is changed of the mount is changed by its descriptor:
    // a name may be another's by then, and the mount would stay writable.
    let mount = if options.relative {
        let source = root.find(&entry.source).doing(|| format!("find the source {}", entry.source))?;
        rustix::mount::open_tree(&source, "", copy | OpenTreeFlags::AT_EMPTY_PATH)
    } else {
        rustix::mount::open_tree(CWD, &*entry.source, copy)
    };
    let mount = mount.doing(what)?;
    attach_to(mount.as_fd(), target.as_fd()).doing(what)?;
    let mut keep = locked_flags(mount.as_fd());
    if options.cleared & lxc_config::mount_entry::MS_NODEV != 0 {
        keep -= MountFlags::NODEV;
    }
    let rest = flags - (MountFlags::BIND | MountFlags::REC);
    if !rest.is_empty() {
        rustix::mount::mount_remount(&*fd_path(mount.as_fd()), MountFlags::BIND | rest | keep, "")
            .doing(|| format!("change the flags of {}", entry.target.display()))?;
    }
    set_propagation(mount.as_fd(), entry)
}

fn set_propagation(mount: BorrowedFd<'_>, entry: &MountPlan) -> Result<()> {
    if entry.options.propagation == 0 {
        return Ok(());
    }
    let propagation = MountPropagationFlags::from_bits_retain(entry.options.propagation as u32);
    rustix::mount::mount_change(&*fd_path(mount), propagation)
        .doing(|| format!("change the propagation of {}", entry.target.display()))
}
