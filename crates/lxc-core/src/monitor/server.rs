//! Connections of the command socket: a state machine per client, so that a slow, silent or
//! malformed one never holds up the monitor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use lxc_sys::{Errno, socket};
use rustix::net::RecvFlags;

use crate::protocol::wire::{Command, HEADER_LEN, Header, MAX_PAYLOAD, STATE_MESSAGE_LEN, StateMask};

/// Clients served at a time; further ones wait in the backlog.
pub const MAX_CONNECTIONS: usize = 256;
/// Clients without permission at a time: they only wait for their refusal, and take no place from others.
pub const MAX_STRANGERS: usize = 16;
/// How long a client may take to send its request and to take the answer.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Why a connection is kept after its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// Holds a tty, by number.
    Tty(usize),
    /// Holds the console.
    Console,
    /// Waits for states.
    States(StateMask),
    /// Waits for the end.
    Stop,
}

/// A complete request.
#[derive(Debug)]
pub struct Request {
    /// Number of the command; it may be unknown.
    pub command: i32,
    /// Immediate argument.
    pub data: i64,
    /// Payload.
    pub payload: Vec<u8>,
    /// Descriptors, with commands that take some.
    pub fds: Vec<OwnedFd>,
}

/// An answer.
#[derive(Debug, Default)]
pub struct Reply {
    /// `None` closes the connection without a header.
    pub header: Option<(i32, i64)>,
    /// What follows the header.
    pub payload: Vec<u8>,
    /// Descriptors on the header.
    pub fds: Vec<OwnedFd>,
    /// Keep the connection.
    pub keep: Option<Kept>,
}

impl Reply {
    /// Return value alone.
    pub fn ret(ret: i32) -> Reply {
        Reply { header: Some((ret, 0)), ..Reply::default() }
    }

    /// -errno.
    pub fn errno(errno: Errno) -> Reply {
        Reply::ret(-errno.raw_os_error())
    }

    /// Success with an immediate value.
    pub fn value(data: i64) -> Reply {
        Reply { header: Some((0, data)), ..Reply::default() }
    }

    /// Success with data.
    pub fn payload(payload: Vec<u8>) -> Reply {
        Reply { header: Some((0, 0)), payload, ..Reply::default() }
    }

    /// Success with a directory that can be used as a starting point only: our own description holds
    /// a lock that clients have no business with.
    pub fn directory(dir: &OwnedFd) -> Reply {
        match only_path(dir) {
            Ok(fd) => Reply { header: Some((0, 0)), fds: vec![fd], ..Reply::default() },
            Err(e) => Reply::errno(e),
        }
    }

    /// Success with a copy of a descriptor; EBADF without one.
    pub fn fd(fd: Option<BorrowedFd<'_>>) -> Reply {
        match fd.map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, 3)) {
            Some(Ok(copy)) => Reply { header: Some((0, 0)), fds: vec![copy], ..Reply::default() },
            Some(Err(e)) => Reply::errno(e),
            None => Reply::errno(Errno::BADF),
        }
    }
}

/// The same directory as a new O_PATH description.
pub fn only_path(dir: &OwnedFd) -> lxc_sys::Result<OwnedFd> {
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    rustix::fs::openat(dir, ".", flags, rustix::fs::Mode::empty())
}

#[derive(Debug)]
enum Phase {
    Reading,
    Writing,
    Kept(Kept),
}

/// One client.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    phase: Phase,
    input: Vec<u8>,
    fds: Vec<OwnedFd>,
    allowed: Option<bool>,
    output: Vec<u8>,
    keep: Option<Kept>,
    deadline: Instant,
    stranger: bool,
}

/// What to do with a connection after it was looked at.
#[derive(Debug)]
pub enum Step {
    /// Wait for more to read.
    WaitReadable,
    /// Wait until more can be written.
    WaitWritable,
    /// Answer this.
    Answer(Request),
    /// Answer that the client may not.
    Deny,
    /// Close it.
    Close,
}

impl Connection {
    /// A client that was accepted.
    pub fn new(socket: OwnedFd) -> Connection {
        Connection {
            stranger: is_stranger(&socket),
            socket,
            phase: Phase::Reading,
            input: Vec::new(),
            fds: Vec::new(),
            allowed: None,
            output: Vec::new(),
            keep: None,
            deadline: Instant::now() + PATIENCE,
        }
    }

    /// The socket.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// When its time is up; `None` for one that is kept.
    pub fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Kept(_) => None,
            _ => Some(self.deadline),
        }
    }

    /// Whether it will be refused.
    pub fn is_stranger(&self) -> bool {
        self.stranger
    }

    /// What it is kept for.
    pub fn kept(&self) -> Option<&Kept> {
        match &self.phase {
            Phase::Kept(kept) => Some(kept),
            _ => None,
        }
    }

    /// The socket is readable (or at its end).
    pub fn readable(&mut self) -> Step {
        match self.phase {
            Phase::Kept(_) => return self.kept_readable(),
            Phase::Writing => return Step::WaitWritable,
            Phase::Reading => {}
        }
        loop {
            let wanted = match self.wanted() {
                Some(0) => return self.complete(),
                Some(n) => n,
                None => return Step::Close,
            };
            let mut buffer = vec![0; wanted];
            match socket::receive(self.socket.as_fd(), &mut buffer, RecvFlags::DONTWAIT) {
                Ok(message) if message.len == 0 => return Step::Close,
                Ok(message) => {
                    if self.allowed.is_none() {
                        self.allowed = Some(message.credentials.as_ref().is_some_and(may_command));
                    }
                    self.input.extend_from_slice(&buffer[..message.len]);
                    // Others' are closed.
                    if self.takes_descriptor() {
                        self.fds.extend(message.fds.into_iter().next());
                    }
                    if self.input.len() >= HEADER_LEN && self.allowed == Some(false) {
                        return Step::Deny;
                    }
                }
                Err(Errno::AGAIN) => return Step::WaitReadable,
                Err(_) => return Step::Close,
            }
        }
    }

    /// Bytes that are missing to the request; `None` for one that is too large.
    fn wanted(&self) -> Option<usize> {
        let Some(header) = self.header() else { return Some(HEADER_LEN - self.input.len()) };
        let length = usize::try_from(header.datalen).unwrap_or(0);
        if length > MAX_PAYLOAD {
            return None;
        }
        // The listener of a seccomp filter follows as a message of one byte, whatever the length says.
        let length = if self.takes_descriptor() { 1 } else { length };
        Some(HEADER_LEN + length - self.input.len().min(HEADER_LEN + length))
    }

    fn takes_descriptor(&self) -> bool {
        self.header().is_some_and(|h| h.code == Command::SeccompNotifyAddListener as i32)
    }

    fn header(&self) -> Option<Header> {
        self.input.first_chunk::<HEADER_LEN>().map(Header::decode)
    }

    fn complete(&mut self) -> Step {
        match self.header() {
            Some(header) => Step::Answer(Request {
                command: header.code,
                data: header.data,
                payload: self.input.split_off(HEADER_LEN),
                fds: std::mem::take(&mut self.fds),
            }),
            None => Step::Close,
        }
    }

    /// A kept client has nothing more to say: bytes are dropped, the end counts.
    fn kept_readable(&mut self) -> Step {
        let mut buffer = [0; 256];
        for _ in 0..16 {
            match socket::receive(self.socket.as_fd(), &mut buffer, RecvFlags::DONTWAIT) {
                Ok(message) if message.len == 0 => return Step::Close,
                Ok(_) => {}
                Err(Errno::AGAIN) => return Step::WaitReadable,
                Err(_) => return Step::Close,
            }
        }
        Step::Close
    }

    /// Sends an answer as far as it goes at once.
    pub fn answer(&mut self, reply: Reply) -> Step {
        self.keep = reply.keep;
        if let Some((ret, data)) = reply.header {
            let header = Header { code: ret, datalen: reply.payload.len() as i32, data };
            let fds: Vec<BorrowedFd<'_>> = reply.fds.iter().map(AsFd::as_fd).collect();
            if socket::send(self.socket.as_fd(), &header.encode(), &fds, false) != Ok(HEADER_LEN) {
                return Step::Close;
            }
        } else if self.keep.is_none() {
            return Step::Close;
        }
        self.output = reply.payload;
        self.phase = Phase::Writing;
        self.writable()
    }

    /// The socket takes more.
    pub fn writable(&mut self) -> Step {
        while !self.output.is_empty() {
            match rustix::net::send(
                &self.socket,
                &self.output,
                rustix::net::SendFlags::NOSIGNAL | rustix::net::SendFlags::DONTWAIT,
            ) {
                Ok(n) => drop(self.output.drain(..n)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Step::WaitWritable,
                Err(_) => return Step::Close,
            }
        }
        match self.keep.take() {
            Some(kept) => {
                self.phase = Phase::Kept(kept);
                Step::WaitReadable
            }
            None => Step::Close,
        }
    }

    /// Sends a state message; the connection ends with it, whether it arrives or not.
    pub fn send_state(&self, message: &[u8; STATE_MESSAGE_LEN]) {
        let _ = rustix::net::send(
            &self.socket,
            message,
            rustix::net::SendFlags::NOSIGNAL | rustix::net::SendFlags::DONTWAIT,
        );
    }
}

/// Whether whoever connected will be refused, whatever it asks.
fn is_stranger(socket: &OwnedFd) -> bool {
    !rustix::net::sockopt::socket_peercred(socket).is_ok_and(|peer| may_command(&peer))
}

/// Root, or the same user and group as the monitor.
fn may_command(peer: &rustix::net::UCred) -> bool {
    peer.uid.is_root() || (peer.uid == rustix::process::getuid() && peer.gid == rustix::process::getgid())
}
