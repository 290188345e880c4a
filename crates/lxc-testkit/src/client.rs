//! A client of the command socket that may behave badly.

use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, UCred};

/// Number of the request for the state of a container.
pub const GET_STATE: u32 = 3;

/// Connects to the command socket of a container whose path is short enough not to be hashed.
pub fn connect(lxcpath: &Path, name: &str) -> std::io::Result<UnixStream> {
    let address = SocketAddr::from_abstract_name(format!("{}/{name}/command", lxcpath.display()))?;
    let stream = UnixStream::connect_addr(&address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    Ok(stream)
}

/// A request header: command, length of the payload that follows, immediate data.
pub fn header(command: u32, length: i32, data: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&command.to_ne_bytes());
    bytes[4..8].copy_from_slice(&length.to_ne_bytes());
    bytes[8..].copy_from_slice(&data.to_ne_bytes());
    bytes
}

/// Sends a request and reads the header of the response: result, length, data. With credentials, as programs do: the
/// kernel adds them only once the monitor has asked for them.
pub fn ask(stream: &mut UnixStream, command: u32, payload: &[u8]) -> std::io::Result<(i32, i32, u64)> {
    let header = header(command, payload.len().try_into().expect("a short payload"), 0);
    let own = UCred {
        pid: rustix::process::getpid(),
        uid: rustix::process::getuid(),
        gid: rustix::process::getgid(),
    };
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmCredentials(own)), "there is room for credentials");
    rustix::net::sendmsg(&*stream, &[IoSlice::new(&header)], &mut control, SendFlags::NOSIGNAL)?;
    stream.write_all(payload)?;
    response(stream)
}

/// Reads the header of a response.
pub fn response(stream: &mut UnixStream) -> std::io::Result<(i32, i32, u64)> {
    let mut bytes = [0; 16];
    stream.read_exact(&mut bytes)?;
    let int = |at: usize| i32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    Ok((int(0), int(4), u64::from_ne_bytes(bytes[8..].try_into().expect("eight bytes"))))
}
