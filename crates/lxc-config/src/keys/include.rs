//! `lxc.include`

use super::{KEY, Key, Kind, Place};

pub(super) const KEYS: &[Key] = &[Key {
    name: "lxc.include",
    kind: Kind::List,
    value: "path of a file or directory",
    default: "none",
    since: "1.0",
    doc: "Reads another file at this place, or all files `*.conf` of a directory in the order of their \
          names. Relative paths start from the working directory of the process.",
    place: Place::Include,
    ..KEY
}];
