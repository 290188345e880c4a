//! Unix sockets that carry descriptors and credentials, built on rustix.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, UCred,
};

use crate::{Errno, Result};

/// Most descriptors that one message of the command protocol carries.
pub const MAX_FDS: usize = 20;

/// What one [`receive`] brought.
#[derive(Debug)]
pub struct Message {
    /// Bytes stored in the caller's buffer; 0 at the end of the stream.
    pub len: usize,
    /// Descriptors, close-on-exec.
    pub fds: Vec<OwnedFd>,
    /// Who sent it, where SO_PASSCRED is set.
    pub credentials: Option<UCred>,
    /// Descriptors or credentials did not fit and were lost.
    pub truncated: bool,
}

/// Sends bytes with descriptors, and with the caller's own credentials if asked.
pub fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
    credentials: bool,
) -> Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS), ScmCredentials(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::TOOBIG);
    }
    if credentials {
        control.push(SendAncillaryMessage::ScmCredentials(UCred {
            pid: rustix::process::getpid(),
            uid: rustix::process::getuid(),
            gid: rustix::process::getgid(),
        }));
    }
    rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)
    })
}

/// Receives bytes, descriptors and credentials.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8], flags: RecvFlags) -> Result<Message> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS), ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let result = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(
            socket,
            &mut [IoSliceMut::new(buffer)],
            &mut control,
            flags | RecvFlags::CMSG_CLOEXEC,
        )
    })?;
    let mut message = Message {
        len: result.bytes,
        fds: Vec::new(),
        credentials: None,
        truncated: result.flags.contains(ReturnFlags::CTRUNC),
    };
    for part in control.drain() {
        match part {
            RecvAncillaryMessage::ScmRights(fds) => message.fds.extend(fds),
            RecvAncillaryMessage::ScmCredentials(c) => message.credentials = Some(c),
            _ => {}
        }
    }
    Ok(message)
}

/// Waits for the next datagram or the end, and returns its length in bytes, 0 at the end. It is received afterwards.
/// By recvmsg(2), as all here: a filter may be in force that knows no other call.
pub fn next_length(socket: BorrowedFd<'_>) -> Result<usize> {
    let flags = RecvFlags::PEEK | RecvFlags::TRUNC;
    let mut control = RecvAncillaryBuffer::default();
    let message = rustix::io::retry_on_intr(|| rustix::net::recvmsg(socket, &mut [], &mut control, flags))?;
    Ok(message.bytes)
}

/// A pair of connected sockets, close-on-exec.
pub fn pair(kind: SocketType) -> Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)
}

/// A listening stream socket (non-blocking) at an abstract name (without its leading NUL). The
/// address length counts no trailing NUL, as upstream's does. EADDRINUSE when the name is taken.
pub fn listen_abstract(name: &[u8]) -> Result<OwnedFd> {
    let socket = stream(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new_abstract_name(name)?)?;
    rustix::net::listen(&socket, 100)?;
    Ok(socket)
}

/// A connection to an abstract name.
pub fn connect_abstract(name: &[u8]) -> Result<OwnedFd> {
    let socket = stream(SocketFlags::CLOEXEC)?;
    let address = SocketAddrUnix::new_abstract_name(name)?;
    rustix::io::retry_on_intr(|| rustix::net::connect(&socket, &address))?;
    Ok(socket)
}

fn stream(flags: SocketFlags) -> Result<OwnedFd> {
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

/// Accepts a connection: non-blocking, close-on-exec, and receiving credentials.
pub fn accept(listener: BorrowedFd<'_>) -> Result<OwnedFd> {
    let socket = rustix::io::retry_on_intr(|| {
        rustix::net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
    })?;
    rustix::net::sockopt::set_socket_passcred(socket.as_fd(), true)?;
    Ok(socket)
}
