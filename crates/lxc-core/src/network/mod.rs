//! The container's network: devices made by the monitor through netlink, configured by the child,
//! queried by entering the network namespace in a thread.

pub mod link;
pub(crate) mod openvswitch;
mod phys;
mod proxy;
pub mod query;
pub(crate) mod radio;
pub mod service;
pub mod setup;
mod stacked;
mod user_nic;
mod veth;

pub(crate) use veth::is_random_name;

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};

use crate::error::{Doing, Result};

/// The calling thread's network namespace.
pub fn own_namespace() -> Result<OwnedFd> {
    let path = "/proc/thread-self/ns/net";
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).doing(|| format!("open {path}"))
}
