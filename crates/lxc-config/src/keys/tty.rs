//! `lxc.tty.*` and `lxc.pty.max`

use super::access::{Access, field};
use super::{KEY, Key, Place};

/// Longest name of the directory of terminals.
const TTY_DIR_MAX: usize = 255;

pub(super) const PTY: &[Key] = &[Key {
    name: "lxc.pty.max",
    value: "number",
    default: "0: no instance of its own",
    since: "2.1",
    doc: "How many pseudo terminals the container's own devpts may hold.",
    place: Place::Container(Access::Uint(field!(pty_max))),
    ..KEY
}];

pub(super) const TTY: &[Key] = &[
    Key {
        name: "lxc.tty.dir",
        value: "directory name below /dev, less than 256 bytes",
        since: "2.1",
        doc: "Directory below /dev in which the console and the terminals are placed, so that programs in \
              the container can replace the links in /dev.",
        place: Place::Container(Access::Bounded(field!(tty_dir), TTY_DIR_MAX)),
        ..KEY
    },
    Key {
        name: "lxc.tty.max",
        value: "number",
        default: "0",
        since: "2.1",
        doc: "How many terminals /dev/tty1 and so on the container has.",
        place: Place::Container(Access::Uint(field!(tty_max))),
        ..KEY
    },
];
