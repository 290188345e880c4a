//! The channel between the monitor and the child that becomes init.
//!
//! A SEQPACKET pair: each message is one datagram, so nothing can be half read. Both ends are close-on-exec: its end
//! means that the child executed init, or that it died. Which of them is told by whether it said before that it is done;
//! who is killed between that and execve(2) is an init that ended at once.

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
    /// Child: what comes next is init. With the last descriptors.
    Done(Vec<(Role, OwnedFd)>),
}

/// The first byte of each message.
mod kind {
    pub const ARRIVED: u8 = 1;
    pub const GO: u8 = 2;
    pub const DESCRIPTORS: u8 = 3;
    pub const FAILED: u8 = 4;
    pub const DONE: u8 = 5;
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

    /// Child: says that it is at a meeting.
    pub fn arrive(&self, number: u8) -> Result<()> {
        self.send_bytes(&[kind::ARRIVED, number], &[])
    }

    /// Monitor: lets the child go on.
    pub fn go(&self, number: u8) -> Result<()> {
        self.send_bytes(&[kind::GO, number], &[])
    }

    /// Either: says why the start ends.
    pub fn fail(&self, error: &Error) -> Result<()> {
        self.send_bytes(&[&[kind::FAILED], error.to_bytes().as_slice()].concat(), &[])
    }

    /// Sends descriptors in as many messages as they need.
    pub fn send_descriptors(&self, list: &[(Role, BorrowedFd<'_>)]) -> Result<()> {
        list.chunks(socket::MAX_FDS).try_for_each(|part| self.send_part(kind::DESCRIPTORS, part))
    }

    /// Child: says that init is next, and sends the last descriptors.
    pub fn done(&self, list: &[(Role, BorrowedFd<'_>)]) -> Result<()> {
        let (first, last) = list.split_at(list.len().saturating_sub(socket::MAX_FDS));
        self.send_descriptors(first)?;
        self.send_part(kind::DONE, last)
    }

    fn send_part(&self, kind: u8, part: &[(Role, BorrowedFd<'_>)]) -> Result<()> {
        let bytes: Vec<u8> = std::iter::once(kind).chain(part.iter().map(|(role, _)| *role as u8)).collect();
        let fds: Vec<_> = part.iter().map(|(_, fd)| *fd).collect();
        self.send_bytes(&bytes, &fds)
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
            (kind::ARRIVED, [n]) => Message::Arrived(*n),
            (kind::GO, [n]) => Message::Go(*n),
            (kind @ (kind::DESCRIPTORS | kind::DONE), roles)
                if roles.len() == received.fds.len() && !received.truncated =>
            {
                let roles: Option<Vec<Role>> = roles.iter().map(|&r| Role::from_number(r)).collect();
                let list = roles.ok_or_else(unknown)?.into_iter().zip(received.fds).collect();
                if kind == kind::DONE { Message::Done(list) } else { Message::Descriptors(list) }
            }
            (kind::FAILED, error) => Message::Failed(Error::from_bytes(error)),
            _ => return Err(unknown()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::{Message, Role, pair};
    use std::os::fd::AsFd;

    #[test]
    fn done_comes_last_however_many_descriptors_go_with_it() {
        let max = lxc_sys::socket::MAX_FDS;
        for count in [0, 1, max, max + 1, 2 * max + 5] {
            let (ours, theirs) = pair().expect("a pair");
            let fd = theirs.fd();
            let roles = [Role::TtyPtx, Role::TtyPty];
            let list: Vec<_> = (0..count).map(|i| (roles[i % 2], fd.as_fd())).collect();
            theirs.done(&list).expect("send");
            let mut received = Vec::new();
            let last = loop {
                match ours.receive().expect("receive").expect("a message") {
                    Message::Descriptors(part) => received.extend(part),
                    Message::Done(part) => break part,
                    other => panic!("{other:?}"),
                }
            };
            received.extend(last);
            let expected: Vec<_> = list.iter().map(|(role, _)| *role).collect();
            assert_eq!(received.iter().map(|(role, _)| *role).collect::<Vec<_>>(), expected);
            drop((received, theirs));
            assert!(ours.receive().expect("the end").is_none(), "{count}");
        }
    }
}
