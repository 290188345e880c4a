//! Control groups: finding the host's hierarchies, placing the monitor and the container in them,
//! limits, and taking it all away again.
//!
//! Nothing here migrates a process by `cgroup.procs` unless there is no other way: that takes the
//! kernel's global thread-group lock, which costs an RCU grace period (about 9 ms) whenever nobody
//! used it lately. A child is born in its cgroup v2 by clone3, and a single-threaded process that
//! writes `0` to a v1 `tasks` file moves itself without that lock.

pub mod attach;
pub mod devices;
pub mod freezer;
pub mod group;
pub mod items;
pub mod layout;
pub mod scope;

pub use group::{Group, GroupSet};
pub use layout::{Hierarchy, Layout, Version};
