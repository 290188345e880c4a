//! `lxc.seccomp.*`

use super::access::{Access, Custom, Setting, field};
use super::{KEY, Key, Place};
use crate::ValueError;
use crate::values::Values;

/// Longest address of a Unix socket.
const SOCKET_MAX: usize = 107;

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "lxc.seccomp.allow_nesting",
        value: "0 or 1",
        default: "0",
        since: "4.0",
        doc: "With 1 the policy is loaded even if the caller is already confined by one.",
        place: Place::Container(Access::Flag(field!(seccomp.allow_nesting), false)),
        ..KEY
    },
    Key {
        name: "lxc.seccomp.notify.cookie",
        value: "text",
        since: "4.0",
        doc: "Text that is sent to the proxy with every notification.",
        place: Place::Container(Access::Text(field!(seccomp.notify_cookie))),
        ..KEY
    },
    Key {
        name: "lxc.seccomp.notify.proxy",
        value: "unix:/PATH or unix:@NAME, at most 107 bytes after unix:",
        since: "4.0",
        doc: "Socket of a program that decides about the system calls for which the policy says notify.",
        place: Place::Container(Access::Custom(Custom {
            set: set_proxy,
            get: |values, _| values.seccomp.notify_proxy.clone().unwrap_or_default(),
            clear: |values, _| values.seccomp.notify_proxy = None,
        })),
        ..KEY
    },
    Key {
        name: "lxc.seccomp.profile",
        value: "path",
        since: "3.0",
        doc: "File with the policy for system calls.",
        place: Place::Container(Access::Path(field!(seccomp.profile))),
        ..KEY
    },
];

fn set_proxy(values: &mut Values, setting: &mut Setting<'_>) -> Result<(), ValueError> {
    let address = setting.value.strip_prefix("unix:");
    match address.filter(|address| address.starts_with(['/', '@'])) {
        Some(address) if address.len() > SOCKET_MAX => {
            Err(ValueError::new(format!("the address is longer than {SOCKET_MAX} bytes")))
        }
        Some(_) => {
            values.seccomp.notify_proxy = Some(setting.value.to_owned());
            Ok(())
        }
        None => Err(ValueError::new(format!("'{}' is not the address of a Unix socket", setting.value))),
    }
}
