//! `lxc.hook.*`

use super::access::{Access, Custom, lines};
use super::{KEY, Key, Kind, Place};
use crate::values::{HookType, Values};
use crate::{ValueError, scalar};

const COMMAND: &str = "command line for sh -c";

/// A key `lxc.hook.<type>`.
macro_rules! hook {
    ($name:literal, $hook:ident, $since:literal, $doc:literal) => {
        Key {
            name: concat!("lxc.hook.", $name),
            kind: Kind::List,
            value: COMMAND,
            default: "none",
            since: $since,
            doc: $doc,
            place: Place::Container(Access::Custom(Custom {
                set: |values, setting| {
                    values.hooks.entry(HookType::$hook).or_default().push(setting.value.to_owned());
                    Ok(())
                },
                get: |values, _| lines(values.hooks.get(&HookType::$hook).into_iter().flatten()),
                clear: |values, _| {
                    values.hooks.remove(&HookType::$hook);
                },
            })),
            ..KEY
        }
    };
}

pub(super) const KEYS: &[Key] = &[
    hook!(
        "autodev",
        Autodev,
        "1.0",
        "Runs in the container's process before /dev is populated, if lxc.autodev is 1. A failure aborts \
         the start."
    ),
    hook!(
        "clone",
        Clone,
        "1.0",
        "Runs when the container is copied, with the names of both in its environment."
    ),
    hook!("destroy", Destroy, "1.0", "Runs when the container is destroyed."),
    hook!(
        "mount",
        Mount,
        "1.0",
        "Runs in the container's process when everything is mounted, before the root is changed. A failure \
         aborts the start."
    ),
    hook!("post-stop", PostStop, "1.0", "Runs on the host last of all, when the container is stopped."),
    hook!(
        "pre-mount",
        PreMount,
        "1.0",
        "Runs in the container's process and mount namespace before the root file system is mounted. A \
         failure aborts the start."
    ),
    hook!(
        "pre-start",
        PreStart,
        "1.0",
        "Runs on the host before terminals, cgroups and mounts are made. A failure aborts the start."
    ),
    hook!("start", Start, "1.0", "Runs inside the container right before init. A failure aborts the start."),
    hook!(
        "start-host",
        StartHost,
        "3.0",
        "Runs on the host when the container is set up, before init runs. A failure aborts the start."
    ),
    hook!("stop", Stop, "1.0", "Runs on the host when init is dead, with references to its namespaces."),
    Key {
        name: "lxc.hook.version",
        value: "0 or 1",
        default: "0",
        since: "3.0",
        doc: "How hooks get their data: with 0 as arguments, with 1 in the environment.",
        place: Place::Container(Access::Custom(Custom {
            set: |values, setting| set_version(values, setting.value),
            get: |values, _| values.hook_version.to_string(),
            clear: |values, _| values.hook_version = 0,
        })),
        ..KEY
    },
    Key {
        name: "lxc.hook",
        kind: Kind::List,
        value: "empty",
        default: "none",
        since: "1.0",
        doc: "Assigning nothing removes the hooks of all types.",
        place: Place::Hooks,
        ..KEY
    },
];

fn set_version(values: &mut Values, value: &str) -> Result<(), ValueError> {
    values.hook_version = scalar::bool01(value)?.into();
    Ok(())
}
