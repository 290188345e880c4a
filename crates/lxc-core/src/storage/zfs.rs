//! Datasets of ZFS, by its program (zfs(8)).

use std::os::fd::AsFd;

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::{Backend, Mounted, Options, Target, block, wrong_kind};
use crate::error::{Doing, Result};
use crate::plan::Storage;
use crate::{global, program};

pub(super) struct Zfs;

fn zfs(words: &[&str]) -> Result<String> {
    program::run_with("zfs", words, program::PLAIN)
}

fn exists(dataset: &str) -> Result<bool> {
    let ask = |dataset: &str| zfs(&["get", "-H", "-o", "name", "type", dataset]);
    let is_there = super::is_there(ask(dataset), &["does not exist"])?;
    if !is_there {
        // In a pool that is not imported it may be all the same.
        ask(dataset.split('/').next().unwrap_or(dataset))?;
    }
    Ok(is_there)
}

/// Of a snapshot that was made for a clone: its name.
const CLONE: &str = "lxc:clone";

/// Makes the snapshot that a clone is of. One that is there was left by somebody who was killed before it was cloned, if
/// it says so and has no clones.
fn snapshot_for(origin: &str, clone: &str) -> Result<()> {
    let property = format!("{CLONE}={clone}");
    let make = || zfs(&["snapshot", "-r", "-o", &property, origin]).map(drop);
    make().or_else(|e| {
        let value = |name: &str| zfs(&["get", "-H", "-o", "value", name, origin]);
        let is_left = e.to_string().contains("already exists")
            && value(CLONE)?.trim() == clone
            && matches!(value("clones")?.trim(), "" | "-");
        if !is_left {
            return Err(e);
        }
        zfs(&["destroy", "-r", origin])?;
        make()
    })
}

/// Makes a dataset by a verb and its words, and those above it where they are missing. Asked to do that by itself, the
/// program would take a dataset that is there already for the one that it was to make (zfs-create(8), -p).
fn make(verb: &[&str], dataset: &str) -> Result<()> {
    let make = || zfs(&[verb, &[dataset]].concat()).map(drop);
    match (make(), dataset.rsplit_once('/')) {
        (Err(e), Some((parent, _))) if e.to_string().contains("parent does not exist") => {
            zfs(&["create", "-p", parent])?;
            make()
        }
        (made, _) => made,
    }
}

fn last(dataset: &str) -> &str {
    dataset.rsplit('/').next().unwrap_or(dataset)
}

impl Backend for Zfs {
    fn place(&self, target: &Target<'_>) -> Result<Storage> {
        let global = global::load();
        let configured = || global.get("lxc.bdev.zfs.root").flatten().unwrap_or("lxc").to_string();
        let root = target.options.zfs_root.clone().unwrap_or_else(configured);
        Ok(Storage::Zfs(format!("{root}/{}", target.name)))
    }

    fn exists(&self, storage: &Storage) -> Result<bool> {
        let Storage::Zfs(dataset) = storage else { return Err(wrong_kind(storage)) };
        exists(dataset)
    }

    fn create(&self, storage: &Storage, target: &Target<'_>) -> Result<()> {
        let Storage::Zfs(dataset) = storage else { return Err(wrong_kind(storage)) };
        let place = mount_point(target);
        make(&["create", "-o", &place, "-o", "canmount=noauto"], dataset)
    }

    fn mount(&self, storage: &Storage, data: &str) -> Result<Mounted> {
        let Storage::Zfs(dataset) = storage else { return Err(wrong_kind(storage)) };
        let what = || format!("mount zfs of {dataset}");
        let fs = rustix::mount::fsopen("zfs", FsOpenFlags::FSOPEN_CLOEXEC).doing(what)?;
        rustix::mount::fsconfig_set_string(fs.as_fd(), "source", dataset.as_str()).doing(what)?;
        block::set_options(&fs, data)?;
        block::set_options(&fs, &format!("zfsutil,mntpoint={dataset}"))?;
        rustix::mount::fsconfig_create(fs.as_fd()).doing(what)?;
        rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
            .doing(what)
            .map(Mounted::from)
    }

    /// With the snapshot that it is a clone of, which was made for it.
    fn destroy(&self, storage: &Storage) -> Result<()> {
        let Storage::Zfs(dataset) = storage else { return Err(wrong_kind(storage)) };
        if !exists(dataset)? {
            return Ok(());
        }
        let origin = zfs(&["get", "-H", "-o", "value", "origin", dataset])?;
        zfs(&["destroy", "-r", dataset])?;
        let of_it = |origin: &str| origin.split_once('@').is_some_and(|(_, name)| name == last(dataset));
        match origin.trim() {
            origin if of_it(origin) => zfs(&["destroy", "-r", origin]).map(drop),
            _ => Ok(()),
        }
    }

    fn snapshot(&self, source: &Storage, new: &Storage, target: &Target<'_>) -> Result<()> {
        let (Storage::Zfs(from), Storage::Zfs(to)) = (source, new) else { return Err(wrong_kind(new)) };
        let origin = format!("{from}@{}", last(to));
        snapshot_for(&origin, to)?;
        make(&["clone", "-o", "canmount=noauto", "-o", &mount_point(target), &origin], to)
            .inspect_err(|_| drop(zfs(&["destroy", "-r", &origin])))
    }

    fn like(&self, storage: &Storage) -> Options {
        let Storage::Zfs(dataset) = storage else { return Options::default() };
        let root = dataset.rsplit_once('/').map(|(root, _)| root.to_string());
        Options { zfs_root: root, ..Options::default() }
    }
}

/// Where the programs of ZFS would mount it.
fn mount_point(target: &Target<'_>) -> String {
    format!("mountpoint={}", target.rootfs().display())
}
