//! A command in new namespaces, without a container around it: lxc-unshare and lxc-usernsexec.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use lxc_config::{IdKind, IdMap, NamespaceKind};
use lxc_sys::clone::{Cloned, SingleThreaded, clone3, exit_now};
use lxc_sys::{Errno, socket};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::net::{RecvFlags, SocketType};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::error::{Doing, Error, Kind, Result};
use crate::monitor::Exit;
use crate::mount::pivot;
use crate::network::radio::move_device;
use crate::plan::Identity;
use crate::plan::namespaces::flag;
use crate::spawn::finish;
use crate::spawn::id_maps::write_maps_of;
use lxc_netlink::{Netlink, Radios};

/// What to run, and in what.
#[derive(Debug, Clone, Default)]
pub struct Unshare {
    /// New namespaces, a mask of CLONE_NEW*.
    pub namespaces: u64,
    /// The map of a new user namespace. May be empty: then all ids are the overflow ids.
    pub map: Vec<IdMap>,
    /// The user to become, inside.
    pub uid: Option<u32>,
    /// The group to become, inside; supplementary groups are dropped with it.
    pub gid: Option<u32>,
    /// The host name, in a new UTS namespace.
    pub hostname: Option<String>,
    /// Interfaces of the host that move into a new network namespace.
    pub interfaces: Vec<String>,
    /// In a new mount namespace: /proc, /dev/shm and /dev/mqueue of the new namespaces.
    pub remount: bool,
    /// Program and arguments, and its environment.
    pub command: Vec<CString>,
    /// The environment of the command.
    pub environment: Vec<CString>,
}

/// The command, which runs.
#[derive(Debug)]
pub struct Unshared {
    /// It, in the caller's pid namespace.
    pub pid: Pid,
    pidfd: OwnedFd,
    line: OwnedFd,
}

impl Unshare {
    /// Makes the namespaces and starts the command there.
    ///
    /// # Errors
    /// What could not be made or written. The command has not begun then.
    pub fn start(&self) -> Result<Unshared> {
        // The kernel takes it as no change at all.
        if self.uid == Some(u32::MAX) || self.gid == Some(u32::MAX) {
            return Err(Error::invalid(format!("{} is no id", u32::MAX)));
        }
        let what = || "make the namespaces";
        let (ours, theirs) = socket::pair(SocketType::SEQPACKET).doing(what)?;
        match SingleThreaded::check().and_then(|alone| clone3(alone, self.namespaces, None)).doing(what)? {
            Cloned::Child(_) => {
                drop(ours);
                exit_now(self.child(&theirs))
            }
            Cloned::Parent(pid, pidfd) => {
                drop(theirs);
                let unshared = Unshared { pid, pidfd, line: ours };
                // Without a word the child ends.
                if let Err(e) = self.prepare(&unshared) {
                    drop(unshared.line);
                    let _ = waitid(WaitId::PidFd(unshared.pidfd.as_fd()), WaitIdOptions::EXITED);
                    return Err(e);
                }
                Ok(unshared)
            }
        }
    }

    /// What only somebody outside can do for the child.
    fn prepare(&self, unshared: &Unshared) -> Result<()> {
        if !self.map.is_empty() {
            let identity = Identity { map: self.map.clone(), ..Identity::default() };
            write_maps_of(unshared.pid, &identity)?;
        }
        for name in &self.interfaces {
            let path = format!("/proc/{}/ns/net", unshared.pid.as_raw_pid());
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let namespace =
                rustix::fs::open(&*path, flags, Mode::empty()).doing(|| format!("open {path}"))?;
            let what = || format!("move interface {name}");
            let mut netlink = Netlink::open().doing(what)?;
            let mut inside = Netlink::open_in(namespace.as_fd()).doing(what)?;
            let device = netlink.device(name).doing(what)?;
            let mut radios = Radios::open().ok();
            let from = (&mut netlink, radios.as_mut());
            move_device(&device, from, (&mut inside, namespace.as_fd()), name).doing(what)?;
        }
        socket::send(unshared.line.as_fd(), b"G", &[], false).doing(|| "tell the command to begin").map(drop)
    }

    /// In the new namespaces. Returns the exit status where the command could not be executed.
    fn child(&self, line: &OwnedFd) -> i32 {
        match socket::receive(line.as_fd(), &mut [0; 1], RecvFlags::empty()) {
            Ok(message) if message.len == 1 => {}
            _ => return 1,
        }
        let error = match self.settle() {
            Ok(()) => finish::run(&self.command, &self.environment, None),
            Err(e) => e,
        };
        let _ = socket::send(line.as_fd(), &error.to_bytes(), &[], false);
        1
    }

    fn settle(&self) -> Result<()> {
        let new = |kind| self.namespaces & flag(kind) != 0;
        if new(NamespaceKind::Mnt) {
            pivot::isolate()?;
        }
        if let Some(name) = &self.hostname {
            rustix::system::sethostname(name.as_bytes()).doing(|| format!("set the host name {name}"))?;
        }
        // While there are the privileges: a new user may have none.
        if self.remount {
            self.remount_all()?;
        }
        if let Some(gid) = self.gid {
            finish::set_ids(self.uid.unwrap_or(0), gid, Some(&[]))?;
        } else if let Some(uid) = self.uid {
            let uid = rustix::process::Uid::from_raw(uid);
            rustix::thread::set_thread_res_uid(uid, uid, uid)
                .doing(|| format!("switch to user {}", uid.as_raw()))?;
        }
        Ok(())
    }

    fn remount_all(&self) -> Result<()> {
        let safe = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        for (kind, target, needed) in
            [("proc", "/proc", true), ("tmpfs", "/dev/shm", true), ("mqueue", "/dev/mqueue", false)]
        {
            // What is mounted there is of the host's namespaces.
            let _ = rustix::mount::unmount(target, UnmountFlags::DETACH);
            let what = || format!("mount {kind} on {target}");
            match rustix::mount::mount(kind, target, kind, safe, None) {
                // A host without it.
                Err(Errno::NOENT) => {}
                Err(e) if !needed => log::warn!("{}", Error::os(what(), e)),
                result => result.doing(what)?,
            }
        }
        Ok(())
    }
}

impl Unshared {
    /// Waits for the end of the command.
    ///
    /// # Errors
    /// It could not be executed.
    pub fn wait(self) -> Result<Exit> {
        let status =
            rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED));
        let status = status.doing(|| "wait for the command")?;
        // It was closed by the exec, unless there was none.
        let mut buffer = [0; 4096];
        if let Ok(message) = socket::receive(self.line.as_fd(), &mut buffer, RecvFlags::DONTWAIT)
            && message.len > 0
        {
            return Err(Error::from_bytes(&buffer[..message.len]));
        }
        let status = status.ok_or_else(|| Error::new(Kind::Failed, "the command is not there"))?;
        Ok(match status.exit_status() {
            Some(status) => Exit::Status(status),
            None => Exit::Signal(status.terminating_signal().unwrap_or(0)),
        })
    }
}

/// A line of a map as lxc-usernsexec takes it: `u`, `g`, or `b` for both, then `:INSIDE:OUTSIDE:COUNT`.
pub fn parse_map(text: &str) -> Option<Vec<IdMap>> {
    let mut fields = text.split(':');
    let kinds: &[IdKind] = match fields.next()? {
        "u" => &[IdKind::Uid],
        "g" => &[IdKind::Gid],
        "b" => &[IdKind::Uid, IdKind::Gid],
        _ => return None,
    };
    let mut number = || fields.next()?.trim().parse().ok();
    let (ns_id, host_id, count) = (number()?, number()?, number()?);
    let line = |&kind: &IdKind| IdMap { kind, ns_id, host_id, count };
    fields.next().is_none().then(|| kinds.iter().map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps() {
        let lines = |text| {
            parse_map(text).map(|m| m.iter().map(|m| (m.ns_id, m.host_id, m.count)).collect::<Vec<_>>())
        };
        assert_eq!(lines("b:0:100000:65536"), Some(vec![(0, 100_000, 65536); 2]));
        assert_eq!(lines("u:1:2:3"), Some(vec![(1, 2, 3)]));
        for bad in ["", "u", "x:0:1:2", "u:0:1", "u:0:1:2:3", "u:a:1:2", "u:-1:1:2"] {
            assert_eq!(lines(bad), None, "{bad}");
        }
    }
}
