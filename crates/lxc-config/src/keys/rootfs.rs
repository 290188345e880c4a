//! `lxc.rootfs.*`

use std::path::PathBuf;

use super::access::{Access, Custom, Setting, field};
use super::{KEY, Key, Place};
use crate::mount_entry::MountOptions;
use crate::values::Values;
use crate::{ValueError, scalar};

/// Where root file systems are mounted unless `lxc.rootfs.mount` says otherwise. Packagers set
/// `LXC_ROOTFS_MOUNT` when they build.
pub const DEFAULT_ROOTFS_MOUNT: &str = match option_env!("LXC_ROOTFS_MOUNT") {
    Some(path) => path,
    None => "/usr/lib/lxc/rootfs",
};

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "lxc.rootfs.managed",
        value: "0 or 1",
        default: "1",
        since: "3.1",
        doc: "With 0 creating and destroying the container leaves its storage alone.",
        place: Place::Container(Access::Flag(field!(rootfs.managed), true)),
        ..KEY
    },
    Key {
        name: "lxc.rootfs.mount",
        value: "path",
        default: "a directory chosen when the programs were built",
        since: "1.0",
        doc: "Where the root file system is mounted before it becomes the container's root.",
        place: Place::Container(Access::Custom(Custom {
            set: |values, setting| {
                scalar::path(setting.value).map(|path| values.rootfs.mount = Some(path.into()))
            },
            get: |values, _| {
                let mount =
                    values.rootfs.mount.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_ROOTFS_MOUNT));
                mount.to_string_lossy().into_owned()
            },
            clear: |values, _| values.rootfs.mount = None,
        })),
        ..KEY
    },
    Key {
        name: "lxc.rootfs.options",
        value: "mount options separated by commas, idmap=container or idmap=PATH",
        since: "1.0",
        doc: "Options with which the root file system is mounted. `idmap=` shifts the ids of its files by \
              those of the container or of another user namespace.",
        place: Place::Container(Access::Custom(Custom {
            set: set_options,
            get: |values, _| values.rootfs.options.clone().unwrap_or_default(),
            clear: |values, _| values.rootfs.options = None,
        })),
        ..KEY
    },
    Key {
        name: "lxc.rootfs.path",
        value: "[TYPE:]PATH with TYPE dir, zfs, lvm, rbd, btrfs, overlay, overlayfs, loop or nbd",
        default: "the root of the host",
        since: "2.1",
        doc: "The root file system of the container. Without a type the kind of storage is detected. An \
              overlay is written as its lower directories and the upper one, separated by colons.",
        place: Place::Container(Access::Custom(Custom {
            set: set_path,
            get: |values, _| values.rootfs.path.clone().unwrap_or_default(),
            clear: |values, _| {
                values.rootfs.path = None;
                values.rootfs.kind = None;
            },
        })),
        ..KEY
    },
];

fn set_options(values: &mut Values, setting: &mut Setting<'_>) -> Result<(), ValueError> {
    let options = MountOptions::parse(setting.value).map_err(|error| ValueError::new(error.to_string()))?;
    if options.create.is_some() || options.optional || options.relative {
        return Err(ValueError::new(
            "create=, optional and relative have no meaning for the root file system",
        ));
    }
    values.rootfs.options = Some(setting.value.to_owned());
    Ok(())
}

/// A path without type keeps the type of an earlier assignment: what reading the key returns can be assigned
/// again.
fn set_path(values: &mut Values, setting: &mut Setting<'_>) -> Result<(), ValueError> {
    let (kind, path) = split_storage_type(setting.value);
    let path = if path.is_empty() { String::new() } else { scalar::path(path)? };
    values.rootfs.path = Some(path);
    if let Some(kind) = kind {
        values.rootfs.kind = Some(kind.to_owned());
    }
    Ok(())
}

/// The type before the first colon, if there is one. Nothing with a slash is a type: a path, the lower
/// directory of an overlay among them, may contain colons too.
pub(crate) fn split_storage_type(value: &str) -> (Option<&str>, &str) {
    match value.split_once(':') {
        Some((kind, path)) if !kind.contains('/') => (Some(kind), path),
        _ => (None, value),
    }
}
