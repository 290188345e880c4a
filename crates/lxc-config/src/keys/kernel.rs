//! `lxc.sysctl.*` and `lxc.proc.*`: files of /proc that are written at start.

use super::access::{Access, Custom, Setting, assignments, field, separated, sub_key};
use super::{KEY, Key, Kind, Place, Sub};
use crate::ValueError;
use crate::values::Values;

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "lxc.sysctl",
        sub: Sub::Optional("<name>"),
        kind: Kind::Map,
        value: "text to write to the file",
        default: "none",
        since: "2.1",
        doc: "A kernel parameter below /proc/sys, with dots for slashes, set inside the container before \
              init runs.",
        place: Place::Container(Access::Replaced(field!(sysctls))),
        ..KEY
    },
    Key {
        name: "lxc.proc",
        sub: Sub::Optional("<file>"),
        kind: Kind::List,
        value: "text to write to the file",
        default: "none",
        since: "3.0",
        doc: "A file below /proc/PID of the container's init, such as `oom_score_adj`, with dots for \
              slashes, written before init runs.",
        place: Place::Container(Access::Custom(Custom {
            set: set_proc,
            get: get_proc,
            clear: |values, sub| values.procs.retain(|(name, _)| !sub.is_empty() && name != sub),
        })),
        ..KEY
    },
];

fn set_proc(values: &mut Values, setting: &mut Setting<'_>) -> Result<(), ValueError> {
    values.procs.push((sub_key(setting)?.to_owned(), setting.value.to_owned()));
    Ok(())
}

fn get_proc(values: &Values, sub: &str) -> String {
    if sub.is_empty() {
        return assignments("lxc.proc", &values.procs);
    }
    separated(values.procs.iter().filter(|(name, _)| name == sub).map(|(_, value)| value))
}
