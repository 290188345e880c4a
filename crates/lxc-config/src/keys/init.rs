//! `lxc.init.*` and `lxc.execute.cmd`: what runs in the container, and as whom.

use super::access::{Access, Custom, Setting, field};
use super::{KEY, Key, Kind, Place};
use crate::values::Values;
use crate::{ValueError, scalar};

const COMMAND: &str = "command line, split at blanks with ' and \" to group";

pub(super) const EXECUTE: &[Key] = &[Key {
    name: "lxc.execute.cmd",
    value: COMMAND,
    since: "3.0",
    doc: "The command of lxc-execute where none is given on its command line.",
    place: Place::Container(Access::Text(field!(execute_cmd))),
    ..KEY
}];

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "lxc.init.cmd",
        value: COMMAND,
        default: "/sbin/init",
        since: "3.0",
        doc: "The first program of the container.",
        place: Place::Container(Access::Text(field!(init.cmd))),
        ..KEY
    },
    Key {
        name: "lxc.init.gid",
        value: "group id",
        default: "0",
        since: "3.0",
        doc: "The group under which init and attached commands run, as seen inside the container.",
        place: Place::Container(Access::Uint(field!(init.gid))),
        ..KEY
    },
    Key {
        name: "lxc.init.groups",
        kind: Kind::List,
        value: "group ids separated by commas",
        default: "none",
        since: "5.0",
        doc: "Supplementary groups of init and attached commands.",
        place: Place::Container(Access::Custom(Custom {
            set: set_groups,
            get: |values, _| values.init.groups.iter().map(u32::to_string).collect::<Vec<_>>().join(","),
            clear: |values, _| values.init.groups.clear(),
        })),
        ..KEY
    },
    Key {
        name: "lxc.init.uid",
        value: "user id",
        default: "0",
        since: "3.0",
        doc: "The user under which init and attached commands run, as seen inside the container.",
        place: Place::Container(Access::Uint(field!(init.uid))),
        ..KEY
    },
    Key {
        name: "lxc.init.cwd",
        value: "path",
        default: "/",
        since: "3.0",
        doc: "The working directory of init inside the container. It is made if it does not exist.",
        place: Place::Container(Access::Path(field!(init.cwd))),
        ..KEY
    },
];

fn set_groups(values: &mut Values, setting: &mut Setting<'_>) -> Result<(), ValueError> {
    let groups = setting.value.split(',').filter(|part| !part.is_empty());
    let groups = groups.map(scalar::uint).collect::<Result<Vec<_>, _>>()?;
    if groups.is_empty() {
        return Err(ValueError::new("there is no group in the list"));
    }
    values.init.groups.extend(groups);
    Ok(())
}
