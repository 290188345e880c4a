//! A network namespace made ahead. The kernel takes as long for one as for the rest of a new container's
//! process, so the process that has made the monitor, which has nothing else left to do, makes it while that
//! prepares the child. Whoever finds none makes its own.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lxc_config::NamespaceKind;
use lxc_sys::{process, socket};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::net::{RecvFlags, SocketType};

use crate::plan::{Plan, namespaces};

/// How long a namespace is waited for: a hundred times what it takes.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// The end that makes the namespace.
#[derive(Debug)]
pub struct Maker(OwnedFd);

/// The end that takes it.
#[derive(Debug)]
pub struct Ahead(OwnedFd);

/// Both ends, where the plan has use for them: a container in another user namespace makes its network namespace
/// itself, so that this one owns it.
pub fn pair(plan: &Plan) -> Option<(Maker, Ahead)> {
    let shares_user = plan.namespaces.share.iter().any(|(kind, _)| *kind == NamespaceKind::User);
    if plan.identity.is_mapped() || shares_user || !plan.namespaces.has(NamespaceKind::Net) {
        return None;
    }
    let (a, b) = socket::pair(SocketType::SEQPACKET).ok()?;
    Some((Maker(a), Ahead(b)))
}

impl Maker {
    /// Moves the calling process into a new network namespace and sends that. A failure ends the connection.
    pub fn make(self) {
        let made = process::unshare(namespaces::flag(NamespaceKind::Net)).and_then(|()| {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let namespace = rustix::fs::open("/proc/self/ns/net", flags, Mode::empty())?;
            socket::send(self.0.as_fd(), b"N", &[namespace.as_fd()], false)
        });
        if let Err(e) = made {
            log::debug!("make a network namespace ahead: {e}");
        }
    }
}

impl Ahead {
    /// Its descriptor, which a daemon must not close.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Waits for the namespace. Nothing, when it could not be made, or whoever makes it has been stopped.
    pub fn take(self) -> Option<OwnedFd> {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        if rustix::event::poll(&mut fds, Some(&PATIENCE)) != Ok(1) {
            return None;
        }
        let message = socket::receive(self.0.as_fd(), &mut [0; 1], RecvFlags::empty()).ok()?;
        message.fds.into_iter().next()
    }
}
