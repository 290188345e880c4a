//! `lxc.cgroup*`: limits, and where the container's cgroups are.

use super::access::{Access, Custom, Setting, field};
use super::{KEY, Key, Kind, Place, Sub};
use crate::{ValueError, scalar};

const DIRECTORY: &str = "relative path without ..";

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "lxc.cgroup2",
        sub: Sub::Optional("<file>"),
        kind: Kind::List,
        value: "text to write to the file",
        default: "none",
        since: "3.0",
        doc: "A limit of the unified cgroup hierarchy: the name of a file of the container's cgroup, such as \
              `memory.max`, and what is written to it before init runs. `devices.allow` and `devices.deny` \
              hold rules of the device filter instead: `a`, or a type (a, b, c), `major:minor` and the \
              letters r, w, m.",
        place: Place::Container(Access::Repeated(field!(cgroup2_items))),
        ..KEY
    },
    Key {
        name: "lxc.cgroup.dir.monitor.pivot",
        value: DIRECTORY,
        since: "5.0",
        doc: "The cgroup to which the monitor moves when the container is gone, so that the others can be \
              removed.",
        place: Place::Container(Access::Custom(Custom {
            set: |values, setting| directory(setting).map(|dir| values.cgroup.dir_monitor_pivot = Some(dir)),
            get: |values, _| values.cgroup.dir_monitor_pivot.clone().unwrap_or_default(),
            clear: |values, _| values.cgroup.dir_monitor_pivot = None,
        })),
        ..KEY
    },
    Key {
        name: "lxc.cgroup.dir.monitor",
        value: DIRECTORY,
        since: "4.0",
        doc: "The cgroup of the monitor, exactly as written. Needs lxc.cgroup.dir.container.",
        place: Place::Container(Access::Custom(Custom {
            set: |values, setting| directory(setting).map(|dir| values.cgroup.dir_monitor = Some(dir)),
            get: |values, _| values.cgroup.dir_monitor.clone().unwrap_or_default(),
            clear: |values, _| values.cgroup.dir_monitor = None,
        })),
        ..KEY
    },
    Key {
        name: "lxc.cgroup.dir.container.inner",
        value: "one directory name",
        since: "4.0",
        doc: "A cgroup below that of the container in which init runs, so that the limits stay out of its \
              reach.",
        place: Place::Container(Access::Custom(Custom {
            set: |values, setting| {
                component(setting).map(|dir| values.cgroup.dir_container_inner = Some(dir))
            },
            get: |values, _| values.cgroup.dir_container_inner.clone().unwrap_or_default(),
            clear: |values, _| values.cgroup.dir_container_inner = None,
        })),
        ..KEY
    },
    Key {
        name: "lxc.cgroup.dir.container",
        value: DIRECTORY,
        since: "4.0",
        doc: "The cgroup of the container, exactly as written. Needs lxc.cgroup.dir.monitor.",
        place: Place::Container(Access::Custom(Custom {
            set: |values, setting| directory(setting).map(|dir| values.cgroup.dir_container = Some(dir)),
            get: |values, _| values.cgroup.dir_container.clone().unwrap_or_default(),
            clear: |values, _| values.cgroup.dir_container = None,
        })),
        ..KEY
    },
    Key {
        name: "lxc.cgroup.dir",
        value: DIRECTORY,
        since: "3.0",
        doc: "The cgroup below which those of the monitor (`lxc.monitor.<name>`) and of the container \
              (`lxc.payload.<name>`) are made.",
        place: Place::Container(Access::Custom(Custom {
            set: |values, setting| directory(setting).map(|dir| values.cgroup.dir = Some(dir)),
            get: |values, _| values.cgroup.dir.clone().unwrap_or_default(),
            clear: |values, _| values.cgroup.dir = None,
        })),
        ..KEY
    },
    Key {
        name: "lxc.cgroup.relative",
        value: "0 or 1",
        default: "0",
        since: "3.1",
        doc: "With 1 the container's cgroups stay below that of the caller instead of below the root cgroup.",
        place: Place::Container(Access::Flag(field!(cgroup.relative), false)),
        ..KEY
    },
    Key {
        name: "lxc.cgroup",
        sub: Sub::Optional("<controller>.<file>"),
        kind: Kind::List,
        value: "text to write to the file",
        default: "none",
        since: "1.0",
        doc: "A limit of a cgroup v1 hierarchy, such as `memory.limit_in_bytes`. Hosts with the unified \
              hierarchy alone ignore it.",
        listed: false,
        place: Place::Container(Access::Repeated(field!(cgroup1_items))),
        ..KEY
    },
];

/// A cgroup below another.
fn directory(setting: &Setting<'_>) -> Result<String, ValueError> {
    let path = scalar::path(setting.value)?;
    if path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return Err(ValueError::new(format!("'{path}' is not a relative path without ..")));
    }
    Ok(path)
}

fn component(setting: &Setting<'_>) -> Result<String, ValueError> {
    let name = setting.value;
    if name.contains('/') || name == "." || name == ".." {
        return Err(ValueError::new(format!("'{name}' is not a single directory name")));
    }
    Ok(name.to_owned())
}
