//! Devices and addresses of running containers.

use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use lxc_sys::process::setns;
use rustix::process::Pid;

use crate::error::{Doing, Error, Kind, Result};
use lxc_netlink::{Device, DeviceAddress, Netlink};

/// A device of a container and its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The device.
    pub device: Device,
    /// Its addresses, in the kernel's order.
    pub addresses: Vec<DeviceAddress>,
}

impl Interface {
    /// Addresses by which others reach the container: none of the loopback device, none of the link alone.
    pub fn reachable(&self) -> impl Iterator<Item = IpAddr> {
        let own = self.addresses.iter().filter(|a| !self.device.loopback && !a.link_local);
        own.map(|a| a.address)
    }
}

/// Devices of the network namespace that a process is in, in the kernel's order.
pub fn interfaces(init: Pid) -> Result<Vec<Interface>> {
    let visitor = Visitor::begin();
    visitor.visit(init);
    visitor.finish().pop().unwrap_or_else(|| Err(ended_early()))
}

/// A thread that visits network namespaces one after the other, so that the others stay in their own.
#[derive(Debug)]
pub struct Visitor {
    wanted: Sender<Pid>,
    thread: JoinHandle<Vec<Result<Vec<Interface>>>>,
}

impl Visitor {
    /// Begins, with nothing to visit.
    pub fn begin() -> Visitor {
        let (wanted, pids) = channel();
        let thread = std::thread::spawn(move || pids.into_iter().map(visit_one).collect());
        Visitor { wanted, thread }
    }

    /// The namespace of this process is visited as well. What comes of it [`Visitor::finish`] says.
    pub fn visit(&self, init: Pid) {
        // Nobody listens when the thread is dead, which its end says.
        let _ = self.wanted.send(init);
    }

    /// Waits for all answers, in the order of the questions. None when the thread could not go on.
    pub fn finish(self) -> Vec<Result<Vec<Interface>>> {
        drop(self.wanted);
        self.thread.join().unwrap_or_default()
    }
}

fn ended_early() -> Error {
    Error::new(Kind::Failed, "the query of interfaces ended early")
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
    let mut addresses = netlink.addresses()?;
    let interface = |device: Device| {
        let own = addresses.extract_if(.., |a| a.index == device.index).collect();
        Interface { device, addresses: own }
    };
    Ok(netlink.devices()?.into_iter().map(interface).collect())
}
