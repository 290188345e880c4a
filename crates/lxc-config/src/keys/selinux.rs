//! `lxc.selinux.*`

use super::access::{Access, field};
use super::{KEY, Key, Place};

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "lxc.selinux.context.keyring",
        value: "SELinux context",
        default: "lxc.selinux.context",
        since: "4.0",
        doc: "The context of the container's session keyring.",
        place: Place::Container(Access::Text(field!(selinux_keyring))),
        ..KEY
    },
    Key {
        name: "lxc.selinux.context",
        value: "SELinux context",
        default: "that of the caller",
        since: "2.1",
        doc: "The context of the container's processes.",
        place: Place::Container(Access::Text(field!(selinux_context))),
        ..KEY
    },
];
