//! What each command of the protocol does (spec: command protocol, section 3).

use std::os::fd::{AsFd, OwnedFd};

use lxc_sys::{Errno, signal};

use super::event_loop::Running;
use super::server::{Kept, Reply, Request, only_path};
use crate::cgroup::{Group, Version, freezer};
use crate::protocol::wire::{
    self, CGROUP_FD_LEN, CgroupFd, Command, ConsoleLogRequest, DeviceRequest, decode_states, decode_string,
};
use crate::spawn::parent::parse_rule;
use crate::state::{MAX_STATE, State};

/// Magic numbers of GET_CGROUP_FD.
const MAGIC_V1: i32 = 0x27_e0eb;
const MAGIC_V2: i32 = 0x6367_7270;

/// Answers one request.
pub fn answer(running: &mut Running<'_>, mut request: Request) -> Reply {
    let Some(command) = Command::from_number(request.command) else {
        return Reply::errno(Errno::NOSYS);
    };
    log::trace!("request {command:?}");
    match command {
        Command::GetTtyFd => tty(running, request.data as i32),
        Command::TerminalWinch => Reply::default(),
        Command::Stop => stop(running),
        Command::GetState => Reply::value(running.actual_state() as i64),
        Command::GetInitPid => Reply::value(running.spawned.pid.as_raw_pid().into()),
        Command::GetCloneFlags => Reply::value(running.plan.namespaces.new as i64),
        Command::GetCgroup => cgroup_path(running, &request.payload, false),
        Command::GetLimitCgroup => cgroup_path(running, &request.payload, true),
        Command::GetConfigItem => config_item(running, &request.payload),
        Command::GetName => Reply::payload(wire::encode_string(&running.plan.name)),
        Command::GetLxcpath => Reply::payload(wire::encode_string(&running.plan.lxcpath.to_string_lossy())),
        Command::AddStateClient => add_state_client(running, &request.payload),
        Command::ConsoleLog => console_log(running, &request.payload),
        Command::ServeStateClients => serve_states(running, request.data),
        Command::SeccompNotifyAddListener => add_listener(running, request.fds.pop()),
        Command::AddBpfDeviceCgroup => device_rule(running, &request.payload),
        Command::Freeze => freeze(running, true, request.data),
        Command::Unfreeze => freeze(running, false, request.data),
        Command::GetCgroup2Fd => unified(running, |g| g.dir()),
        Command::GetLimitCgroup2Fd => unified(running, |g| &g.limit_dir),
        Command::GetInitPidfd => Reply::fd(Some(running.spawned.pidfd.as_fd())),
        Command::GetDevptsFd => Reply::fd(running.spawned.devpts.as_ref().map(AsFd::as_fd)),
        Command::GetSeccompNotifyFd => {
            Reply::fd(running.spawned.notifier.as_ref().and_then(|n| n.first_listener()))
        }
        Command::GetCgroupCtx => cgroup_ctx(running, &request.payload),
        Command::GetCgroupFd => cgroup_fd(running, &request.payload, false),
        Command::GetLimitCgroupFd => cgroup_fd(running, &request.payload, true),
        Command::GetSystemdScope => match &running.layout.scope {
            Some(scope) => Reply::payload(wire::encode_string(&scope.unit)),
            None => Reply::errno(Errno::INVAL),
        },
    }
}

fn tty(running: &mut Running<'_>, wanted: i32) -> Reply {
    let refused = || Reply::errno(Errno::BADF);
    if wanted == 0 {
        return match running.console.connect() {
            Ok(ptx) => Reply { keep: Some(Kept::Console), ..Reply::fd(Some(ptx)) },
            Err(_) => refused(),
        };
    }
    let count = running.spawned.ttys.len();
    let number = match usize::try_from(wanted) {
        Ok(n) => Some(n).filter(|&n| n <= count && !running.tty_is_taken(n)),
        Err(_) => (1..=count).find(|&n| !running.tty_is_taken(n)),
    };
    match number {
        Some(n) => Reply {
            header: Some((0, n as i64)),
            keep: Some(Kept::Tty(n)),
            ..Reply::fd(Some(running.spawned.ttys[n - 1].ptx.as_fd()))
        },
        None => refused(),
    }
}

fn stop(running: &mut Running<'_>) -> Reply {
    let number = match running.plan.values.signals.stop {
        0 => libc::SIGKILL,
        other => other,
    };
    match signal::send_to_pidfd(running.spawned.pidfd.as_fd(), number) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(e) => return Reply::errno(e),
    }
    running.thaw();
    Reply { keep: Some(Kept::Stop), ..Reply::default() }
}

/// The filter of an attached process asks the same proxy as init's; without one nobody would answer.
fn add_listener(running: &mut Running<'_>, listener: Option<OwnedFd>) -> Reply {
    let proxied = running.plan.values.seccomp.notify_proxy.is_some();
    let (Some(notifier), Some(listener), true) = (&mut running.spawned.notifier, listener, proxied) else {
        return Reply::errno(Errno::INVAL);
    };
    match notifier.add(listener) {
        Ok(()) => Reply::ret(0),
        Err(e) => Reply::errno(e.errno().unwrap_or(Errno::INVAL)),
    }
}

/// The group of a controller; v2 also stands for the device filter and the freezer.
fn group_of<'a>(running: &'a Running<'_>, controller: &str) -> Option<&'a Group> {
    let named = |g: &&Group| {
        let hierarchy = &running.layout.hierarchies[g.hierarchy];
        let builtin = g.version == Version::V2
            && running.layout.is_unified()
            && matches!(controller, "devices" | "freezer" | "cgroup");
        builtin
            || hierarchy
                .controllers
                .iter()
                .any(|c| c == controller || c.strip_prefix("name=") == Some(controller))
    };
    running.payload.groups.iter().find(named)
}

fn cgroup_path(running: &Running<'_>, payload: &[u8], limit: bool) -> Reply {
    let group = if payload.is_empty() {
        running.payload.groups.iter().find(|g| {
            g.version == Version::V2 && running.layout.hierarchies[g.hierarchy].controllers.is_empty()
        })
    } else {
        match decode_string(payload) {
            Some(controller) => group_of(running, controller),
            None => return Reply::errno(Errno::INVAL),
        }
    };
    // No header at all for an unknown controller, as upstream.
    let Some(group) = group else { return Reply::default() };
    let hierarchy = &running.layout.hierarchies[group.hierarchy];
    let mut path = hierarchy.base.clone();
    if !path.is_empty() {
        path.push('/');
    }
    path.push_str(&group.path);
    if let (false, Some(inner)) = (limit, &running.payload.inner) {
        path = format!("{path}/{inner}");
    }
    if !running.layout.is_unified() {
        path.insert(0, '/');
    }
    Reply::payload(wire::encode_string(&path))
}

fn config_item(running: &Running<'_>, payload: &[u8]) -> Reply {
    let Some(key) = decode_string(payload) else { return Reply::errno(Errno::INVAL) };
    match running.config.get(key) {
        Ok(value) if !value.is_empty() => Reply::payload(wire::encode_string(&value)),
        _ => Reply::ret(-1),
    }
}

fn add_state_client(running: &Running<'_>, payload: &[u8]) -> Reply {
    let Some(mask) = decode_states(payload) else { return Reply::errno(Errno::INVAL) };
    let state = running.actual_state();
    // A value of 2 waits for the next change, whatever the state is now.
    let now = mask[state as usize] == 1;
    let answer = if now { state as i32 } else { MAX_STATE as i32 };
    // The client closes the connection; one that is answered waits for nothing.
    let mask = if now { [0; MAX_STATE] } else { mask };
    Reply { header: Some((answer, answer.into())), keep: Some(Kept::States(mask)), ..Reply::default() }
}

fn console_log(running: &mut Running<'_>, payload: &[u8]) -> Reply {
    let Some(request) = ConsoleLogRequest::decode(payload) else { return Reply::errno(Errno::INVAL) };
    running.console.read_output();
    match running.console.serve_log(request) {
        Ok(bytes) => Reply::payload(bytes),
        Err(e) => Reply::errno(e),
    }
}

fn serve_states(running: &mut Running<'_>, data: i64) -> Reply {
    let Some(state) = State::from_number(data) else { return Reply::errno(Errno::INVAL) };
    running.set_state(state);
    Reply::ret(0)
}

fn device_rule(running: &mut Running<'_>, payload: &[u8]) -> Reply {
    let Some(request) = DeviceRequest::decode(payload) else { return Reply::errno(Errno::INVAL) };
    let number = |n: i32| if n < 0 { "*".to_string() } else { n.to_string() };
    let text = match (request.kind, request.major, request.minor) {
        (b'a', -1, -1) => "a".to_string(),
        (kind, major, minor) => {
            format!("{} {}:{} {}", char::from(kind), number(major), number(minor), request.access)
        }
    };
    let group = running.payload.groups.iter().find(|g| g.version == Version::V2);
    let (Some(group), true) = (group, running.layout.is_unified()) else { return Reply::ret(-1) };
    let updated = parse_rule(&text, request.allow)
        .and_then(|rule| running.spawned.filter.update(group.limit_dir.as_fd(), &[rule]));
    match updated {
        Ok(()) => Reply::ret(0),
        Err(e) => {
            log::warn!("device rule {text}: {e}");
            Reply::ret(-1)
        }
    }
}

fn freeze(running: &mut Running<'_>, frozen: bool, timeout: i64) -> Reply {
    if !running.layout.is_unified() {
        return Reply::errno(Errno::NOENT);
    }
    let Some(group) = running.payload.groups.iter().find(|g| g.version == Version::V2) else {
        return Reply::errno(Errno::NOENT);
    };
    // The monitor serves others too: it waits two seconds at the most.
    const LONGEST: i64 = 2000;
    let milliseconds = if timeout < 0 { LONGEST } else { timeout.min(LONGEST) };
    let timeout = std::time::Duration::from_millis(milliseconds as u64);
    match freezer::set_frozen_v2(group.limit_dir.as_fd(), frozen, Some(timeout)) {
        Ok(()) => Reply::ret(0),
        Err(e) => Reply::errno(e.errno().unwrap_or(Errno::TIMEDOUT)),
    }
}

fn unified(running: &Running<'_>, dir: fn(&Group) -> &OwnedFd) -> Reply {
    if !running.layout.is_unified() {
        return Reply::errno(Errno::INVAL);
    }
    let group = running.payload.groups.iter().find(|g| g.version == Version::V2);
    match group {
        Some(group) => Reply::directory(dir(group)),
        None => Reply::fd(None),
    }
}

/// Bit 0: device filter, bit 1: freezer; said of the unified layout only.
fn utilities(running: &Running<'_>) -> u32 {
    if running.layout.is_unified() && rustix::process::geteuid().is_root() { 3 } else { 0 }
}

fn cgroup_ctx(running: &Running<'_>, payload: &[u8]) -> Reply {
    if payload.get(wire::CGROUP_CTX_LEN..).is_some_and(|rest| rest.iter().any(|&b| b != 0)) {
        return Reply::errno(Errno::INVAL);
    }
    let copies: lxc_sys::Result<Vec<OwnedFd>> =
        running.payload.groups.iter().take(wire::CGROUP_CTX_FDS).map(|g| only_path(g.dir())).collect();
    let fds = match copies {
        Ok(fds) if fds.is_empty() => return Reply::errno(Errno::NOENT),
        Ok(fds) => fds,
        Err(e) => return Reply::errno(e),
    };
    let numbers: Vec<i32> = running.payload.groups.iter().map(|g| fd_number(g.dir())).collect();
    let bytes = wire::encode_cgroup_ctx(running.layout.kind as i32, utilities(running), &numbers);
    let length = payload.len().min(bytes.len());
    Reply { fds, ..Reply::payload(bytes[..length].to_vec()) }
}

fn fd_number(fd: &OwnedFd) -> i32 {
    use std::os::fd::AsRawFd;
    fd.as_raw_fd()
}

fn cgroup_fd(running: &Running<'_>, payload: &[u8], limit: bool) -> Reply {
    let Some(mut described) = CgroupFd::decode(payload) else { return Reply::errno(Errno::INVAL) };
    if described.controller.is_empty() {
        return Reply::errno(Errno::INVAL);
    }
    let Some(group) = group_of(running, &described.controller) else { return Reply::errno(Errno::NOENT) };
    let magic = if group.version == Version::V2 { MAGIC_V2 } else { MAGIC_V1 };
    if described.magic != 0 && described.magic != magic {
        return Reply::errno(Errno::INVAL);
    }
    let dir = if limit { &group.limit_dir } else { group.dir() };
    described.layout = running.layout.kind as i32;
    described.utilities = utilities(running);
    described.magic = magic;
    described.fd = fd_number(dir);
    let bytes = described.encode();
    let length = payload.len().min(CGROUP_FD_LEN);
    Reply { payload: bytes[..length].to_vec(), ..Reply::directory(dir) }
}
