//! The client side of the command socket.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use lxc_sys::{Errno, socket};
use rustix::net::{RecvFlags, SendFlags, sockopt};
use rustix::process::Pid;

use super::address;
use super::wire::{
    self, CgroupFd, Command, ConsoleLogRequest, DeviceRequest, HEADER_LEN, Header, MAX_PAYLOAD,
    STATE_MESSAGE_LEN, StateMask, StateMessage,
};
use crate::error::{Doing, Error, Kind, Result};
use crate::state::State;

/// Talks to the monitor of one container. Costs nothing until a request is made; each request is a
/// connection of its own.
#[derive(Debug, Clone)]
pub struct Client {
    name: String,
    address: Vec<u8>,
    timeout: Option<Duration>,
}

/// An answer to one request.
#[derive(Debug)]
pub struct Answer {
    /// 0, or -errno.
    pub ret: i32,
    /// Immediate value.
    pub data: i64,
    /// What followed the header.
    pub payload: Vec<u8>,
    /// Descriptors.
    pub fds: Vec<OwnedFd>,
    /// The connection, which holds what was granted for as long as it is open.
    pub connection: OwnedFd,
}

/// A terminal granted by the monitor.
#[derive(Debug)]
pub struct TtyGrant {
    /// Keeps the terminal reserved while open.
    pub connection: OwnedFd,
    /// The side to read and write.
    pub ptx: OwnedFd,
    /// Its number; 0 is the console.
    pub number: i32,
}

/// Outcome of [`Client::wait_for`].
#[derive(Debug)]
pub enum StateWait {
    /// The container is in one of the states already.
    Now(State),
    /// One message will come.
    Later(StateSubscription),
}

/// A registered wait for a change of state.
#[derive(Debug)]
pub struct StateSubscription(OwnedFd);

impl StateSubscription {
    /// Waits for the message. `None`: the monitor ended without one, which means STOPPED.
    pub fn next(self, timeout: Option<Duration>) -> Result<Option<State>> {
        set_receive_timeout(&self.0, timeout)?;
        let mut bytes = [0; STATE_MESSAGE_LEN];
        match receive_exact(&self.0, &mut bytes) {
            Ok(true) => match StateMessage::decode(&bytes).map(|m| m.event) {
                Some(wire::Event::State(number)) => Ok(State::from_number(number.into())),
                _ => Err(Error::new(Kind::Failed, "the monitor sent an unknown state message")),
            },
            Ok(false) | Err(Errno::CONNRESET) => Ok(None),
            Err(Errno::AGAIN) => {
                Err(Error::os("Failed to receive message", Errno::AGAIN).with_kind(Kind::TimedOut))
            }
            Err(e) => Err(Error::os("receive state message", e)),
        }
    }
}

fn set_receive_timeout(socket: &OwnedFd, timeout: Option<Duration>) -> Result<()> {
    sockopt::set_socket_timeout(socket, sockopt::Timeout::Recv, timeout).doing(|| "set receive time-out")
}

/// Reads until the buffer is full. `false`: the stream ended first.
fn receive_exact(socket: &OwnedFd, buffer: &mut [u8]) -> lxc_sys::Result<bool> {
    let mut done = 0;
    while done < buffer.len() {
        let n = rustix::io::retry_on_intr(|| {
            rustix::net::recv(socket, &mut buffer[done..], RecvFlags::empty()).map(|(n, _)| n)
        })?;
        if n == 0 {
            return Ok(false);
        }
        done += n;
    }
    Ok(true)
}

/// Whether the error of a request means that no monitor is there.
pub fn means_stopped(errno: Errno) -> bool {
    matches!(errno, Errno::CONNREFUSED | Errno::PIPE | Errno::CONNRESET)
}

impl Client {
    /// A client for the container `name` in `lxcpath`.
    pub fn new(lxcpath: &Path, name: &str) -> Client {
        Client { name: name.to_string(), address: address::command_socket(lxcpath, name), timeout: None }
    }

    /// A client for a socket found in /proc/net/unix.
    pub fn at(address: &[u8]) -> Client {
        Client { name: String::new(), address: address.to_vec(), timeout: None }
    }

    /// Limits the wait for each answer (not for terminals and states).
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// Sends a request without waiting for the answer: several can be under way, and the monitor is
    /// woken but once.
    pub fn begin(&self, command: Command, data: i64, payload: &[u8]) -> Pending {
        Pending { command, name: self.name.clone(), connection: self.send(command, data, payload) }
    }

    fn send(&self, command: Command, data: i64, payload: &[u8]) -> lxc_sys::Result<OwnedFd> {
        let connection = socket::connect_abstract(&self.address)?;
        if let Some(timeout) = self.timeout
            && !matches!(command, Command::GetTtyFd | Command::AddStateClient)
        {
            sockopt::set_socket_timeout(&connection, sockopt::Timeout::Recv, Some(timeout))?;
        }
        let header = Header { code: command as i32, datalen: payload.len() as i32, data };
        socket::send(connection.as_fd(), &header.encode(), &[], true)?;
        if !payload.is_empty() {
            rustix::net::send(&connection, payload, SendFlags::NOSIGNAL)?;
        }
        Ok(connection)
    }

    /// One request. `None`: the monitor closed the connection without an answer.
    ///
    /// # Errors
    /// The errno of the connection; see [`means_stopped`].
    pub fn request(&self, command: Command, data: i64, payload: &[u8]) -> lxc_sys::Result<Option<Answer>> {
        self.begin(command, data, payload).raw()
    }

    /// A request whose refusal or silence is an error.
    fn ask(&self, command: Command, data: i64, payload: &[u8]) -> Result<Answer> {
        self.begin(command, data, payload).answer()
    }

    fn ask_fd(&self, command: Command) -> Result<OwnedFd> {
        let mut answer = self.ask(command, 0, &[])?;
        answer.fds.pop().ok_or_else(|| Error::new(Kind::Failed, format!("{command:?}: no descriptor came")))
    }

    fn ask_string(&self, command: Command, payload: &[u8]) -> Result<String> {
        let answer = self.ask(command, 0, payload)?;
        let text = answer.payload.split(|&b| b == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    /// The state; STOPPED when no monitor answers.
    pub fn state(&self) -> Result<State> {
        self.begin(Command::GetState, 0, &[]).state()
    }

    /// Whether the caller may control the container: false only if the monitor refuses.
    pub fn may_control(&self) -> bool {
        !matches!(self.init_pid(), Err(e) if e.kind() == Kind::Denied)
    }

    /// init's pid in the monitor's pid namespace.
    pub fn init_pid(&self) -> Result<Pid> {
        self.begin(Command::GetInitPid, 0, &[]).pid()
    }

    /// A pidfd of init.
    pub fn init_pidfd(&self) -> Result<OwnedFd> {
        self.ask_fd(Command::GetInitPidfd)
    }

    /// CLONE_NEW* of all namespaces that are the container's own.
    pub fn clone_flags(&self) -> Result<u64> {
        Ok(self.ask(Command::GetCloneFlags, 0, &[])?.data as u64)
    }

    /// Asks for a configuration item of the running container.
    pub fn begin_config_item(&self, key: &str) -> Pending {
        self.begin(Command::GetConfigItem, 0, &wire::encode_string(key))
    }

    /// Announces the listener of a seccomp filter: it is sent on the connection, with one byte, and answered by a
    /// header.
    pub fn begin_add_listener(&self) -> lxc_sys::Result<OwnedFd> {
        self.send(Command::SeccompNotifyAddListener, 0, &[])
    }

    /// A configuration item of the running container; `None` when unset or unknown.
    pub fn config_item(&self, key: &str) -> Result<Option<String>> {
        self.begin_config_item(key).item()
    }

    /// The container's name, as its monitor knows it.
    pub fn name(&self) -> Result<String> {
        self.ask_string(Command::GetName, &[])
    }

    /// The container's lxcpath, as its monitor knows it.
    pub fn lxcpath(&self) -> Result<String> {
        self.ask_string(Command::GetLxcpath, &[])
    }

    /// Path of the container's cgroup in a controller's hierarchy. With `limit` the one that
    /// carries the limits, where the server knows the difference.
    pub fn cgroup(&self, controller: &str, limit: bool) -> Result<String> {
        let payload = wire::encode_string(controller);
        if limit && let Ok(path) = self.ask_string(Command::GetLimitCgroup, &payload) {
            return Ok(path);
        }
        self.ask_string(Command::GetCgroup, &payload)
    }

    /// Directory of the container's cgroup2, O_PATH.
    pub fn cgroup2_fd(&self) -> Result<OwnedFd> {
        self.ask_fd(Command::GetCgroup2Fd)
    }

    /// Directory of the cgroup2 that carries the limits, O_PATH.
    pub fn limit_cgroup2_fd(&self) -> Result<OwnedFd> {
        self.ask_fd(Command::GetLimitCgroup2Fd)
    }

    /// The unit of systemd that the container's cgroups are in; `None` where there is none, or the server knows of none.
    pub fn systemd_scope(&self) -> Option<String> {
        self.ask_string(Command::GetSystemdScope, &[]).ok().filter(|unit| !unit.is_empty())
    }

    /// Asks for the directories of all the container's cgroups.
    pub fn begin_cgroup_ctx(&self) -> Pending {
        self.begin(Command::GetCgroupCtx, 0, &wire::cgroup_ctx_request())
    }

    /// Directories of all the container's cgroups.
    pub fn cgroup_ctx(&self) -> Result<Vec<OwnedFd>> {
        self.begin_cgroup_ctx().directories()
    }

    /// Directory of the cgroup that carries a controller's limits, and whether it is cgroup2.
    pub fn limit_cgroup_fd(&self, controller: &str) -> Result<(OwnedFd, bool)> {
        const CGROUP2_SUPER_MAGIC: i32 = 0x6367_7270;
        let request = CgroupFd::request(controller).encode();
        let asked = self.ask(Command::GetLimitCgroupFd, 0, &request);
        let mut answer = asked.map_err(|e| match e.errno() {
            Some(Errno::NOENT) => e.with_hint(format!("the container has no cgroup with {controller}")),
            _ => e,
        })?;
        let described = CgroupFd::decode(&answer.payload);
        match (answer.fds.pop(), described) {
            (Some(fd), Some(d)) => Ok((fd, d.magic == CGROUP2_SUPER_MAGIC)),
            _ => Err(Error::new(Kind::Failed, "GetLimitCgroupFd: no descriptor came")),
        }
    }

    /// Mount of the container's devpts.
    pub fn devpts_fd(&self) -> Result<OwnedFd> {
        self.ask_fd(Command::GetDevptsFd)
    }

    /// Adds a rule to the container's device filter (cgroup v2).
    pub fn add_device_rule(&self, rule: &DeviceRequest) -> Result<()> {
        self.ask(Command::AddBpfDeviceCgroup, 0, &rule.encode()).map(drop)
    }

    /// Reserves a terminal: -1 for any, 0 for the console.
    pub fn tty(&self, number: i32) -> Result<TtyGrant> {
        let mut answer = self.ask(Command::GetTtyFd, number.into(), &[]).map_err(|e| match e.errno() {
            Some(Errno::BADF) => Error::new(Kind::Denied, "Denied access to tty")
                .with_hint("it does not exist or is in use; see lxc.tty.max"),
            _ => e,
        })?;
        let ptx = answer.fds.pop().ok_or_else(|| Error::new(Kind::Denied, "Denied access to tty"))?;
        Ok(TtyGrant { connection: answer.connection, ptx, number: answer.data as i32 })
    }

    /// Reads or clears the console's ring buffer. Upstream's errno are passed on: ENODATA when it is
    /// empty, EFAULT when there is none.
    pub fn console_log(&self, request: ConsoleLogRequest) -> Result<Vec<u8>> {
        Ok(self.ask(Command::ConsoleLog, 0, &request.encode())?.payload)
    }

    /// Tells the monitor, and through it all who wait, of a new state.
    pub fn serve_state(&self, state: State) -> Result<()> {
        self.ask(Command::ServeStateClients, state as i64, &[]).map(drop)
    }

    /// Registers for one message at the next change to a state of the mask.
    pub fn wait_for(&self, states: &StateMask) -> Result<StateWait> {
        let answer = self.ask(Command::AddStateClient, 0, &wire::encode_states(states))?;
        match State::from_number(answer.ret.into()) {
            Some(state) => Ok(StateWait::Now(state)),
            None => Ok(StateWait::Later(StateSubscription(answer.connection))),
        }
    }

    /// Kills the container and waits until its monitor is gone.
    pub fn stop(&self) -> Result<()> {
        match self.request(Command::Stop, 0, &[]) {
            Ok(None) => Ok(()),
            Err(e) if means_stopped(e) => Ok(()),
            Ok(Some(answer)) if answer.ret == 0 => Ok(()),
            Ok(Some(answer)) => {
                let errno = lxc_sys::errno_from(answer.ret.saturating_neg());
                let kind = if errno == Errno::PERM { Kind::Denied } else { Kind::Failed };
                Err(Error::os("Stop", errno).with_kind(kind))
            }
            Err(e) => Err(Error::os("Stop", e)),
        }
    }
}

/// A request that is under way.
#[derive(Debug)]
pub struct Pending {
    command: Command,
    name: String,
    connection: lxc_sys::Result<OwnedFd>,
}

impl Pending {
    /// Waits for the answer. `None`: the monitor closed the connection without one.
    ///
    /// # Errors
    /// The errno of the connection; see [`means_stopped`].
    pub fn raw(self) -> lxc_sys::Result<Option<Answer>> {
        read_answer(self.connection?, self.command)
    }

    /// Waits for the answer; a refusal or silence is an error.
    pub fn answer(self) -> Result<Answer> {
        let (command, name) = (self.command, self.name.clone());
        match self.raw() {
            Ok(Some(answer)) if answer.ret >= 0 => Ok(answer),
            Ok(Some(answer)) if answer.ret == -Errno::PERM.raw_os_error() => {
                Err(Error::os(format!("{command:?}"), Errno::PERM).with_kind(Kind::Denied))
            }
            Ok(Some(answer)) => {
                Err(Error::os(format!("{command:?}"), lxc_sys::errno_from(answer.ret.saturating_neg())))
            }
            Ok(None) => Err(Error::new(Kind::Failed, format!("{command:?}: the monitor gave no answer"))),
            Err(e) if means_stopped(e) => Err(not_running(&name)),
            Err(e) => Err(Error::os(format!("{command:?}"), e)),
        }
    }

    /// The state, of GET_STATE; STOPPED when no monitor answers.
    pub fn state(self) -> Result<State> {
        match self.answer() {
            Ok(answer) => State::from_number(answer.data)
                .ok_or_else(|| Error::new(Kind::Failed, "the monitor sent an unknown state")),
            Err(e) if e.kind() == Kind::NotRunning => Ok(State::Stopped),
            Err(e) => Err(e),
        }
    }

    /// The pid, of GET_INIT_PID.
    pub fn pid(self) -> Result<Pid> {
        let name = self.name.clone();
        let pid = i32::try_from(self.answer()?.data).ok().and_then(Pid::from_raw);
        pid.ok_or_else(|| Error::new(Kind::NotRunning, format!("{name} has no init yet")))
    }

    /// The mask, of GET_CLONE_FLAGS.
    pub fn flags(self) -> Result<u64> {
        Ok(self.answer()?.data as u64)
    }

    /// The directories, of GET_CGROUP_CTX.
    pub fn directories(self) -> Result<Vec<OwnedFd>> {
        Ok(self.answer()?.fds)
    }

    /// The text, of GET_CONFIG_ITEM; `None` when unset or unknown.
    pub fn item(self) -> Result<Option<String>> {
        let name = self.name.clone();
        match self.raw() {
            Ok(Some(answer)) if answer.ret == 0 && !answer.payload.is_empty() => {
                let text = answer.payload.strip_suffix(&[0]).unwrap_or(&answer.payload);
                Ok(Some(String::from_utf8_lossy(text).into_owned()))
            }
            Ok(_) => Ok(None),
            Err(e) if means_stopped(e) => Err(not_running(&name)),
            Err(e) => Err(Error::os("GetConfigItem", e)),
        }
    }
}

fn not_running(name: &str) -> Error {
    Error::new(Kind::NotRunning, format!("{name} is not running"))
}

fn read_answer(connection: OwnedFd, command: Command) -> lxc_sys::Result<Option<Answer>> {
    let mut bytes = [0; HEADER_LEN];
    let message = socket::receive(connection.as_fd(), &mut bytes, RecvFlags::WAITALL)?;
    if message.len != HEADER_LEN {
        return Ok(None);
    }
    let header = Header::decode(&bytes);
    let len = usize::try_from(header.datalen).map_err(|_| Errno::INVAL)?;
    if len > MAX_PAYLOAD && command != Command::ConsoleLog {
        return Err(Errno::TOOBIG);
    }
    let mut payload = vec![0; len];
    if len > 0 && !receive_exact(&connection, &mut payload)? {
        return Ok(None);
    }
    Ok(Some(Answer { ret: header.code, data: header.data, payload, fds: message.fds, connection }))
}
