//! `lxc.apparmor.*`

use super::access::{Access, field};
use super::{KEY, Key, Kind, Place};

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "lxc.apparmor.profile",
        value: "name of a profile, or unconfined, unchanged, generated",
        default: "lxc-container-default-cgns, or lxc-container-default on kernels without cgroup namespaces",
        since: "3.0",
        doc: "The AppArmor profile of the container. `unconfined` removes confinement, `unchanged` keeps \
              that of the caller, and `generated` builds a profile for this container from the other keys of \
              the family.",
        place: Place::Container(Access::Text(field!(apparmor.profile))),
        ..KEY
    },
    Key {
        name: "lxc.apparmor.allow_incomplete",
        value: "0 or 1",
        default: "0",
        since: "3.0",
        doc: "With 1 the container starts even on kernels whose AppArmor cannot mediate mounts.",
        place: Place::Container(Access::Flag(field!(apparmor.allow_incomplete), false)),
        ..KEY
    },
    Key {
        name: "lxc.apparmor.allow_nesting",
        value: "0 or 1",
        default: "0",
        since: "3.1",
        doc: "With 1 a generated profile lets containers run inside the container, and fresh instances of \
              proc and sysfs are mounted below /dev/.lxc for them.",
        place: Place::Container(Access::Flag(field!(apparmor.allow_nesting), false)),
        ..KEY
    },
    Key {
        name: "lxc.apparmor.raw",
        kind: Kind::List,
        value: "one line of an AppArmor profile",
        default: "none",
        since: "3.1",
        doc: "A line that is appended to a generated profile.",
        place: Place::Container(Access::Lines(field!(apparmor.raw))),
        ..KEY
    },
];
