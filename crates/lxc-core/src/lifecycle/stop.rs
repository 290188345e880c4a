//! Stopping, shutting down, rebooting.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use lxc_sys::{Errno, signal};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::PidfdFlags;

use crate::container::Container;
use crate::error::{Doing, Error, Kind, Result};
use crate::protocol::client::StateWait;
use crate::protocol::wire::StateMask;
use crate::state::State;

/// How long to wait: not at all, some time, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Only send the signal.
    None,
    /// At most this long.
    Limited(Duration),
    /// As long as it takes.
    Unlimited,
}

impl Patience {
    /// From a number of seconds as commands take it: -1 is for ever.
    pub fn from_seconds(seconds: i64) -> Patience {
        match seconds {
            ..0 => Patience::Unlimited,
            0 => Patience::None,
            n => Patience::Limited(Duration::from_secs(n.unsigned_abs())),
        }
    }

    fn duration(self) -> Option<Duration> {
        match self {
            Patience::Limited(d) => Some(d),
            _ => None,
        }
    }
}

fn mask(states: &[(State, i32)]) -> StateMask {
    let mut mask = StateMask::default();
    for (state, value) in states {
        mask[*state as usize] = *value;
    }
    mask
}

impl Container {
    /// Kills the container and waits until all of it is gone. One that does not run is fine.
    pub fn stop(&self) -> Result<()> {
        self.client().stop()
    }

    /// A pidfd of init: from the monitor, or of its pid where that is older than pidfds.
    pub fn init_pidfd(&self) -> Result<OwnedFd> {
        let client = self.client();
        match client.init_pidfd() {
            Ok(fd) => Ok(fd),
            Err(e) if matches!(e.kind(), Kind::NotRunning | Kind::Denied) => Err(e),
            Err(_) => rustix::process::pidfd_open(client.init_pid()?, PidfdFlags::empty())
                .doing(|| "open a pidfd of init"),
        }
    }

    /// Asks init to shut down and waits for the end.
    ///
    /// # Errors
    /// [`Kind::TimedOut`] when it did not end in time; it may still.
    pub fn shutdown(&self, patience: Patience) -> Result<()> {
        let client = self.client();
        let pidfd = match self.init_pidfd() {
            Err(e) if e.kind() == Kind::NotRunning => return Ok(()),
            result => result?,
        };
        let number = match self.config.values.signals.halt {
            0 => default_halt_signal(&pidfd),
            configured => configured,
        };
        // Registered before the signal, so that the end cannot be missed.
        let wait = match patience {
            Patience::None => None,
            _ => Some(client.wait_for(&mask(&[(State::Stopped, 1)]))?),
        };
        signal::send_to_pidfd(pidfd.as_fd(), number).doing(|| format!("send signal {number} to init"))?;
        let Some(wait) = wait else { return Ok(()) };
        let limit = patience.duration().and_then(|d| Timespec::try_from(d).ok());
        let ready = rustix::io::retry_on_intr(|| {
            rustix::event::poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], limit.as_ref())
        })
        .doing(|| "wait for init")?;
        if ready == 0 {
            return Err(Error::new(Kind::TimedOut, format!("{} did not shut down in time", self.name())));
        }
        if let StateWait::Later(subscription) = wait {
            // init is gone: its monitor cleans up and then hangs up.
            subscription.next(None)?;
        }
        Ok(())
    }

    /// Asks init to reboot and waits until the container runs again.
    pub fn reboot(&self, patience: Patience) -> Result<()> {
        let pidfd = self.init_pidfd()?;
        let number = match self.config.values.signals.reboot {
            0 => libc::SIGINT,
            configured => configured,
        };
        let wait = match patience {
            Patience::None => None,
            // 2: not the RUNNING of now, the next one.
            _ => Some(self.client().wait_for(&mask(&[(State::Running, 2)]))?),
        };
        signal::send_to_pidfd(pidfd.as_fd(), number).doing(|| format!("send signal {number} to init"))?;
        match wait {
            Some(StateWait::Later(subscription)) => match subscription.next(patience.duration())? {
                Some(State::Running) => Ok(()),
                _ => Err(Error::new(Kind::Failed, format!("{} did not come back", self.name()))),
            },
            _ => Ok(()),
        }
    }
}

/// systemd blocks SIGRTMIN+3 to take it for a request to halt; other inits know SIGPWR.
fn default_halt_signal(pidfd: &OwnedFd) -> i32 {
    let (realtime, _) = signal::realtime_range();
    let wanted = realtime + 3;
    let blocks = || -> Option<bool> {
        let pid = pid_of(pidfd).ok()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix("SigBlk:"))?;
        let mask = u64::from_str_radix(line.trim(), 16).ok()?;
        Some(mask >> (wanted - 1) & 1 == 1)
    };
    if blocks() == Some(true) { wanted } else { libc::SIGPWR }
}

/// The pid behind a pidfd, in the pid namespace of the mounted /proc.
pub fn pid_of(pidfd: &OwnedFd) -> Result<i32> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let text = crate::files::read_text(&path).doing(|| format!("read {path}"))?;
    let pid = text.lines().find_map(|l| l.strip_prefix("Pid:")).and_then(|p| p.trim().parse().ok());
    match pid {
        Some(pid) if pid > 0 => Ok(pid),
        _ => Err(Error::os("find init's pid", Errno::SRCH).with_kind(Kind::NotRunning)),
    }
}
