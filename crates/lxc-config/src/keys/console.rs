//! `lxc.console.*`

use super::access::{Access, field};
use super::{KEY, Key, Place};

const RING: &str = "number of bytes with an optional kB, MB or GB, or auto";

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "lxc.console.buffer.size",
        value: RING,
        default: "0: no buffer",
        since: "3.0",
        doc: "Size of a ring buffer in memory that keeps the last output of the console. Rounded up to a \
              power of two and at least a page; `auto` is 128 kB.",
        place: Place::Container(Access::RingSize(field!(console.buffer_size))),
        ..KEY
    },
    Key {
        name: "lxc.console.logfile",
        value: "path",
        since: "1.0",
        doc: "File to which the output of the console is appended.",
        place: Place::Container(Access::Path(field!(console.logfile))),
        ..KEY
    },
    Key {
        name: "lxc.console.path",
        value: "path, or none",
        default: "the caller's terminal, if there is one",
        since: "3.0",
        doc: "Terminal or file to which the console is connected. `none` gives the container no console.",
        place: Place::Container(Access::Path(field!(console.path))),
        ..KEY
    },
    Key {
        name: "lxc.console.rotate",
        value: "0 or 1",
        default: "0",
        since: "3.0",
        doc: "With 1 a console log that grew beyond lxc.console.size is kept as `<file>.1` and begun anew.",
        place: Place::Container(Access::Flag(field!(console.rotate), false)),
        ..KEY
    },
    Key {
        name: "lxc.console.size",
        value: RING,
        default: "0: no limit",
        since: "3.0",
        doc: "Limit of the console's log file, rounded like lxc.console.buffer.size.",
        place: Place::Container(Access::RingSize(field!(console.size))),
        ..KEY
    },
];
