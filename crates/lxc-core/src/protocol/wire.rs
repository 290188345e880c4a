//! Messages of the command socket, byte for byte (host byte order, LP64).

use crate::state::{MAX_STATE, State};

/// Commands by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
#[allow(missing_docs)] // named as in the protocol's table
pub enum Command {
    GetTtyFd = 0,
    TerminalWinch = 1,
    Stop = 2,
    GetState = 3,
    GetInitPid = 4,
    GetCloneFlags = 5,
    GetCgroup = 6,
    GetConfigItem = 7,
    GetName = 8,
    GetLxcpath = 9,
    AddStateClient = 10,
    ConsoleLog = 11,
    ServeStateClients = 12,
    SeccompNotifyAddListener = 13,
    AddBpfDeviceCgroup = 14,
    Freeze = 15,
    Unfreeze = 16,
    GetCgroup2Fd = 17,
    GetInitPidfd = 18,
    GetLimitCgroup = 19,
    GetLimitCgroup2Fd = 20,
    GetDevptsFd = 21,
    GetSeccompNotifyFd = 22,
    GetCgroupCtx = 23,
    GetCgroupFd = 24,
    GetLimitCgroupFd = 25,
    GetSystemdScope = 26,
}

impl Command {
    /// All commands by number.
    pub const ALL: [Command; 27] = [
        Command::GetTtyFd,
        Command::TerminalWinch,
        Command::Stop,
        Command::GetState,
        Command::GetInitPid,
        Command::GetCloneFlags,
        Command::GetCgroup,
        Command::GetConfigItem,
        Command::GetName,
        Command::GetLxcpath,
        Command::AddStateClient,
        Command::ConsoleLog,
        Command::ServeStateClients,
        Command::SeccompNotifyAddListener,
        Command::AddBpfDeviceCgroup,
        Command::Freeze,
        Command::Unfreeze,
        Command::GetCgroup2Fd,
        Command::GetInitPidfd,
        Command::GetLimitCgroup,
        Command::GetLimitCgroup2Fd,
        Command::GetDevptsFd,
        Command::GetSeccompNotifyFd,
        Command::GetCgroupCtx,
        Command::GetCgroupFd,
        Command::GetLimitCgroupFd,
        Command::GetSystemdScope,
    ];

    /// The command of a number.
    pub fn from_number(number: i32) -> Option<Command> {
        usize::try_from(number).ok().and_then(|n| Command::ALL.get(n)).copied()
    }
}

/// Length of both headers.
pub const HEADER_LEN: usize = 16;
/// Longest payload of a request, and of an answer except CONSOLE_LOG's.
pub const MAX_PAYLOAD: usize = 8192;

/// A header: `code` is the command of a request and the return value of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Command, or 0 or -errno.
    pub code: i32,
    /// Bytes that follow.
    pub datalen: i32,
    /// Immediate value when nothing follows.
    pub data: i64,
}

impl Header {
    /// As sent.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[..4].copy_from_slice(&self.code.to_ne_bytes());
        out[4..8].copy_from_slice(&self.datalen.to_ne_bytes());
        out[8..].copy_from_slice(&self.data.to_ne_bytes());
        out
    }

    /// As received.
    pub fn decode(bytes: &[u8; HEADER_LEN]) -> Header {
        Header { code: i32_at(bytes, 0), datalen: i32_at(bytes, 4), data: i64_at(bytes, 8) }
    }
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, i32::from_ne_bytes)
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, i64::from_ne_bytes)
}

/// Which states a client waits for, by state number: 0 not, 1 notify, 2 notify and skip the present one.
pub type StateMask = [i32; MAX_STATE];

/// Payload of ADD_STATE_CLIENT.
pub fn encode_states(states: &StateMask) -> Vec<u8> {
    states.iter().flat_map(|s| s.to_ne_bytes()).collect()
}

/// Payload of ADD_STATE_CLIENT; `None` for a wrong length.
pub fn decode_states(bytes: &[u8]) -> Option<StateMask> {
    if bytes.len() != MAX_STATE * 4 {
        return None;
    }
    Some(std::array::from_fn(|i| i32_at(bytes, i * 4)))
}

/// Length of a [`StateMessage`].
pub const STATE_MESSAGE_LEN: usize = 264;

/// What state clients and monitord's clients receive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateMessage {
    /// Container.
    pub name: String,
    /// What happened.
    pub event: Event,
}

/// The event of a [`StateMessage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A new state, by number.
    State(i32),
    /// init's raw wait(2) status.
    Exit(i32),
}

impl StateMessage {
    /// A change of state.
    pub fn state(name: &str, state: State) -> StateMessage {
        StateMessage { name: name.to_string(), event: Event::State(state as i32) }
    }

    /// As sent: type, name padded to 256 bytes, value.
    pub fn encode(&self) -> [u8; STATE_MESSAGE_LEN] {
        let mut out = [0; STATE_MESSAGE_LEN];
        let (kind, value): (i32, i32) = match self.event {
            Event::State(s) => (0, s),
            Event::Exit(s) => (2, s),
        };
        out[..4].copy_from_slice(&kind.to_ne_bytes());
        let len = self.name.len().min(255);
        out[4..4 + len].copy_from_slice(&self.name.as_bytes()[..len]);
        out[260..].copy_from_slice(&value.to_ne_bytes());
        out
    }

    /// As received; `None` for an unknown type.
    pub fn decode(bytes: &[u8; STATE_MESSAGE_LEN]) -> Option<StateMessage> {
        let name = bytes[4..260].split(|&b| b == 0).next().unwrap_or_default();
        let value = i32_at(bytes, 260);
        let event = match i32_at(bytes, 0) {
            0 => Event::State(value),
            2 => Event::Exit(value),
            _ => return None,
        };
        Some(StateMessage { name: String::from_utf8_lossy(name).into_owned(), event })
    }
}

/// Length of a [`ConsoleLogRequest`].
pub const CONSOLE_LOG_LEN: usize = 24;

/// Payload of CONSOLE_LOG.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConsoleLogRequest {
    /// Empty the buffer.
    pub clear: bool,
    /// Return its contents.
    pub read: bool,
    /// At most so many bytes; 0 for all.
    pub read_max: u64,
    /// Also write them to the log file.
    pub write_logfile: bool,
}

impl ConsoleLogRequest {
    /// As sent.
    pub fn encode(&self) -> [u8; CONSOLE_LOG_LEN] {
        let mut out = [0; CONSOLE_LOG_LEN];
        out[0] = self.clear.into();
        out[1] = self.read.into();
        out[8..16].copy_from_slice(&self.read_max.to_ne_bytes());
        out[16] = self.write_logfile.into();
        out
    }

    /// As received; `None` for a wrong length.
    pub fn decode(bytes: &[u8]) -> Option<ConsoleLogRequest> {
        (bytes.len() == CONSOLE_LOG_LEN).then(|| ConsoleLogRequest {
            clear: bytes[0] != 0,
            read: bytes[1] != 0,
            read_max: i64_at(bytes, 8) as u64,
            write_logfile: bytes[16] != 0,
        })
    }
}

/// Length of a [`DeviceRequest`].
pub const DEVICE_LEN: usize = 40;

/// Payload of ADD_BPF_DEVICE_CGROUP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRequest {
    /// `a`, `b` or `c`.
    pub kind: u8,
    /// Major number; -1 for any.
    pub major: i32,
    /// Minor number; -1 for any.
    pub minor: i32,
    /// Letters of `rwm`.
    pub access: String,
    /// Allow or deny.
    pub allow: bool,
}

impl DeviceRequest {
    /// As sent.
    pub fn encode(&self) -> [u8; DEVICE_LEN] {
        let mut out = [0; DEVICE_LEN];
        out[0] = self.kind;
        out[4..8].copy_from_slice(&self.major.to_ne_bytes());
        out[8..12].copy_from_slice(&self.minor.to_ne_bytes());
        let len = self.access.len().min(3);
        out[12..12 + len].copy_from_slice(&self.access.as_bytes()[..len]);
        out[16..20].copy_from_slice(&i32::from(self.allow).to_ne_bytes());
        out
    }

    /// As received; `None` for a wrong length or a value outside the protocol.
    pub fn decode(bytes: &[u8]) -> Option<DeviceRequest> {
        if bytes.len() != DEVICE_LEN {
            return None;
        }
        let access: Vec<u8> = bytes[12..16].iter().copied().take_while(|&b| b != 0).collect();
        let allow = i32_at(bytes, 16);
        let known = matches!(bytes[0], b'a' | b'b' | b'c')
            && (1..=3).contains(&access.len())
            && access.iter().all(|b| b"rwm".contains(b))
            && matches!(allow, 0 | 1)
            && i32_at(bytes, 4) >= -1
            && i32_at(bytes, 8) >= -1;
        known.then(|| DeviceRequest {
            kind: bytes[0],
            major: i32_at(bytes, 4),
            minor: i32_at(bytes, 8),
            access: String::from_utf8_lossy(&access).into_owned(),
            allow: allow == 1,
        })
    }
}

/// How the host's cgroup hierarchies are arranged, as numbered on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum CgroupLayoutNumber {
    /// v1 only.
    Legacy = 0,
    /// v1 and v2.
    Hybrid = 1,
    /// v2 only.
    Unified = 2,
}

/// Length of the structure of GET_CGROUP_CTX.
pub const CGROUP_CTX_LEN: usize = 96;
/// Most hierarchies that GET_CGROUP_CTX can describe.
pub const CGROUP_CTX_FDS: usize = 20;

/// Answer of GET_CGROUP_CTX; the descriptors travel beside it.
pub fn encode_cgroup_ctx(layout: i32, utilities: u32, fds: &[i32]) -> [u8; CGROUP_CTX_LEN] {
    let mut out = [0; CGROUP_CTX_LEN];
    out[..4].copy_from_slice(&layout.to_ne_bytes());
    out[4..8].copy_from_slice(&utilities.to_ne_bytes());
    let len = fds.len().min(CGROUP_CTX_FDS);
    out[8..12].copy_from_slice(&(len as u32).to_ne_bytes());
    for i in 0..CGROUP_CTX_FDS {
        let fd = fds.get(i).copied().unwrap_or(-9);
        out[12 + i * 4..16 + i * 4].copy_from_slice(&fd.to_ne_bytes());
    }
    out
}

/// Request of GET_CGROUP_CTX.
pub fn cgroup_ctx_request() -> [u8; CGROUP_CTX_LEN] {
    encode_cgroup_ctx(-1, 0, &[])
}

/// Length of the structure of GET_CGROUP_FD and GET_LIMIT_CGROUP_FD.
pub const CGROUP_FD_LEN: usize = 80;

/// Structure of GET_CGROUP_FD and GET_LIMIT_CGROUP_FD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupFd {
    /// Layout number.
    pub layout: i32,
    /// Bit 0: device filter usable, bit 1: freezer usable (unified layout only).
    pub utilities: u32,
    /// Request: 0 or the wanted magic; answer: the magic of the file system.
    pub magic: i32,
    /// Descriptor number on the server.
    pub fd: i32,
    /// Controller.
    pub controller: String,
}

impl CgroupFd {
    /// A request for a controller's cgroup.
    pub fn request(controller: &str) -> CgroupFd {
        CgroupFd { layout: 0, utilities: 0, magic: 0, fd: -9, controller: controller.to_string() }
    }

    /// As sent.
    pub fn encode(&self) -> [u8; CGROUP_FD_LEN] {
        let mut out = [0; CGROUP_FD_LEN];
        out[..4].copy_from_slice(&self.layout.to_ne_bytes());
        out[4..8].copy_from_slice(&self.utilities.to_ne_bytes());
        out[8..12].copy_from_slice(&self.magic.to_ne_bytes());
        out[12..16].copy_from_slice(&self.fd.to_ne_bytes());
        let len = self.controller.len().min(63);
        out[16..16 + len].copy_from_slice(&self.controller.as_bytes()[..len]);
        out
    }

    /// As received. Shorter structures are padded with zeros, longer ones must end in zeros.
    pub fn decode(bytes: &[u8]) -> Option<CgroupFd> {
        if bytes.get(CGROUP_FD_LEN..).is_some_and(|rest| rest.iter().any(|&b| b != 0)) {
            return None;
        }
        let name = bytes.get(16..bytes.len().min(CGROUP_FD_LEN)).unwrap_or_default();
        let name = name.split(|&b| b == 0).next().unwrap_or_default();
        Some(CgroupFd {
            layout: i32_at(bytes, 0),
            utilities: i32_at(bytes, 4) as u32,
            magic: i32_at(bytes, 8),
            fd: i32_at(bytes, 12),
            controller: std::str::from_utf8(name).ok()?.to_string(),
        })
    }
}

/// A string payload: its only NUL is the last byte.
pub fn decode_string(bytes: &[u8]) -> Option<&str> {
    let (&last, text) = bytes.split_last()?;
    (last == 0 && !text.contains(&0)).then(|| std::str::from_utf8(text).ok())?
}

/// A string payload with its NUL.
pub fn encode_string(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn captured_bytes() {
        // Observed with upstream 5.0.2 (little-endian).
        let request = Header { code: Command::GetTtyFd as i32, datalen: 0, data: -1 };
        assert_eq!(request.encode()[8..], [0xff; 8]);
        let message = StateMessage::state("s1-a", State::Frozen).encode();
        assert_eq!(message[4..9], *b"s1-a\0");
        assert_eq!(message[260..], 6i32.to_ne_bytes());
    }

    #[test]
    fn strings_have_exactly_one_nul() {
        assert_eq!(decode_string(b"cpu\0"), Some("cpu"));
        for bad in [&b"cpu"[..], b"", b"c\0u\0"] {
            assert_eq!(decode_string(bad), None);
        }
    }

    proptest! {
        #[test]
        fn header_round_trip(code: i32, datalen: i32, data: i64) {
            let h = Header { code, datalen, data };
            prop_assert_eq!(Header::decode(&h.encode()), h);
        }

        #[test]
        fn decoders_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (decode_states(&bytes), ConsoleLogRequest::decode(&bytes), DeviceRequest::decode(&bytes));
            let _ = (CgroupFd::decode(&bytes), decode_string(&bytes));
            if let Ok(message) = bytes.as_slice().try_into() {
                let _ = StateMessage::decode(message);
            }
        }

        #[test]
        fn state_message_round_trip(name in "[a-z0-9-]{1,255}", exit: bool, value: i32) {
            let event = if exit { Event::Exit(value) } else { Event::State(value) };
            let m = StateMessage { name, event };
            prop_assert_eq!(StateMessage::decode(&m.encode()), Some(m));
        }

        #[test]
        fn device_round_trip(major in -1..4096i32, minor in -1..4096i32, allow: bool, access in "[rwm]{1,3}") {
            let d = DeviceRequest { kind: b'c', major, minor, access, allow };
            prop_assert_eq!(DeviceRequest::decode(&d.encode()), Some(d));
        }
    }
}
