//! `lxc.autodev` and its tmpfs.

use super::access::{Access, Custom, Setting, field};
use super::{Empty, KEY, Key, Place};
use crate::values::Values;
use crate::{ValueError, scalar};

/// Size of /dev where nothing else is said.
const DEV_SIZE: i32 = 500_000;

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "lxc.autodev.tmpfs.size",
        value: "number of bytes",
        default: "500000",
        since: "4.0",
        doc: "Size of the tmpfs on the container's /dev.",
        empty: Empty::Means("500000"),
        place: Place::Container(Access::Custom(Custom {
            set: set_size,
            get: |values, _| values.autodev_tmpfs_size.unwrap_or(0).to_string(),
            clear: |values, _| values.autodev_tmpfs_size = None,
        })),
        ..KEY
    },
    Key {
        name: "lxc.autodev",
        value: "0 or 1",
        default: "1",
        since: "1.0",
        doc: "With 1 the container gets a fresh /dev on a tmpfs with the usual nodes. With 0 it uses the \
              /dev of its root file system.",
        empty: Empty::Means("0"),
        place: Place::Container(Access::Flag(field!(autodev), true)),
        ..KEY
    },
];

/// What is no number has always meant the default, so files with such a line exist.
fn set_size(values: &mut Values, setting: &mut Setting<'_>) -> Result<(), ValueError> {
    let size = scalar::int(setting.value);
    if let Err(error) = &size {
        setting.warning = Some(format!("{error}, {DEV_SIZE} is used"));
    }
    values.autodev_tmpfs_size = Some(size.unwrap_or(DEV_SIZE));
    Ok(())
}
