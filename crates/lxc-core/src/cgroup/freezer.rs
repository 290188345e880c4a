//! Freezing a whole cgroup.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use lxc_sys::Errno;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};

use super::layout::{read_at, write_at};
use crate::error::{Doing, Error, Kind, Result};

/// Freezes or thaws a v2 cgroup and waits until the kernel reports it. A `timeout` of `None` waits
/// for ever, zero does not wait.
pub fn set_frozen_v2(dir: BorrowedFd<'_>, frozen: bool, timeout: Option<Duration>) -> Result<()> {
    let what = if frozen { "freeze" } else { "thaw" };
    let events = rustix::fs::openat(dir, "cgroup.events", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .doing(|| format!("{what}: open cgroup.events"))?;
    write_at(dir, "cgroup.freeze", if frozen { "1" } else { "0" })
        .doing(|| format!("{what}: write cgroup.freeze"))?;
    if timeout == Some(Duration::ZERO) {
        return Ok(());
    }
    let deadline = timeout.map(|t| Instant::now() + t);
    loop {
        let mut text = [0; 256];
        let n = rustix::io::pread(&events, &mut text[..], 0).doing(|| "read cgroup.events")?;
        let wanted = if frozen { "frozen 1" } else { "frozen 0" };
        if String::from_utf8_lossy(&text[..n]).lines().any(|l| l == wanted) {
            return Ok(());
        }
        let left = match deadline {
            Some(d) => Some(
                d.checked_duration_since(Instant::now())
                    .ok_or_else(|| Error::new(Kind::TimedOut, format!("{what}: time ran out")))?,
            ),
            None => None,
        };
        let left = left.and_then(|l| Timespec::try_from(l).ok());
        match rustix::event::poll(&mut [PollFd::new(&events, PollFlags::PRI)], left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(Error::os("wait for cgroup.events", e)),
        }
    }
}

/// Whether a v2 cgroup is frozen in fact.
pub fn is_frozen_v2(dir: BorrowedFd<'_>) -> bool {
    read_at(dir, "cgroup.events").is_ok_and(|t| t.lines().any(|l| l == "frozen 1"))
}

/// Freezes or thaws a cgroup of the v1 freezer. While processes stop, the state reads FREEZING; it
/// is asked again with growing pauses, since v1 gives no notice.
pub fn set_frozen_v1(dir: BorrowedFd<'_>, frozen: bool, timeout: Option<Duration>) -> Result<()> {
    let wanted = if frozen { "FROZEN" } else { "THAWED" };
    let deadline = timeout.map(|t| Instant::now() + t);
    let mut pause = Duration::from_micros(100);
    loop {
        write_at(dir, "freezer.state", wanted).doing(|| format!("write {wanted} to freezer.state"))?;
        let state = read_at(dir, "freezer.state").doing(|| "read freezer.state")?;
        if state.trim() == wanted {
            return Ok(());
        }
        if deadline.is_some_and(|d| Instant::now() >= d) {
            return Err(Error::new(Kind::TimedOut, format!("freezer.state is {} still", state.trim())));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Whether a v1 freezer cgroup is frozen in fact.
pub fn is_frozen_v1(dir: BorrowedFd<'_>) -> bool {
    read_at(dir.as_fd(), "freezer.state").is_ok_and(|t| t.trim() == "FROZEN")
}
