//! Running a process inside a running container (spec: attach and console, sections 1 to 6).
//!
//! Three processes: the caller stays outside; a transient one is born in the container's cgroups
//! and joins its namespaces; the attached one is made by it as a child of the caller, so that it is
//! in the container's pid namespace and its exit status is the caller's to wait for.

mod context;
mod inside;
pub mod protect;

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use lxc_config::NamespaceKind;
use lxc_sys::clone::{Cloned, Fork, SIBLING, SingleThreaded, clone3, exit_now, fork};
use lxc_sys::{Errno, process, signal, socket};
use rustix::net::{RecvFlags, SocketType};
use rustix::process::{Pid, WaitId, WaitIdOptions};

use self::context::Context;
use crate::cgroup::group;
use crate::cgroup::scope;
use crate::container::Container;
use crate::error::{Doing, Error, Kind, Result, strerror};
use crate::lifecycle::stop::pid_of;
use crate::plan::limits;
use crate::plan::namespaces::flag;
use crate::protocol::Client;
use crate::rootfs::enter_directory;
use crate::spawn::child::write_proc;
use crate::spawn::parent::apply_limits;
use crate::terminal::proxy::Proxy;
use crate::terminal::pty::{self, RawMode};

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// A program with arguments.
    Command(Vec<CString>),
    /// The user's shell.
    Shell,
}

/// How it is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// CLONE_NEW* to join; `None` is all that the container has.
    pub namespaces: Option<u64>,
    /// Into the container's cgroups.
    pub move_to_cgroup: bool,
    /// With no capability that init can never have.
    pub drop_capabilities: bool,
    /// Under the container's seccomp policy and label.
    pub confine: bool,
    /// The label to run it under; `None` is init's. Without effect unless it is confined.
    pub label: Option<String>,
    /// Replace /proc and /sys where the mount namespace is not joined.
    pub remount_proc_sys: bool,
    /// 32-bit (true) or 64-bit personality; `None` is the container's.
    pub personality: Option<bool>,
    /// Begin with an empty environment.
    pub clear_env: bool,
    /// Variables kept all the same.
    pub keep_vars: Vec<String>,
    /// `NAME=VALUE` set last; `NAME` removes it.
    pub extra_vars: Vec<String>,
    /// User inside.
    pub uid: Option<u32>,
    /// Group inside.
    pub gid: Option<u32>,
    /// Supplementary groups inside.
    pub groups: Vec<u32>,
    /// Working directory inside; `None` is the caller's, where it exists there.
    pub cwd: Option<PathBuf>,
    /// Give it a terminal of its own for each of stdin, stdout and stderr that is one.
    pub terminal: bool,
    /// File that terminal output is appended to.
    pub pty_log: Option<PathBuf>,
    /// Set no_new_privs even if the container has not.
    pub no_new_privs: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            namespaces: None,
            move_to_cgroup: true,
            drop_capabilities: true,
            confine: true,
            label: None,
            remount_proc_sys: false,
            personality: None,
            clear_env: false,
            keep_vars: Vec::new(),
            extra_vars: Vec::new(),
            uid: None,
            gid: None,
            groups: Vec::new(),
            cwd: None,
            terminal: false,
            pty_log: None,
            no_new_privs: false,
        }
    }
}

impl Container {
    /// Runs a payload in the container and waits for it. Returns its exit status, 128+n for signal n.
    ///
    /// # Errors
    /// The container does not run, or could not be entered.
    pub fn attach(&self, options: &Options, payload: &Payload) -> Result<i32> {
        let attached = self.attach_start(options, payload)?;
        attached.wait(options)
    }

    /// Runs a payload in the container without waiting.
    pub fn attach_start(&self, options: &Options, payload: &Payload) -> Result<Attached> {
        let context = self.attach_context(options)?;
        let (ours, theirs) = socket::pair(SocketType::SEQPACKET).doing(|| "make a socket pair")?;
        let transient = match make_transient(&context, &self.client())? {
            Fork::Child(alone) => {
                drop(ours);
                exit_now(transient(alone, &context, options, payload, &theirs))
            }
            Fork::Parent(pid) => pid,
        };
        drop(theirs);
        let prepared = self.constrain(transient).and_then(|()| {
            socket::send(ours.as_fd(), b"G", &[], false).doing(|| "let the process go").map(drop)
        });
        let attached = prepared.and_then(|()| receive_attached(&ours));
        let _ = rustix::process::waitpid(Some(transient), rustix::process::WaitOptions::empty());
        let (pid, pidfd, failure) = attached?;
        // It goes on when we know it.
        let Context { terminal, signal_mask, .. } = context;
        // Only the attached process keeps the other side: its end is the terminal's end.
        let terminal = terminal.map(|t| t.ptx);
        Ok(Attached { pid, pidfd, failure, channel: ours, terminal, signal_mask })
    }

    /// lxc.proc.* and lxc.prlimit.* of the loaded configuration; the attached process inherits them.
    fn constrain(&self, pid: Pid) -> Result<()> {
        for (name, value) in &self.config.values.procs {
            let path = PathBuf::from(format!("/proc/{}", pid.as_raw_pid())).join(limits::dotted_path(name)?);
            write_proc(&path, value, &format!("lxc.proc.{name} = {value}"))?;
        }
        apply_limits(&limits::resolve(&self.config.values)?, pid)
    }
}

/// The transient process, born in the container's cgroup v2 where this process may clone.
fn make_transient(context: &Context, client: &Client) -> Result<Fork> {
    let what = || "make the transient process";
    let Some(unified) = &context.groups.unified else { return fork().doing(what) };
    match SingleThreaded::check().and_then(|alone| clone3(alone, 0, Some(unified.as_fd()))) {
        Ok(Cloned::Child(alone)) => Ok(Fork::Child(alone)),
        Ok(Cloned::Parent(pid, _)) => Ok(Fork::Parent(pid)),
        // Several threads, an old kernel, or no permission at the common ancestor.
        Err(e) => {
            log::debug!("clone into the container's cgroup: {e}; moving there instead");
            let made = fork().doing(what)?;
            if let Fork::Parent(pid) = &made
                && let Err(e) = migrate(context, client, *pid)
            {
                let _ = signal::send(*pid, libc::SIGKILL);
                let _ = rustix::process::waitpid(Some(*pid), rustix::process::WaitOptions::empty());
                return Err(e);
            }
            Ok(made)
        }
    }
}

/// Moves a process to the container's cgroup v2. An ordinary user may not move one from another session: there the
/// user's systemd brings it into the container's scope first.
fn migrate(context: &Context, client: &Client, pid: Pid) -> Result<()> {
    let refused = match context.groups.migrate(pid) {
        Err(e) if matches!(e.errno(), Some(Errno::ACCESS | Errno::PERM)) => e,
        result => return result,
    };
    let Some(unit) = client.systemd_scope() else {
        return Err(refused.with_hint(
            "the cgroup of this session and the container's are not both this user's: use -e CGROUP",
        ));
    };
    scope::attach(&unit, pid)?;
    context.groups.migrate(pid)
}

/// The transient process: cgroups, namespaces, then the attached process as a sibling.
fn transient(
    alone: SingleThreaded,
    context: &Context,
    options: &Options,
    payload: &Payload,
    channel: &OwnedFd,
) -> i32 {
    match enter(alone, context, options, payload, channel) {
        Ok(()) => 0,
        Err(e) => {
            let _ = socket::send(channel.as_fd(), &[b"F", e.to_bytes().as_slice()].concat(), &[], false);
            1
        }
    }
}

fn enter(
    alone: SingleThreaded,
    context: &Context,
    options: &Options,
    payload: &Payload,
    channel: &OwnedFd,
) -> Result<()> {
    let mut go = [0; 1];
    let message =
        socket::receive(channel.as_fd(), &mut go, RecvFlags::empty()).doing(|| "wait for the caller")?;
    if message.len == 0 {
        return Err(Error::new(Kind::Failed, "the caller is gone"));
    }
    group::join(&context.groups.tasks)?;
    let cwd = match &options.cwd {
        Some(dir) => Some(dir.clone()),
        None => std::env::current_dir().ok(),
    };
    // From here on the container's root could look into this process: not while it holds what is the
    // host's. Executing the payload makes it an ordinary process again.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .doing(|| "hide from the container")?;
    join_namespaces(context)?;
    close_hosts_descriptors(context, channel)?;
    // Without such a directory in the container the process begins in its root.
    if let Some(dir) = cwd
        && let Err(e) = enter_directory(&dir)
    {
        log::info!("change to {} in the container: {e}", dir.display());
        rustix::process::chdir("/").doing(|| "change to /")?;
    }
    match clone3(alone, SIBLING, None).doing(|| "make the attached process")? {
        Cloned::Child(_) => exit_now(inside::run(context, options, payload, channel)),
        Cloned::Parent(pid, pidfd) => {
            let bytes = [b"P", pid.as_raw_pid().to_ne_bytes().as_slice()].concat();
            socket::send(channel.as_fd(), &bytes, &[pidfd.as_fd()], false)
                .doing(|| "tell the caller")
                .map(drop)
        }
    }
}

/// Nothing of the host's but stdio, the channel to the caller and the terminal goes further.
fn close_hosts_descriptors(context: &Context, channel: &OwnedFd) -> Result<()> {
    use std::os::fd::AsRawFd;
    let mut keep = vec![channel.as_raw_fd()];
    keep.extend(context.terminal.iter().map(|t| t.pty.as_raw_fd()));
    keep.extend(context.listener_line.as_ref().map(AsRawFd::as_raw_fd));
    crate::log::forget_file();
    lxc_sys::process::close_all_but(keep, 2).doing(|| "close descriptors")
}

fn join_namespaces(context: &Context) -> Result<()> {
    if context.namespaces == 0 {
        return Ok(());
    }
    match process::setns(context.pidfd.as_fd(), context.namespaces) {
        Ok(()) => return Ok(()),
        // Kernels before 5.8, or one of them is our own already.
        Err(Errno::INVAL | Errno::BADF) => {}
        Err(e) => return Err(Error::os("join the container's namespaces", e)),
    }
    let pid = pid_of(&context.pidfd)?;
    let mut files = Vec::new();
    for kind in NamespaceKind::ALL {
        if context.namespaces & flag(kind) != 0 {
            let path = format!("/proc/{pid}/ns/{}", kind.name());
            let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
            let fd = rustix::fs::open(&*path, flags, rustix::fs::Mode::empty())
                .doing(|| format!("open {path}"))?;
            let own = format!("/proc/self/ns/{}", kind.name());
            let same = rustix::fs::stat(&*own).ok().map(|s| s.st_ino)
                == rustix::fs::fstat(&fd).ok().map(|s| s.st_ino);
            if !same {
                files.push((kind, fd));
            }
        }
    }
    for (kind, fd) in files {
        process::setns(fd.as_fd(), flag(kind)).doing(|| format!("join the {} namespace", kind.name()))?;
    }
    Ok(())
}

/// What was heard of the attached process: from the transient process its pid, from itself perhaps why it ended
/// before the payload, in whatever order.
fn receive_attached(channel: &OwnedFd) -> Result<(Pid, OwnedFd, Option<Error>)> {
    let mut failure = None;
    loop {
        let mut buffer = [0; 4096];
        let mut message = socket::receive(channel.as_fd(), &mut buffer, RecvFlags::empty())
            .doing(|| "wait for the attached process")?;
        match (&buffer[..message.len], message.fds.pop()) {
            ([b'P', pid @ ..], Some(pidfd)) => {
                let pid = pid.try_into().ok().map(i32::from_ne_bytes).and_then(Pid::from_raw);
                let pid = pid.ok_or_else(|| Error::new(Kind::Failed, "the attached process has no pid"))?;
                return Ok((pid, pidfd, failure));
            }
            ([b'E', error @ ..], _) => failure = Some(Error::from_bytes(error)),
            ([b'F', error @ ..], _) => return Err(Error::from_bytes(error)),
            _ => return Err(Error::new(Kind::Failed, "the process ended while it entered the container")),
        }
    }
}

/// A process that was attached.
#[derive(Debug)]
pub struct Attached {
    /// Its pid here; a child of this process.
    pub pid: Pid,
    pidfd: OwnedFd,
    channel: OwnedFd,
    /// Why the payload was not executed, where that is known already.
    failure: Option<Error>,
    terminal: Option<OwnedFd>,
    signal_mask: signal::SignalSet,
}

impl Attached {
    /// Waits for the end, serving the terminal meanwhile.
    pub fn wait(mut self, options: &Options) -> Result<i32> {
        let mut buffer = [0; 4096];
        // Its end means that the payload was executed; before, why it could not be prepared.
        let mut failure = self.failure.take();
        if failure.is_none()
            && let Ok(m) = socket::receive(self.channel.as_fd(), &mut buffer, RecvFlags::empty())
            && let [b'E', error @ ..] = &buffer[..m.len]
        {
            failure = Some(Error::from_bytes(error));
        }
        let mut served = Ok(());
        if failure.is_none() {
            if let Some(terminal) = self.terminal.take() {
                served = serve_terminal(&terminal, options);
                // Whoever is left hears that the terminal is gone.
                drop(terminal);
            } else {
                // What is typed is for the attached process alone.
                signal::ignore(libc::SIGINT);
                signal::ignore(libc::SIGQUIT);
            }
        }
        let status = rustix::io::retry_on_intr(|| {
            rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED)
        })
        .doing(|| "wait for the attached process")?;
        signal::set_blocked(&self.signal_mask).doing(|| "restore the signal mask")?;
        served?;
        match failure {
            Some(e) if e.kind() == Kind::Failed && e.errno().is_some_and(|n| exec_status(n) != 255) => {
                // Scripts know this order of the two halves.
                log::error!("{} - {}", e.errno().map_or_else(String::new, strerror), e.what());
                Ok(e.errno().map_or(255, exec_status))
            }
            Some(e) => Err(e),
            None => Ok(match status.as_ref().and_then(|s| s.terminating_signal()) {
                Some(signal) => 128 + signal,
                None => status.and_then(|s| s.exit_status()).unwrap_or(1),
            }),
        }
    }
}

/// What a shell returns for a command that cannot be executed.
fn exec_status(errno: Errno) -> i32 {
    match errno {
        Errno::NOENT => 127,
        Errno::ACCESS | Errno::NOEXEC => 126,
        _ => 255,
    }
}

fn serve_terminal(ptx: &OwnedFd, options: &Options) -> Result<()> {
    let log = match &options.pty_log {
        Some(path) => {
            use std::os::unix::fs::OpenOptionsExt;
            let file = std::fs::File::options().append(true).create(true).mode(0o640).open(path);
            Some(file.doing(|| format!("open {}", path.display()))?)
        }
        None => None,
    };
    let tty = pty::controlling_terminal();
    let (stdin, stdout) = (rustix::stdio::stdin(), rustix::stdio::stdout());
    let is_tty = |fd: std::os::fd::BorrowedFd<'static>| rustix::termios::isatty(fd).then_some(fd);
    let input = is_tty(stdin);
    let output = is_tty(stdout).or_else(|| is_tty(rustix::stdio::stderr()));
    let peer = tty.as_ref().map(AsFd::as_fd);
    let (input, output) = (peer.or(input), peer.or(output));
    if let Some(from) = output.or(input) {
        pty::copy_window_size(from, ptx.as_fd());
    }
    let raw = input.and_then(RawMode::enter);
    let ended = Proxy { input, output, ptx: ptx.as_fd(), log, escape: None, outlive_input: true }.run();
    drop(raw);
    ended.map(drop)
}
