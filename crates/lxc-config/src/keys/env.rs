//! `lxc.environment*`

use super::access::{Access, field};
use super::{KEY, Key, Kind, Place};
use crate::ValueError;
use crate::source::Source;

const GRAMMAR: &str = "NAME=VALUE, or NAME to copy the variable of the caller";

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "lxc.environment.runtime",
        kind: Kind::List,
        value: GRAMMAR,
        default: "none",
        since: "6.0",
        doc: "A variable for init and for attached commands alone.",
        place: Place::Container(Access::Environment(field!(environment_runtime))),
        ..KEY
    },
    Key {
        name: "lxc.environment.hooks",
        kind: Kind::List,
        value: GRAMMAR,
        default: "none",
        since: "6.0",
        doc: "A variable for the hooks that run in the container's process alone.",
        place: Place::Container(Access::Environment(field!(environment_hooks))),
        ..KEY
    },
    Key {
        name: "lxc.environment",
        kind: Kind::List,
        value: GRAMMAR,
        default: "none",
        since: "1.0",
        doc: "A variable of the environment of init, attached commands and the hooks that run in the \
              container's process. Later assignments of one name win.",
        place: Place::Container(Access::Environment(field!(environment))),
        ..KEY
    },
];

/// `NAME=VALUE` as it is, or completed from the caller's environment.
pub(super) fn variable(value: &str, source: &dyn Source) -> Result<String, ValueError> {
    if value.contains('=') {
        return Ok(value.to_owned());
    }
    match source.env(value) {
        Some(content) => Ok(format!("{value}={content}")),
        None => Err(ValueError::new(format!("there is no variable {value} in the environment to copy"))),
    }
}
