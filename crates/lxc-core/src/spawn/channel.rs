//! The channel between the monitor and the child that becomes init.
//!
//! A SEQPACKET pair: each message is one datagram, so nothing can be half read. Its end (both ends
//! are close-on-exec) means that the child executed init, or died.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lxc_sys::{Errno, socket};
use rustix::net::{RecvFlags, SocketType};

use crate::error::{Doing, Error, Kind, Result};

/// Longest message: an error with its texts.
const MAX_MESSAGE: usize = 8 * 1024;

/// What a descriptor is that the child sends to the monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// Root of the container's devpts.
    Devpts = 1,
    /// Console: the side to read and write.
    ConsolePtx = 2,
    /// Console: the terminal.
    ConsolePty = 3,
    /// A tty: the side to read and write.
    TtyPtx = 4,
    /// A tty: the terminal.
    TtyPty = 5,
    /// The network namespace, where it was made late.
    NetNamespace = 6,
    /// The cgroup namespace.
    CgroupNamespace = 7,
    /// The time namespace.
    TimeNamespace = 8,
    /// From the monitor: the root file system, mounted nowhere yet.
    Rootfs = 9,
    /// From the monitor: what an id-mapped mount entry shows, mounted nowhere yet.
    Entry = 10,
    /// From the monitor: an optional mount entry has nothing to show. The descriptor says nothing.
    NoEntry = 11,
    /// Where the seccomp filter asks.
    SeccompListener = 12,
}

impl Role {
    fn from_number(n: u8) -> Option<Role> {
        Some(match n {
            1 => Role::Devpts,
            2 => Role::ConsolePtx,
            3 => Role::ConsolePty,
            4 => Role::TtyPtx,
            5 => Role::TtyPty,
            6 => Role::NetNamespace,
            7 => Role::CgroupNamespace,
            8 => Role::TimeNamespace,
            9 => Role::Rootfs,
            10 => Role::Entry,
            11 => Role::NoEntry,
            12 => Role::SeccompListener,
            _ => return None,
        })
    }
}

/// Messages in either direction.
#[derive(Debug)]
pub enum Message {
    /// Child: at the meeting of this number.
    Arrived(u8),
    /// Monitor: its steps of this meeting are done.
    Go(u8),
    /// Child: descriptors for the monitor.
    Descriptors(Vec<(Role, OwnedFd)>),
    /// Either: a step failed; the start ends.
    Failed(Error),
}

/// One end.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// Both ends: the monitor's and the child's.
pub fn pair() -> Result<(Channel, Channel)> {
    let (a, b) = socket::pair(SocketType::SEQPACKET).doing(|| "make the channel to the child")?;
    Ok((Channel(a), Channel(b)))
}

impl Channel {
    /// The socket, for polling.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Sends a message; descriptors go with [`Channel::send_descriptors`].
    pub fn send(&self, message: &Message) -> Result<()> {
        match message {
            Message::Arrived(n) => self.send_bytes(&[1, *n], &[]),
            Message::Go(n) => self.send_bytes(&[2, *n], &[]),
            Message::Descriptors(list) => {
                let borrowed: Vec<_> = list.iter().map(|(role, fd)| (*role, fd.as_fd())).collect();
                self.send_descriptors(&borrowed)
            }
            Message::Failed(error) => self.send_bytes(&[&[4], error.to_bytes().as_slice()].concat(), &[]),
        }
    }

    /// Sends descriptors in as many messages as they need.
    pub fn send_descriptors(&self, list: &[(Role, BorrowedFd<'_>)]) -> Result<()> {
        list.chunks(socket::MAX_FDS).try_for_each(|part| {
            let bytes: Vec<u8> = std::iter::once(3).chain(part.iter().map(|(role, _)| *role as u8)).collect();
            let fds: Vec<_> = part.iter().map(|(_, fd)| *fd).collect();
            self.send_bytes(&bytes, &fds)
        })
    }

    fn send_bytes(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
        let bytes = &bytes[..bytes.len().min(MAX_MESSAGE)];
        socket::send(self.fd(), bytes, fds, false)
            .doing(|| "send to the other process of the start")
            .map(drop)
    }

    /// Receives a message; `None` at the end.
    pub fn receive(&self) -> Result<Option<Message>> {
        // Most are two bytes.
        let mut buffer = Vec::new();
        let received = socket::next_length(self.fd()).and_then(|length| {
            buffer.resize(length.min(MAX_MESSAGE), 0);
            socket::receive(self.fd(), &mut buffer, RecvFlags::empty())
        });
        let received = match received {
            Ok(m) => m,
            Err(Errno::CONNRESET) => return Ok(None),
            Err(e) => return Err(e).doing(|| "receive from the other process of the start"),
        };
        if received.len == 0 {
            return Ok(None);
        }
        let unknown = || Error::new(Kind::Failed, "the other process of the start sent an unknown message");
        let body = &buffer[1..received.len];
        Ok(Some(match (buffer[0], body) {
            (1, [n]) => Message::Arrived(*n),
            (2, [n]) => Message::Go(*n),
            (3, roles) if roles.len() == received.fds.len() && !received.truncated => {
                let roles: Option<Vec<Role>> = roles.iter().map(|&r| Role::from_number(r)).collect();
                Message::Descriptors(roles.ok_or_else(unknown)?.into_iter().zip(received.fds).collect())
            }
            (4, error) => Message::Failed(Error::from_bytes(error)),
            _ => return Err(unknown()),
        }))
    }
}
