//! As much of the D-Bus protocol as it takes to ask the user's systemd for a scope: one call at a time, and the signals
//! that come in between (D-Bus specification 0.43, "Message Protocol").
//!
//! A library would bring threads, and a process that clones must have only one.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use lxc_sys::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use crate::error::{Doing, Error, Kind, Result};

/// Longest message that is read: answers are some hundred bytes.
const MAX_MESSAGE: usize = 64 * 1024;

const CALL: u8 = 1;
const RETURN: u8 = 2;
const FAILURE: u8 = 3;
/// A message that nobody waits for the answer of.
pub const SIGNAL: u8 = 4;

const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// Values in the order and alignment of the protocol, in little-endian.
#[derive(Debug, Default)]
pub struct Body(Vec<u8>);

impl Body {
    /// Pads to a multiple.
    pub fn align(&mut self, to: usize) -> &mut Self {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
        self
    }

    /// A 32-bit number, or a boolean.
    pub fn number(&mut self, n: u32) -> &mut Self {
        self.align(4).0.extend(n.to_le_bytes());
        self
    }

    /// A string or an object path.
    pub fn string(&mut self, text: &str) -> &mut Self {
        self.number(u32::try_from(text.len()).unwrap_or(0)).0.extend(text.as_bytes());
        self.0.push(0);
        self
    }

    /// The type of a value, as it stands before each variant.
    pub fn signature(&mut self, text: &str) -> &mut Self {
        self.0.push(u8::try_from(text.len()).unwrap_or(0));
        self.0.extend(text.as_bytes());
        self.0.push(0);
        self
    }

    /// An array of elements with an alignment.
    pub fn array(&mut self, alignment: usize, elements: impl FnOnce(&mut Body)) -> &mut Self {
        self.number(0);
        let length_at = self.0.len() - 4;
        self.align(alignment);
        let begin = self.0.len();
        elements(self);
        let length = u32::try_from(self.0.len() - begin).unwrap_or(0);
        self.0[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
        self
    }
}

/// What is read of a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Message {
    kind: u8,
    reply_to: u32,
    /// Name of a signal.
    pub member: String,
    error: String,
    body: Vec<u8>,
}

/// Reads values in the order and alignment of the protocol.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn number(&mut self) -> Option<u32> {
        self.align(4);
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn string(&mut self) -> Option<&'a str> {
        let length = self.number()? as usize;
        let text = std::str::from_utf8(self.take(length)?).ok()?;
        self.take(1)?;
        Some(text)
    }

    fn signature(&mut self) -> Option<&'a str> {
        let length = usize::from(self.take(1)?[0]);
        let text = std::str::from_utf8(self.take(length)?).ok()?;
        self.take(1)?;
        Some(text)
    }
}

/// The first 16 bytes: lengths of the body and of the fields. `None`: not a message that this side reads.
fn lengths(start: &[u8; 16]) -> Option<(usize, usize)> {
    let number = |at: usize| start[at..at + 4].try_into().ok().map(u32::from_le_bytes);
    let (body, fields) = (number(4)? as usize, number(12)? as usize);
    (start[0] == b'l' && start[3] == 1 && body <= MAX_MESSAGE && fields <= MAX_MESSAGE)
        .then_some((body, fields))
}

/// A message of its first 16 bytes, and what follows them.
fn decode(start: &[u8; 16], rest: &[u8]) -> Option<Message> {
    let (body, fields) = lengths(start)?;
    let mut message = Message { kind: start[1], ..Message::default() };
    // What is 16 bytes in begins a multiple of 8, too.
    let mut reader = Reader { bytes: rest.get(..fields)?, at: 0 };
    while reader.at < fields {
        reader.align(8);
        let code = reader.take(1)?[0];
        match (code, reader.signature()?) {
            (REPLY_SERIAL, "u") => message.reply_to = reader.number()?,
            (MEMBER, "s") => message.member = reader.string()?.to_string(),
            (ERROR_NAME, "s") => message.error = reader.string()?.to_string(),
            (_, "s" | "o") => drop(reader.string()?),
            (_, "g") => drop(reader.signature()?),
            (_, "u") => drop(reader.number()?),
            _ => return None,
        }
    }
    let begin = fields.next_multiple_of(8);
    message.body = rest.get(begin..begin + body)?.to_vec();
    Some(message)
}

impl Message {
    /// The strings that the body begins with, after `numbers` numbers.
    pub fn strings(&self, numbers: usize) -> Vec<String> {
        let mut reader = Reader { bytes: &self.body, at: 0 };
        for _ in 0..numbers {
            reader.number();
        }
        std::iter::from_fn(|| reader.string().map(String::from)).collect()
    }
}

/// Whom a call is for, and of what it is a call.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Name on the bus; nobody in a connection of two.
    pub destination: &'a str,
    /// Object.
    pub path: &'a str,
    /// Interface.
    pub interface: &'a str,
}

/// Why a call was not answered as it should.
#[derive(Debug)]
pub enum Failure {
    /// The other side says so: a name such as `org.freedesktop.DBus.Error.AccessDenied`, and text.
    Refused(String, String),
    /// The connection failed.
    Broken(Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure {
            Failure::Refused(name, text) => Error::new(Kind::Denied, format!("{text} ({name})")),
            Failure::Broken(error) => error,
        }
    }
}

/// A connection.
#[derive(Debug)]
pub struct Bus {
    stream: UnixStream,
    serial: u32,
    deadline: Instant,
    /// Signals that came while an answer was awaited.
    signals: Vec<Message>,
}

/// Addresses of a list such as `unix:path=/run/user/1000/bus,guid=…;unix:abstract=…`, as far as they are sockets.
pub fn addresses(list: &str) -> Vec<SocketAddrUnix> {
    let one = |address: &str| {
        address.strip_prefix("unix:")?.split(',').find_map(|pair| match pair.split_once('=')? {
            ("path", path) => SocketAddrUnix::new(unescape(path)).ok(),
            ("abstract", name) => SocketAddrUnix::new_abstract_name(unescape(name).as_bytes()).ok(),
            _ => None,
        })
    };
    list.split(';').filter_map(one).collect()
}

/// `%XX` of addresses.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).filter(|_| *first == b'%').and_then(|h| std::str::from_utf8(h).ok());
        match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What is left of the time, for a socket.
fn left(deadline: Instant) -> std::io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(Errno::TIMEDOUT.into()) } else { Ok(left) }
}

/// The result of a call that may be interrupted, or that the time was up for: what was done then is nothing.
fn done(result: std::io::Result<usize>) -> std::io::Result<usize> {
    use std::io::ErrorKind::{Interrupted, WouldBlock};
    match result {
        Ok(0) => Err(Errno::CONNRESET.into()),
        // Whether there is time left is seen before the next one.
        Err(e) if matches!(e.kind(), Interrupted | WouldBlock) => Ok(0),
        result => result,
    }
}

impl Bus {
    /// Connects and says who is calling. Nothing that is done with it goes on after `deadline`, until there is another.
    pub fn connect(address: &SocketAddrUnix, deadline: Instant) -> Result<Bus> {
        let what = || "connect to systemd";
        let flags = SocketFlags::CLOEXEC;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).doing(what)?;
        // To one that accepts nobody one waits as long as one may send.
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(left(deadline).doing(what)?))
            .and_then(|()| rustix::io::retry_on_intr(|| rustix::net::connect(&socket, address)))
            .map_err(|e| if e == Errno::AGAIN { Errno::TIMEDOUT } else { e })
            .doing(what)?;
        let mut bus = Bus { stream: socket.into(), serial: 0, deadline, signals: Vec::new() };
        let uid = rustix::process::geteuid().as_raw().to_string();
        let hex: String = uid.bytes().map(|b| format!("{b:02x}")).collect();
        bus.write(format!("\0AUTH EXTERNAL {hex}\r\n").as_bytes()).doing(what)?;
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            bus.read(&mut byte).doing(what)?;
            line.extend(byte);
            if line.len() > 512 {
                return Err(Error::invalid("the bus does not answer as one"));
            }
        }
        if !line.starts_with(b"OK ") {
            let said = String::from_utf8_lossy(&line).trim().to_string();
            return Err(Error::new(Kind::Denied, format!("the bus refuses: {said}")));
        }
        bus.write(b"BEGIN\r\n").doing(what)?;
        Ok(bus)
    }

    /// Sets another deadline.
    pub fn wait_until(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    fn write(&mut self, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            self.stream.set_write_timeout(Some(left(self.deadline)?))?;
            let written = done(self.stream.write(bytes))?;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            self.stream.set_read_timeout(Some(left(self.deadline)?))?;
            filled += done(self.stream.read(&mut buffer[filled..]))?;
        }
        Ok(())
    }

    fn message(&mut self) -> Result<Message> {
        let what = || "wait for systemd";
        let mut start = [0; 16];
        self.read(&mut start).doing(what)?;
        let bad = || Error::invalid("systemd sent what is no message");
        let (body, fields) = lengths(&start).ok_or_else(bad)?;
        let mut rest = vec![0; fields.next_multiple_of(8) + body];
        self.read(&mut rest).doing(what)?;
        decode(&start, &rest).ok_or_else(bad)
    }

    /// Calls a method and waits for its answer.
    pub fn call(
        &mut self,
        target: &Target<'_>,
        member: &str,
        signature: &str,
        fill: impl FnOnce(&mut Body),
    ) -> std::result::Result<Message, Failure> {
        self.serial += 1;
        let bytes = encode_call(self.serial, target, member, signature, fill);
        self.write(&bytes).doing(|| "ask systemd").map_err(Failure::Broken)?;
        loop {
            let message = self.message().map_err(Failure::Broken)?;
            match message.kind {
                SIGNAL => self.signals.push(message),
                RETURN if message.reply_to == self.serial => return Ok(message),
                FAILURE if message.reply_to == self.serial => {
                    let text = message.strings(0).into_iter().next().unwrap_or_default();
                    return Err(Failure::Refused(message.error, text));
                }
                _ => {}
            }
        }
    }

    /// The next signal.
    pub fn signal(&mut self) -> Result<Message> {
        if !self.signals.is_empty() {
            return Ok(self.signals.remove(0));
        }
        loop {
            let message = self.message()?;
            if message.kind == SIGNAL {
                return Ok(message);
            }
        }
    }
}

fn encode_call(
    serial: u32,
    target: &Target<'_>,
    member: &str,
    signature: &str,
    fill: impl FnOnce(&mut Body),
) -> Vec<u8> {
    let mut body = Body::default();
    fill(&mut body);
    let mut message = Body(vec![b'l', CALL, 0, 1]);
    message.number(u32::try_from(body.0.len()).unwrap_or(0)).number(serial);
    message.array(8, |fields| {
        let mut field = |code: u8, kind: &str, text: &str| {
            fields.align(8).0.push(code);
            fields.signature(kind);
            if kind == "g" {
                fields.signature(text)
            } else {
                fields.string(text)
            };
        };
        field(PATH, "o", target.path);
        field(INTERFACE, "s", target.interface);
        field(MEMBER, "s", member);
        if !target.destination.is_empty() {
            field(DESTINATION, "s", target.destination);
        }
        if !signature.is_empty() {
            field(SIGNATURE, "g", signature);
        }
    });
    message.align(8);
    message.0.extend(body.0);
    message.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Target<'static> =
        Target { destination: "org.example", path: "/org/example", interface: "org.example.I" };

    #[test]
    fn a_call() {
        let bytes = encode_call(7, &TARGET, "Do", "sau", |body| {
            body.string("x").array(4, |pids| {
                pids.number(1).number(2);
            });
        });
        let start: &[u8; 16] = bytes.first_chunk().expect("a start");
        let (body, fields) = lengths(start).expect("lengths");
        assert_eq!(bytes.len(), 16 + fields.next_multiple_of(8) + body);
        let message = decode(start, &bytes[16..]).expect("a message");
        assert_eq!((message.kind, &*message.member), (CALL, "Do"));
        assert_eq!(message.body, [1, 0, 0, 0, b'x', 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(message.strings(0), ["x"]);
        assert!(decode(start, &bytes[16..bytes.len() - 1]).is_none(), "too short");
    }

    #[test]
    fn garbage_is_no_message() {
        for length in 0..64usize {
            let mut start = [0xff; 16];
            (start[0], start[3]) = (b'l', 1);
            start[4..8].copy_from_slice(&8u32.to_le_bytes());
            start[12..16].copy_from_slice(&(length as u32).to_le_bytes());
            decode(&start, &vec![0x73; length]);
            decode(&start, &vec![1; length + 64]);
        }
    }

    /// One that accepts nobody, one that says nothing, and one that says little at a time.
    #[test]
    fn a_bus_that_hangs() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("bus");
        let address = SocketAddrUnix::new(&path).expect("an address");
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).expect("a socket");
        rustix::net::bind(&socket, &address).and_then(|()| rustix::net::listen(&socket, 0)).expect("listen");
        let hangs = || {
            let begin = Instant::now();
            let error =
                Bus::connect(&address, begin + Duration::from_millis(300)).map(drop).expect_err("no bus");
            assert!(begin.elapsed() < Duration::from_secs(3), "{:?}: {error}", begin.elapsed());
            assert_eq!(error.errno(), Some(Errno::TIMEDOUT), "{error}");
        };
        hangs();
        // It is still in the backlog, which is full with it.
        hangs();
        let listener = std::os::unix::net::UnixListener::from(socket);
        listener.accept().expect("accept the first");
        let dribble = std::thread::spawn(move || {
            let (mut bus, _) = listener.accept().expect("accept");
            while bus.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        hangs();
        dribble.join().expect("it ends with the connection");
    }

    #[test]
    fn where_a_bus_is() {
        let paths = |list: &str| -> Vec<String> {
            addresses(list)
                .iter()
                .map(|a| a.path().map_or("abstract".into(), |p| p.to_string_lossy().into_owned()))
                .collect()
        };
        assert_eq!(paths("unix:path=/run/user/1/bus,guid=0"), ["/run/user/1/bus"]);
        assert_eq!(paths("tcp:host=a;unix:guid=1,path=/a%20b;unix:abstract=x"), ["/a b", "abstract"]);
        assert!(paths("").is_empty());
    }
}
