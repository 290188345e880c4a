//! How a monitor gets out of its cgroups, which can be removed then.
//!
//! A process that moves itself from one cgroup v2 to another waits for an RCU grace period, 10 ms and more. One
//! that is born in the other does not: a monitor in the background goes on as its own child, and the parent ends.

use std::os::fd::{AsFd, BorrowedFd};

use lxc_sys::clone::{Cloned, SingleThreaded, clone3, exit_now};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, getpid, pidfd_open};

use super::daemonize::write_pidfile;
use crate::cgroup::{GroupSet, Layout, group};
use crate::plan::Plan;

/// Removes cgroups that the calling monitor is in. It may be another process when this returns.
pub(super) fn leave_and_remove(layout: &Layout, groups: &GroupSet, plan: &Plan) {
    let born = plan.options.daemonize
        && group::open_v2(layout, groups, &plan.cgroups.pivot).is_some_and(|dir| go_on_in(dir.as_fd(), plan));
    group::leave(layout, groups, &plan.cgroups.pivot, !born);
    groups.remove(layout);
}

/// Returns in a child that was born in `cgroup`, when the caller has ended. False: in the caller.
fn go_on_in(cgroup: BorrowedFd<'_>, plan: &Plan) -> bool {
    let made = SingleThreaded::check().and_then(|alone| {
        let parent = pidfd_open(getpid(), PidfdFlags::empty())?;
        Ok((parent, clone3(alone, 0, Some(cgroup))?))
    });
    match made {
        Ok((_, Cloned::Parent(successor, _))) => {
            // Before the end of this process is seen: service managers read it then.
            if let Some(path) = &plan.options.pidfile
                && let Err(e) = write_pidfile(path, successor)
            {
                log::warn!("{e}");
            }
            exit_now(0)
        }
        Ok((parent, Cloned::Child(_))) => {
            // Its end empties the old cgroups.
            while poll(&mut [PollFd::new(&parent, PollFlags::IN)], None) == Err(Errno::INTR) {}
            true
        }
        Err(e) => {
            log::debug!("go on in another process: {e}");
            false
        }
    }
}
