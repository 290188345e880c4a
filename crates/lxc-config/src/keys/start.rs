//! Keys about when a container starts and what happens when it stops.

use super::access::{Access, field};
use super::{KEY, Key, Kind, Place};

pub(super) const EPHEMERAL: &[Key] = &[Key {
    name: "lxc.ephemeral",
    value: "0 or 1",
    default: "0",
    since: "2.0",
    doc: "With 1 the container is destroyed when it stops, but not when it reboots.",
    place: Place::Container(Access::Flag(field!(ephemeral), false)),
    ..KEY
}];

pub(super) const GROUP: &[Key] = &[Key {
    name: "lxc.group",
    kind: Kind::List,
    value: "names separated by blanks",
    default: "none",
    since: "1.0",
    doc: "Groups to which the container belongs, for lxc-autostart and lxc-ls.",
    place: Place::Container(Access::Words(field!(groups))),
    ..KEY
}];

pub(super) const START: &[Key] = &[
    Key {
        name: "lxc.start.auto",
        value: "0 or 1",
        default: "0",
        since: "1.0",
        doc: "With 1 lxc-autostart starts the container.",
        place: Place::Container(Access::Flag(field!(start.auto), false)),
        ..KEY
    },
    Key {
        name: "lxc.start.delay",
        value: "number of seconds",
        default: "0",
        since: "1.0",
        doc: "How long lxc-autostart waits after starting the container.",
        place: Place::Container(Access::Uint(field!(start.delay))),
        ..KEY
    },
    Key {
        name: "lxc.start.order",
        value: "number",
        default: "0",
        since: "1.0",
        doc: "Place among the containers that are started together: lower ones first, and the reverse to \
              stop them.",
        place: Place::Container(Access::Int(field!(start.order))),
        ..KEY
    },
];
