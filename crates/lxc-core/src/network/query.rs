//! Devices and addresses of running containers.

use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use lxc_sys::process::setns;
use rustix::process::Pid;

use crate::error::{Doing, Error, Kind, Result};
use crate::netlink::Netlink;

/// A device of a container and its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Name.
    pub name: String,
    /// Addresses that are not valid on the link alone.
    pub addresses: Vec<IpAddr>,
}

/// Devices of the network namespace that a process is in, in the kernel's order.
pub fn interfaces(init: Pid) -> Result<Vec<Interface>> {
    let mut all = interfaces_of_many(&[init]);
    all.pop().unwrap_or_else(|| Err(Error::new(Kind::Failed, "no answer")))
}

/// The same for many processes: one thread visits all namespaces in turn, so that this process
/// stays in its own.
pub fn interfaces_of_many(inits: &[Pid]) -> Vec<Result<Vec<Interface>>> {
    let visit = || inits.iter().map(|&init| visit_one(init)).collect();
    std::thread::scope(|scope| {
        scope.spawn(visit).join().unwrap_or_else(|_| {
            inits
                .iter()
                .map(|_| Err(Error::new(Kind::Failed, "the query of interfaces ended early")))
                .collect()
        })
    })
}

/// Devices of the network namespace that a process is in. The calling thread stays in that
/// namespace: for programs that have nothing else to do.
pub fn interfaces_and_stay(init: Pid) -> Result<Vec<Interface>> {
    visit_one(init)
}

fn visit_one(init: Pid) -> Result<Vec<Interface>> {
    let path = format!("/proc/{}/ns/net", init.as_raw_pid());
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
    let what = || format!("enter the network namespace {path}");
    let namespace: OwnedFd =
        rustix::fs::open(Path::new(&path), flags, rustix::fs::Mode::empty()).doing(what)?;
    setns(namespace.as_fd(), libc::CLONE_NEWNET as u64).doing(what)?;
    list_here().doing(|| "list interfaces")
}

/// Devices of the calling thread's network namespace.
pub fn list_here() -> lxc_sys::Result<Vec<Interface>> {
    let mut netlink = Netlink::open()?;
    let links = netlink.links()?;
    let addresses = netlink.addresses()?;
    Ok(links
        .into_iter()
        .map(|(index, name)| {
            let own = addresses.iter().filter(|a| a.index == index && !a.link_local);
            Interface { name, addresses: own.map(|a| a.address).collect() }
        })
        .collect())
}
