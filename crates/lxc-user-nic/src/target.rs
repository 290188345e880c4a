//! The network namespace that gets a device: one that the caller could change without this program, held by a
//! descriptor, so that it stays the one that was looked at (CVE-2017-5985, CVE-2018-6556).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lxc_netlink::Netlink;
use lxc_sys::namespace;
use rustix::fs::{Mode, OFlags};

use crate::Result;
use crate::rights::User;

/// f_type of files of namespaces (linux/magic.h).
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// A network namespace of the caller's.
#[derive(Debug)]
pub struct Target(OwnedFd);

impl Target {
    /// That of a process.
    pub fn of_process(user: &User, pid: &str) -> Result<Target> {
        // No other text gets into a path.
        let pid: u32 = pid.parse().map_err(|_| format!("{pid}: not a process id"))?;
        Target::of_path(user, &format!("/proc/{pid}/ns/net"))
    }

    /// That of a file. Whatever is wrong with it, the answer is the same: nobody learns by it which files there are
    /// (CVE-2022-47952). It is opened with the caller's rights, who can so try for themselves.
    pub fn of_path(user: &User, path: &str) -> Result<Target> {
        const REFUSED: &str = "the network namespace cannot be opened, is none, or is not the caller's";
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let opened = user.act(|| rustix::fs::open(path, flags, Mode::empty()))?;
        let target = opened.ok().filter(|fd| is_network(fd) && belongs_to(fd.as_fd(), user.uid.as_raw()));
        target.map(Target).ok_or_else(|| REFUSED.to_string())
    }

    /// Its descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Whether there is a device of a name.
    pub fn has(&self, name: Option<&str>) -> bool {
        let socket = name.and_then(|name| Some((Netlink::open_in(self.fd()).ok()?, name)));
        socket.is_some_and(|(mut socket, name)| socket.index_of(name).is_ok())
    }

    /// The name of a device.
    pub fn name_of(&self, index: u32) -> Result<String> {
        let what = |e| format!("look for the device inside: {e}");
        let mut socket = Netlink::open_in(self.fd()).map_err(what)?;
        let devices = socket.devices().map_err(what)?;
        let device = devices.into_iter().find(|d| d.index == index);
        device.map(|d| d.name).ok_or_else(|| format!("there is no device {index} inside"))
    }
}

fn is_network(fd: &OwnedFd) -> bool {
    rustix::fs::fstatfs(fd).is_ok_and(|fs| fs.f_type == NSFS_MAGIC)
        && namespace::kind(fd.as_fd()).is_ok_and(|kind| kind == libc::CLONE_NEWNET as u64)
}

/// Whether a namespace is in a user namespace that a user has made, or in one below such: the kernel gives its owner all
/// capabilities there (user_namespaces(7)). Never for namespaces of the user namespace that this process is in.
fn belongs_to(fd: BorrowedFd<'_>, uid: u32) -> bool {
    let own = match rustix::fs::stat("/proc/self/ns/user") {
        Ok(own) => (own.st_dev, own.st_ino),
        Err(_) => return false,
    };
    let mut next = namespace::user_namespace(fd);
    while let Ok(user_namespace) = next {
        match rustix::fs::fstat(&user_namespace) {
            Ok(stat) if (stat.st_dev, stat.st_ino) != own => {}
            _ => return false,
        }
        if namespace::owner_uid(user_namespace.as_fd()) == Ok(uid) {
            return true;
        }
        next = namespace::parent(user_namespace.as_fd());
    }
    false
}
