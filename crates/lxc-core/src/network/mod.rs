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
mod veth;

pub(crate) use veth::is_random_name;

use std::os::fd::{BorrowedFd, OwnedFd};

use lxc_sys::Errno;
use lxc_sys::process::setns;

use rustix::fs::{Mode, OFlags};

use crate::error::{Doing, Result};
use crate::netlink::Netlink;

/// A socket of another network namespace.
pub fn open_in(namespace: BorrowedFd<'_>) -> lxc_sys::Result<Netlink> {
    there(namespace, Netlink::open)
}

/// What is opened in another network namespace: a thread goes there.
pub(crate) fn there<T: Send>(
    namespace: BorrowedFd<'_>,
    open: impl FnOnce() -> lxc_sys::Result<T> + Send,
) -> lxc_sys::Result<T> {
    let go = || setns(namespace, libc::CLONE_NEWNET as u64).and_then(|()| open());
    std::thread::scope(|scope| scope.spawn(go).join().unwrap_or(Err(Errno::IO)))
}

/// The calling thread's network namespace.
pub fn own_namespace() -> Result<OwnedFd> {
    let path = "/proc/thread-self/ns/net";
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).doing(|| format!("open {path}"))
}
