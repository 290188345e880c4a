//! `lxc.signal.*`

use super::access::{Access, field};
use super::{KEY, Key, Place};

const SIGNAL: &str = "number, SIGNAME, SIGRTMIN+N or SIGRTMAX-N";

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "lxc.signal.halt",
        value: SIGNAL,
        default: "SIGPWR, or SIGRTMIN+3 for an init that blocks it, as systemd does",
        since: "2.1",
        doc: "The signal that asks init to shut down.",
        place: Place::Container(Access::Signal(field!(signals.halt))),
        ..KEY
    },
    Key {
        name: "lxc.signal.reboot",
        value: SIGNAL,
        default: "SIGINT",
        since: "2.1",
        doc: "The signal that asks init to reboot.",
        place: Place::Container(Access::Signal(field!(signals.reboot))),
        ..KEY
    },
    Key {
        name: "lxc.signal.stop",
        value: SIGNAL,
        default: "SIGKILL",
        since: "2.1",
        doc: "The signal that kills the container.",
        place: Place::Container(Access::Signal(field!(signals.stop))),
        ..KEY
    },
];
