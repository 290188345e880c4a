//! What the container's cgroups are called (spec: cgroups, section 2).

use lxc_config::Values;

use super::host::Host;
use crate::error::{Error, Result};

/// What a set of cgroups is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupName {
    /// Path relative to the base cgroup.
    pub path: String,
    /// Component below it that the processes run in.
    pub inner: Option<String>,
    /// The name was given exactly: no suffix is tried when it is taken.
    pub exact: bool,
}

/// Names of all cgroups of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupPlan {
    /// Of the monitor.
    pub monitor: GroupName,
    /// Of the container.
    pub payload: GroupName,
    /// Where a monitor goes when its own is removed.
    pub pivot: String,
    /// Placed below the caller's cgroup.
    pub relative: bool,
}

impl CgroupPlan {
    /// Reads the layout keys.
    pub fn resolve(values: &Values, name: &str, host: &Host) -> Result<CgroupPlan> {
        let keys = &values.cgroup;
        let below = |dir: &str, leaf: String| if dir.is_empty() { leaf } else { format!("{dir}/{leaf}") };
        let group = |path: String, exact: bool| GroupName { path, inner: None, exact };
        let explicit =
            keys.dir_monitor.is_some() || keys.dir_container.is_some() || keys.dir_container_inner.is_some();
        let pivot_below = |dir: &str| below(dir, "lxc.pivot".to_string());
        let mut plan = if explicit {
            let (Some(monitor), Some(container)) = (&keys.dir_monitor, &keys.dir_container) else {
                return Err(Error::invalid(
                    "lxc.cgroup.dir.monitor and lxc.cgroup.dir.container must be set together",
                ));
            };
            if keys.dir.is_some() {
                return Err(Error::invalid(
                    "lxc.cgroup.dir excludes lxc.cgroup.dir.monitor and lxc.cgroup.dir.container",
                ));
            }
            CgroupPlan {
                monitor: group(monitor.clone(), true),
                payload: group(container.clone(), true),
                pivot: pivot_below(""),
                relative: keys.relative,
            }
        } else if let (Some(pattern), None) = (&host.cgroup_pattern, &keys.dir) {
            let base = pattern.replace("%n", name).trim_matches('/').to_string();
            CgroupPlan {
                monitor: group(below(&base, "monitor".into()), false),
                payload: group(below(&base, "payload".into()), false),
                pivot: pivot_below(""),
                relative: keys.relative,
            }
        } else {
            let dir = keys.dir.as_deref().unwrap_or("");
            CgroupPlan {
                monitor: group(below(dir, format!("lxc.monitor.{name}")), false),
                payload: group(below(dir, format!("lxc.payload.{name}")), false),
                pivot: pivot_below(dir),
                relative: keys.relative,
            }
        };
        plan.payload.inner.clone_from(&keys.dir_container_inner);
        if let Some(pivot) = &keys.dir_monitor_pivot {
            plan.pivot = pivot_below(pivot);
        }
        Ok(plan)
    }
}
