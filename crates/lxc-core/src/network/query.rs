//! Devices and addresses of running containers.

use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use lxc_netlink::{Device, DeviceAddress, Netlink};
use lxc_sys::clone::{Fork, exit_now, fork};
use lxc_sys::process::setns;
use lxc_sys::{Errno, socket};
use rustix::fs::{Mode, OFlags};
use rustix::net::{RecvFlags, SocketType};
use rustix::process::{Pid, WaitOptions};

use crate::error::{Doing, Error, Kind, Result};

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
    match enter(init) {
        Ok(()) => list_here().doing(|| "list interfaces"),
        Err(e) if e.errno() == Some(Errno::PERM) => {
            // An ordinary user's own container: the user namespace has to be entered first.
            let socket = socket_of(init).map_err(|_| e)?;
            list(Netlink::of_socket(socket)).doing(|| "list interfaces")
        }
        Err(e) => Err(e),
    }
}

/// A netlink socket made in a container's user and network namespace by a process that goes there.
fn socket_of(init: Pid) -> lxc_sys::Result<OwnedFd> {
    let open = |kind: &str| {
        let path = format!("/proc/{}/ns/{kind}", init.as_raw_pid());
        rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
    };
    let (user, net) = (open("user")?, open("net")?);
    let (ours, theirs) = socket::pair(SocketType::SEQPACKET)?;
    match fork()? {
        // Of a process with threads: nothing here allocates.
        Fork::Child(_) => {
            let made = setns(user.as_fd(), libc::CLONE_NEWUSER as u64)
                .and_then(|()| setns(net.as_fd(), libc::CLONE_NEWNET as u64))
                .and_then(|()| Netlink::raw_socket())
                .and_then(|made| socket::send(theirs.as_fd(), b"S", &[made.as_fd()], false));
            exit_now(i32::from(made.is_err()))
        }
        Fork::Parent(pid) => {
            drop(theirs);
            let received = socket::receive(ours.as_fd(), &mut [0; 1], RecvFlags::empty());
            let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
            received?.fds.pop().ok_or(Errno::PERM)
        }
    }
}

/// The calling thread enters the network namespace of a process.
fn enter(init: Pid) -> Result<()> {
    let path = format!("/proc/{}/ns/net", init.as_raw_pid());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let what = || format!("enter the network namespace {path}");
    let namespace: OwnedFd = rustix::fs::open(Path::new(&path), flags, Mode::empty()).doing(what)?;
    setns(namespace.as_fd(), libc::CLONE_NEWNET as u64).doing(what)
}

/// Devices of the calling thread's network namespace.
pub fn list_here() -> lxc_sys::Result<Vec<Interface>> {
    list(Netlink::open()?)
}

fn list(mut netlink: Netlink) -> lxc_sys::Result<Vec<Interface>> {
    let mut addresses = netlink.addresses()?;
    let interface = |device: Device| {
        let own = addresses.extract_if(.., |a| a.index == device.index).collect();
        Interface { device, addresses: own }
    };
    Ok(netlink.devices()?.into_iter().map(interface).collect())
}
