//! Work in a process of its own: in a mount namespace, and, where ids are mapped, as the container's root.

use std::os::fd::AsFd;

use lxc_sys::clone::{Cloned, SingleThreaded, clone3, exit_now};
use rustix::process::{Signal, WaitId, WaitIdOptions};

use super::channel::{self, Message};
use super::finish;
use super::id_maps::write_maps_of;
use crate::error::{Doing, Error, Kind, Result};
use crate::mount::pivot;
use crate::plan::Identity;

/// Runs `work` in a child process with a mount namespace of its own; with `identity` in a user namespace too, as
/// its root.
///
/// # Errors
/// Those of `work`, and that the process could not be made or died.
pub fn isolated(identity: Option<&Identity>, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let (ours, theirs) = channel::pair()?;
    let mut flags = libc::CLONE_NEWNS as u64;
    if identity.is_some() {
        flags |= libc::CLONE_NEWUSER as u64;
    }
    let parent = Some(rustix::process::getpid());
    let cloned = SingleThreaded::check()
        .and_then(|alone| clone3(alone, flags, None))
        .doing(|| "make a process of its own")?;
    let (pid, pidfd) = match cloned {
        Cloned::Child(_) => {
            drop(ours);
            let run = || -> Result<()> {
                if let Some(identity) = identity {
                    // Nobody is there to write the maps otherwise.
                    let Some(Message::Go(_)) = theirs.receive()? else {
                        return Err(Error::new(Kind::Failed, "the caller is gone"));
                    };
                    finish::set_ids(identity.setup_uid, identity.setup_gid, Some(&[]))?;
                }
                // Not before: a change of ids clears it. Whoever waits for the work may be gone by now.
                rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
                    .doing(|| "be killed with the caller")?;
                if rustix::process::getppid() != parent {
                    return Err(Error::new(Kind::Failed, "the caller is gone"));
                }
                pivot::isolate()?;
                work()
            };
            exit_now(match run() {
                Ok(()) => 0,
                Err(e) => {
                    let _ = theirs.fail(&e);
                    1
                }
            })
        }
        Cloned::Parent(pid, pidfd) => (pid, pidfd),
    };
    drop(theirs);
    let mapped = match identity {
        Some(identity) => write_maps_of(pid, identity).and_then(|()| ours.go(0)),
        None => Ok(()),
    };
    let said = match mapped {
        Ok(()) => ours.receive(),
        Err(e) => {
            let _ = lxc_sys::signal::send(pid, libc::SIGKILL);
            Err(e)
        }
    };
    let status = rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)
        .doing(|| "wait for a process of its own")?;
    match said? {
        Some(Message::Failed(e)) => Err(e),
        _ if status.as_ref().and_then(|s| s.exit_status()) == Some(0) => Ok(()),
        _ => Err(Error::new(Kind::Failed, "a process of its own died")),
    }
}

/// Runs `work`, which changes files with a container's ids. An ordinary user may do so only in a user namespace that
/// maps both these and the user's own; anybody else does it here.
pub fn with_ids_of(identity: &Identity, work: impl FnOnce() -> Result<()>) -> Result<()> {
    if !identity.is_mapped() || rustix::process::geteuid().is_root() {
        return work();
    }
    isolated(Some(&identity.with_caller()), work)
}
