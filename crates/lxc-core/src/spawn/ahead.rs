//! What of a container is made ahead: its network namespace, for which the kernel takes as long as for the rest of
//! a new process, and its /dev. The process that has made the monitor has nothing else left to do, and makes them
//! while that prepares the child. Whoever finds nothing made makes it itself.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lxc_config::{HookType, NamespaceKind};
use lxc_sys::{process, socket};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::mount::OpenTreeFlags;

use super::channel::{self, Channel, Message, Role};
use super::terminals::Terminals;
use crate::error::{Doing, Result};
use crate::mount::{dev, pivot};
use crate::plan::{MountPlan, Plan, namespaces};
use crate::rootfs::Root;

/// How long something is waited for: a hundred times what it takes.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// The end that makes things.
#[derive(Debug)]
pub struct Maker(Channel);

/// The end that takes them, in their order.
#[derive(Debug)]
pub struct Ahead(Channel);

/// A /dev that is attached nowhere yet, with all that is in it.
#[derive(Debug)]
pub struct Dev {
    /// The tmpfs with what is mounted on it.
    pub tree: OwnedFd,
    /// The terminals that it shows.
    pub terminals: Terminals,
}

/// A container with mapped ids makes its network namespace itself, so that its user namespace owns it.
fn makes_network(plan: &Plan) -> bool {
    !plan.identity.is_mapped() && plan.namespaces.has(NamespaceKind::Net)
}

/// Hooks and mount entries that have a say in /dev find it as it grows. One message carries all terminals.
fn makes_dev(plan: &Plan) -> bool {
    let own = plan.rootfs.is_some() && plan.namespaces.has(NamespaceKind::Mnt) && !plan.identity.is_mapped();
    let has_a_say = |entry: &MountPlan| match entry.target.strip_prefix("dev") {
        Ok(below) => {
            below.components().next().is_none_or(|name| dev::makes(name.as_os_str()))
                || plan.tty_dir().is_some_and(|dir| below.starts_with(dir))
        }
        Err(_) => false,
    };
    own && plan.values.autodev
        && !plan.console_is_hosts()
        && 2 + 2 * (1 + plan.values.tty_max as usize) <= socket::MAX_FDS
        && [HookType::Mount, HookType::Autodev].iter().all(|&hook| plan.hooks(hook).is_empty())
        && !plan.mounts.iter().any(has_a_say)
}

/// Both ends, where the plan has use for them.
pub fn pair(plan: &Plan) -> Option<(Maker, Ahead)> {
    if !makes_network(plan) && !makes_dev(plan) {
        return None;
    }
    let (a, b) = channel::pair().ok()?;
    Some((Maker(a), Ahead(b)))
}

impl Maker {
    /// Moves the calling process into new namespaces, makes things and sends them. A failure ends the connection.
    pub fn make(self, plan: &Plan) {
        let network = if makes_network(plan) { self.make_network() } else { Ok(()) };
        let made = network.and_then(|()| if makes_dev(plan) { self.make_dev(plan) } else { Ok(()) });
        if let Err(e) = made {
            log::debug!("make things ahead: {e}");
        }
    }

    fn make_network(&self) -> Result<()> {
        process::unshare(namespaces::flag(NamespaceKind::Net)).doing(|| "unshare the network namespace")?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let namespace = rustix::fs::open("/proc/self/ns/net", flags, Mode::empty())
            .doing(|| "open the network namespace")?;
        self.0.send_descriptors(&[(Role::NetNamespace, namespace.as_fd())])
    }

    fn make_dev(&self, plan: &Plan) -> Result<()> {
        let Some(rootfs) = &plan.rootfs else { return Ok(()) };
        process::unshare(namespaces::flag(NamespaceKind::Mnt)).doing(|| "unshare the mount namespace")?;
        pivot::isolate()?;
        rustix::process::umask(Mode::empty());
        let (attached, devpts) =
            dev::make_on(&rootfs.mount, plan.values.autodev_tmpfs_size, plan.devpts_max())?;
        let mut terminals = Terminals::open(plan, devpts)?;
        terminals.bind(plan, &attached)?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE
            | OpenTreeFlags::AT_EMPTY_PATH;
        let tree = rustix::mount::open_tree(attached.fd(), "", flags).doing(|| "clone the mount of /dev")?;
        let tree = Root::of(tree, "/dev");
        terminals.reopen_in(&tree)?;
        let mut list = vec![(Role::Dev, tree.fd())];
        list.extend(terminals.devpts.iter().map(|fd| (Role::Devpts, fd.as_fd())));
        list.extend(channel::of_terminals(terminals.console.as_ref(), &terminals.ttys));
        self.0.send_descriptors(&list)
    }
}

impl Ahead {
    /// Its descriptor, which a daemon must not close.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.fd()
    }

    /// Waits for the network namespace. Nothing, when it could not be made, or whoever makes it has been stopped.
    pub fn take_network(&self) -> Option<OwnedFd> {
        match self.receive()?.pop() {
            Some((Role::NetNamespace, namespace)) => Some(namespace),
            _ => None,
        }
    }

    /// Waits for the /dev of the plan, likewise.
    pub fn take_dev(self, plan: &Plan) -> Option<Dev> {
        if !makes_dev(plan) {
            return None;
        }
        let mut list = self.receive()?.into_iter();
        let mut next = |role| list.next().filter(|(r, _)| *r == role).map(|(_, fd)| fd);
        let (tree, devpts) = (next(Role::Dev)?, Some(next(Role::Devpts)?));
        let (console, ttys) = channel::to_terminals(list).ok()?;
        Some(Dev { tree, terminals: Terminals { devpts, console, ttys } })
    }

    fn receive(&self) -> Option<Vec<(Role, OwnedFd)>> {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        if rustix::event::poll(&mut fds, Some(&PATIENCE)) == Ok(0) {
            return None;
        }
        match self.0.receive() {
            Ok(Some(Message::Descriptors(list))) => Some(list),
            _ => None,
        }
    }
}
