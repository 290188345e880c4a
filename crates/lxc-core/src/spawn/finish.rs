//! The last steps of the child, after which nothing can be reported but a failed exec: descriptors,
//! environment, ids. The one place where privileges are dropped.

use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;

use lxc_sys::exec::{CArray, execve};
use lxc_sys::{Errno, process, signal};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Gid, Uid};

use super::small_init;
use crate::error::{Doing, Error, Result};
use crate::plan::Plan;
use crate::terminal::pty::{Pty, stdio};

/// Where programs without a slash are looked for: init's environment has no PATH.
const SEARCH: [&str; 4] = ["/bin", "/usr/bin", "/sbin", "/usr/sbin"];

/// Becomes init: executes it, or is the small one. Returns why it could not.
pub fn execute(
    plan: &Plan,
    channel: BorrowedFd<'_>,
    console: Option<&Pty>,
    ttys: &[Pty],
    umask: Mode,
) -> Error {
    match prepare(plan, console) {
        Ok(()) => {}
        Err(e) => return e,
    }
    let environment = plan.environment.for_init(&tty_names(ttys));
    rustix::process::umask(umask);
    if plan.boots() {
        if let Err(e) = drop_privileges(plan).and_then(|()| monitor_lives(channel)) {
            return e;
        }
        run(&plan.command, &environment, plan.options.last_fd_of_init())
    } else {
        small_init::run(plan, &environment)
    }
}

/// Between the change of ids and the new parent-death signal the monitor may have died unnoticed.
fn monitor_lives(channel: BorrowedFd<'_>) -> Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec};
    let mut fds = [PollFd::new(&channel, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    match rustix::event::poll(&mut fds, Some(&now)).doing(|| "look at the monitor")? {
        0 => Ok(()),
        _ => Err(Error::new(crate::error::Kind::Failed, "the monitor is gone")),
    }
}

/// Names of terminals below /dev, for `container_ttys`.
pub fn tty_names(ttys: &[Pty]) -> Vec<String> {
    ttys.iter().filter_map(|t| t.number().ok()).map(|n| format!("pts/{n}")).collect()
}

/// stdio.
fn prepare(plan: &Plan, console: Option<&Pty>) -> Result<()> {
    let what = || "set up stdin, stdout and stderr";
    if let (true, Some(console)) = (plan.stdio_is_console(), console) {
        for (_, number) in stdio() {
            process::dup_to(as_fd(console), number).doing(what)?;
        }
    } else if let (false, Some(console)) = (plan.options.daemonize, console) {
        // lxc-execute in the foreground: pipes stay pipes, terminals become the container's.
        for (fd, number) in stdio() {
            if rustix::termios::isatty(fd) {
                process::dup_to(as_fd(console), number).doing(what)?;
            }
        }
    } else if plan.options.daemonize {
        // The container's own; the host's where it has none.
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        if let Ok(null) = null {
            for (_, number) in stdio() {
                process::dup_to(std::os::fd::AsFd::as_fd(&null), number).doing(what)?;
            }
        }
    }
    // Root of the container may not own what its caller gave it; that is no reason to fail.
    let uid = Uid::from_raw(plan.identity.uid);
    if plan.stdio_is_console() {
        for (fd, _) in stdio() {
            let _ = rustix::fs::fchown(fd, Some(uid), None);
        }
    }
    Ok(())
}

fn as_fd(pty: &Pty) -> BorrowedFd<'_> {
    std::os::fd::AsFd::as_fd(&pty.pty)
}

/// Changes real, effective and saved ids. `groups`: `None` leaves the supplementary groups.
pub fn set_ids(uid: u32, gid: u32, groups: Option<&[u32]>) -> Result<()> {
    if let Some(groups) = groups {
        let list: Vec<Gid> = groups.iter().map(|&g| Gid::from_raw(g)).collect();
        match rustix::thread::set_thread_groups(&list) {
            // setgroups is denied in the user namespace of an ordinary user: there is nothing to drop to.
            Err(Errno::PERM) if groups.is_empty() => {}
            result => result.doing(|| format!("set the supplementary groups {groups:?}"))?,
        }
    }
    let gid = Gid::from_raw(gid);
    rustix::thread::set_thread_res_gid(gid, gid, gid)
        .doing(|| format!("switch to group {}", gid.as_raw()))?;
    let uid = Uid::from_raw(uid);
    rustix::thread::set_thread_res_uid(uid, uid, uid).doing(|| format!("switch to user {}", uid.as_raw()))
}

/// Empties the inheritable and ambient sets: at exec they would give back what the bounding set lost
/// (capabilities(7), transformation during execve).
pub fn drop_inheritable() -> Result<()> {
    let what = || "empty the inheritable capabilities";
    let mut sets = rustix::thread::capabilities(None).doing(what)?;
    if !sets.inheritable.is_empty() {
        sets.inheritable = rustix::thread::CapabilitySet::empty();
        rustix::thread::set_capabilities(None, sets).doing(what)?;
    }
    match rustix::thread::clear_ambient_capability_set() {
        // Kernels before 4.3 have none.
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(e) => Err(Error::os(what(), e)),
    }
}

/// From the root of the container to the user that init runs as.
pub fn drop_privileges(plan: &Plan) -> Result<()> {
    let identity = &plan.identity;
    drop_inheritable()?;
    set_ids(identity.uid, identity.gid, Some(&identity.groups))?;
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable)
        .doing(|| "stay dumpable")?;
    // The change of ids cleared it.
    let death = plan.values.monitor_signal_pdeath.unwrap_or(libc::SIGKILL);
    signal::set_parent_death_signal(death).doing(|| "set the parent-death signal")
}

/// Executes a command with an environment, keeping descriptors up to `last_fd`; `None` keeps all that
/// the caller of the start left open for others. Everything of this program's own goes at exec, the channel to the monitor with it, which is how it learns that exec succeeded.
pub fn run(command: &[CString], environment: &[CString], last_fd: Option<u32>) -> Error {
    let Some(program) = command.first() else { return Error::invalid("the command to run is empty") };
    let what = || format!("execute {}", program.to_string_lossy());
    if let Some(last) = last_fd
        && let Err(e) = process::close_on_exec_from(last + 1)
    {
        return Error::os("mark descriptors close-on-exec", e);
    }
    let (argv, env) = (CArray::new(command), CArray::new(environment));
    let path_variable = environment.iter().find_map(|v| v.to_bytes().strip_prefix(b"PATH="));
    let errno = if program.to_bytes().contains(&b'/') {
        execve(program, &argv, &env)
    } else {
        search(program, path_variable, &argv, &env)
    };
    let error = Error::os(what(), errno);
    match errno {
        Errno::NOENT => {
            error.with_hint("the program, or the interpreter or loader it names, is not in the container")
        }
        Errno::NOEXEC => error.with_hint("the program is of another architecture, or a script without #!"),
        _ => error,
    }
}

fn search(program: &CStr, path: Option<&[u8]>, argv: &CArray<'_>, env: &CArray<'_>) -> Errno {
    let directories: Vec<Vec<u8>> = match path {
        Some(path) => path.split(|&b| b == b':').map(<[u8]>::to_vec).collect(),
        None => SEARCH.iter().map(|d| d.as_bytes().to_vec()).collect(),
    };
    let mut errno = Errno::NOENT;
    for directory in directories {
        let full = [&directory[..], b"/", program.to_bytes()].concat();
        let Ok(full) = CString::new(full) else { continue };
        match execve(&full, argv, env) {
            Errno::NOENT | Errno::NOTDIR => {}
            other => errno = other,
        }
    }
    errno
}
