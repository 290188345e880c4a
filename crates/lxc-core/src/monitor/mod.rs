//! The monitor: the process that supervises one container from its start to its end.
//!
//! It runs in the host's namespaces, single-threaded, and serves everybody by one event loop.

mod confine;
pub mod console;
pub mod daemonize;
pub mod event_loop;
pub mod requests;
pub mod server;
pub mod states;
mod successor;
pub mod supervise;

use std::borrow::Cow;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use lxc_config::Config;
use lxc_sys::socket;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::RecvFlags;

use crate::cgroup::{GroupSet, Layout};
use crate::error::{Error, Kind, Result};
use crate::plan::Plan;
use crate::spawn::ahead::Ahead;

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// init exited.
    Status(i32),
    /// init was killed.
    Signal(i32),
}

impl Exit {
    /// As a shell would say it: 128 and the signal for one that was killed.
    pub fn code(self) -> i32 {
        match self {
            Exit::Status(s) => s,
            Exit::Signal(s) => 128 + s,
        }
    }

    /// As wait(2) would say it.
    pub fn raw(self) -> i32 {
        match self {
            Exit::Status(s) => s << 8,
            Exit::Signal(s) => s,
        }
    }
}

/// What a monitor begins with.
#[derive(Debug)]
pub struct Begin<'a> {
    /// What to start.
    pub plan: Box<Plan>,
    /// The configuration, to answer questions about it.
    pub config: Cow<'a, Config>,
    /// The command socket.
    pub listener: OwnedFd,
    /// The host's cgroups.
    pub layout: Layout,
    /// The monitor's own cgroups; it is in them already.
    pub groups: GroupSet,
    /// The first run's network namespace, which somebody makes meanwhile.
    pub network: Option<Ahead>,
    /// Where to report that init runs, or why not.
    pub report: Option<ReportEnd>,
}

/// The end of the start report that the monitor holds.
#[derive(Debug)]
pub struct ReportEnd(OwnedFd);

/// The end that the caller of a start holds.
#[derive(Debug)]
pub struct ReportReader(OwnedFd);

/// How long a caller may take to let go of its end.
const CALLERS_END: Duration = Duration::from_millis(50);

/// Most bytes of trace records that a report carries.
const MAX_TRACE: usize = 60 * 1024;

/// Makes both ends.
pub fn report_pair() -> Result<(ReportReader, ReportEnd)> {
    use crate::error::Doing;
    let (a, b) = socket::pair(rustix::net::SocketType::SEQPACKET).doing(|| "make the start report")?;
    Ok((ReportReader(a), ReportEnd(b)))
}

impl ReportEnd {
    /// init was executed. Returns when the caller has let go of its end, which a command does by its own end: nobody
    /// waits for what is left to do here, and where processors are few it would be done first.
    pub fn running(self) {
        // The caller may have been killed meanwhile; the container runs all the same.
        if socket::send(self.0.as_fd(), b"R", &[], false).is_ok() {
            let patience = Timespec { tv_sec: 0, tv_nsec: CALLERS_END.subsec_nanos().into() };
            let _ = poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&patience));
        }
    }

    /// The start failed; `trace` is what led to it.
    pub fn failed(self, error: &Error, trace: &[String]) {
        let bytes = [b"F", error.to_bytes().as_slice()].concat();
        let _ = socket::send(self.0.as_fd(), &bytes, &[], false);
        let trace = trace.concat();
        let mut begin = trace.len().saturating_sub(MAX_TRACE);
        while !trace.is_char_boundary(begin) {
            begin += 1;
        }
        let trace = &trace[begin..];
        let _ = socket::send(self.0.as_fd(), trace.as_bytes(), &[], false);
    }

    /// The descriptor, which a daemon must not close.
    pub fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Why a start failed, as its monitor told.
#[derive(Debug)]
pub struct StartFailure {
    /// The cause.
    pub error: Error,
    /// Records of what led to it, as lines of the log.
    pub trace: String,
}

impl ReportReader {
    /// Waits for the report.
    pub fn wait(&self) -> std::result::Result<(), StartFailure> {
        let receive = || {
            let mut buffer = vec![0; 64 * 1024];
            let message = socket::receive(self.0.as_fd(), &mut buffer, RecvFlags::empty())?;
            buffer.truncate(message.len);
            lxc_sys::Result::Ok(buffer)
        };
        // Looked at first: a success needs no room for an error and its trace.
        let mut kind = [0];
        if socket::receive(self.0.as_fd(), &mut kind, RecvFlags::PEEK).is_ok() && kind == *b"R" {
            return Ok(());
        }
        match receive().as_deref() {
            Ok([b'F', error @ ..]) => Err(StartFailure {
                error: Error::from_bytes(error),
                trace: receive().map(|t| String::from_utf8_lossy(&t).into_owned()).unwrap_or_default(),
            }),
            _ => Err(StartFailure {
                error: Error::new(Kind::Failed, "the monitor died while the container was started"),
                trace: String::new(),
            }),
        }
    }
}
