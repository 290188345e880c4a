//! The attached process, from the container's namespaces to the payload.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use lxc_config::NamespaceKind;
use lxc_sys::{Errno, process, signal, socket};
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::net::RecvFlags;
use rustix::thread::CapabilitySet;

use super::context::Context;
use super::{Options, Payload};
use crate::error::{Doing, Error, Result};
use crate::lsm;
use crate::plan::environment::c_strings;
use crate::plan::namespaces::flag;
use crate::protocol::wire::{HEADER_LEN, Header};
use crate::seccomp::Filter;
use crate::spawn::finish;
use crate::terminal::pty::{Pty, stdio, take_terminal};

/// PATH of a cleared environment.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Prepares this process and executes the payload. Returns the exit status where that failed.
pub fn run(context: &Context, options: &Options, payload: &Payload, channel: &OwnedFd) -> i32 {
    let error = match prepare(context, options) {
        Ok(()) => execute(context, options, payload),
        Err(e) => e,
    };
    let status = error.errno().map_or(255, super::exec_status);
    let _ = socket::send(channel.as_fd(), &[b"E", error.to_bytes().as_slice()].concat(), &[], false);
    status
}

fn prepare(context: &Context, options: &Options) -> Result<()> {
    if options.remount_proc_sys && context.namespaces & flag(NamespaceKind::Mnt) == 0 {
        remount_proc_sys()?;
    }
    if let Some(is_32bit) = context.personality {
        const PER_LINUX32: u32 = 8;
        process::set_personality(if is_32bit { PER_LINUX32 } else { 0 }).doing(|| "set the personality")?;
    }
    if let (true, Some(bounding)) = (options.drop_capabilities, context.init.bounding) {
        drop_bounding(bounding)?;
        finish::drop_inheritable()?;
    }
    let setup = context.init.setup;
    let groups = if options.groups.is_empty() { &[][..] } else { &options.groups };
    if let Some((uid, gid)) = setup {
        finish::set_ids(uid, gid, Some(&[]))?;
    }
    if let Some(label) = &context.label {
        lsm::change(&lsm::open_own_inside(label)?, label)?;
    }
    if context.no_new_privs {
        rustix::thread::set_no_new_privs(true).doing(|| "set no_new_privs")?;
    }
    if let Some(filter) = &context.filter {
        set_filter(filter, context.listener_line.as_ref())?;
    }
    if let Some(terminal) = &context.terminal {
        use_terminal(terminal)?;
    }
    let (uid, gid) = setup.unwrap_or((0, 0));
    finish::set_ids(options.uid.unwrap_or(uid), options.gid.unwrap_or(gid), Some(groups))?;
    signal::reset_dispositions();
    signal::set_blocked(&context.signal_mask).doing(|| "restore the signal mask").map(drop)
}

/// A new session on the container's terminal, in the place of those of stdio that are terminals.
fn use_terminal(terminal: &Pty) -> Result<()> {
    let ttys: Vec<i32> =
        stdio().into_iter().filter(|(fd, _)| rustix::termios::isatty(fd)).map(|(_, n)| n).collect();
    take_terminal(terminal.pty.as_fd())?;
    for number in ttys {
        process::dup_to(terminal.pty.as_fd(), number).doing(|| "use the container's terminal")?;
    }
    Ok(())
}

fn drop_bounding(keep: u64) -> Result<()> {
    for number in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if keep & 1 << number == 0 {
            match rustix::thread::capability_is_in_bounding_set(capability) {
                // Beyond the kernel's last.
                Err(Errno::INVAL) => break,
                Ok(true) => rustix::thread::remove_capability_from_bounding_set(capability)
                    .doing(|| format!("drop capability {number} from the bounding set"))?,
                _ => {}
            }
        }
    }
    Ok(())
}

/// In a mount namespace of this process's own: /proc and /sys of the joined pid and network
/// namespaces.
fn remount_proc_sys() -> Result<()> {
    process::unshare(flag(NamespaceKind::Mnt)).doing(|| "unshare the mount namespace")?;
    crate::mount::pivot::isolate()?;
    for (fstype, target) in [("proc", "/proc"), ("sysfs", "/sys")] {
        let _ = rustix::mount::unmount(target, UnmountFlags::DETACH);
        rustix::mount::mount(fstype, target, fstype, MountFlags::empty(), None)
            .doing(|| format!("mount {fstype} on {target}"))?;
    }
    Ok(())
}

fn execute(context: &Context, options: &Options, payload: &Payload) -> Error {
    let environment = environment(context, options);
    match payload {
        Payload::Command(command) => {
            let error = finish::run(command, &environment, Some(2));
            let name = command.first().map(|c| c.to_string_lossy().into_owned()).unwrap_or_default();
            match error.errno() {
                Some(errno) => Error::os(format!("Failed to exec \"{name}\""), errno),
                None => error,
            }
        }
        Payload::Shell => {
            let uid = rustix::process::getuid().as_raw();
            let shells = [shell_of(uid), Some("/bin/sh".to_string())];
            let mut error = Error::invalid("there is no shell");
            for shell in shells.into_iter().flatten() {
                let Ok(shell) = CString::new(shell) else { continue };
                error = finish::run(&[shell], &environment, Some(2));
            }
            error
        }
    }
}

/// A filter that asks has a listener, which the monitor gets if there is a proxy; else nobody is asked, and the kernel
/// answers.
fn set_filter(filter: &Filter, line: Option<&OwnedFd>) -> Result<()> {
    let what = || "load the seccomp filter";
    let Some(line) = line.filter(|_| filter.notifies) else {
        return lxc_sys::seccomp::set_filter(&filter.program).doing(what);
    };
    let listener = lxc_sys::seccomp::set_filter_with_listener(&filter.program).doing(what)?;
    let what = || "give the monitor the listener of the seccomp filter";
    socket::send(line.as_fd(), &[0], &[listener.as_fd()], false).doing(what)?;
    let mut answer = [0; HEADER_LEN];
    let length = socket::receive(line.as_fd(), &mut answer, RecvFlags::WAITALL).doing(what)?.len;
    match Header::decode(&answer).code {
        0 if length == HEADER_LEN => Ok(()),
        _ => Err(Error::unsupported("the monitor takes no listener of a seccomp filter")),
    }
}

/// The shell of a user of the container: from its /etc/passwd, else as its own getent(1) says.
fn shell_of(uid: u32) -> Option<String> {
    let of = |text: &str| {
        let line = text.lines().find(|l| l.split(':').nth(2).and_then(|u| u.parse().ok()) == Some(uid))?;
        line.split(':').nth(6).map(str::trim).filter(|s| !s.is_empty()).map(str::to_string)
    };
    let found = std::fs::read_to_string("/etc/passwd").ok().and_then(|t| of(&t));
    found.filter(|s| Path::new(s).exists()).or_else(|| {
        let output = std::process::Command::new("getent").args(["passwd", &uid.to_string()]).output().ok()?;
        of(&String::from_utf8_lossy(&output.stdout))
    })
}

fn environment(context: &Context, options: &Options) -> Vec<CString> {
    let own = |name: &str| std::env::var(name).ok().map(|v| (name.to_string(), v));
    let mut all: Vec<(String, String)> = if options.clear_env {
        let kept: Vec<_> = options.keep_vars.iter().filter_map(|n| own(n)).collect();
        let mut all = vec![("PATH".to_string(), DEFAULT_PATH.to_string())];
        all.extend(kept);
        all
    } else {
        std::env::vars_os()
            .map(|(n, v)| (n.to_string_lossy().into_owned(), v.to_string_lossy().into_owned()))
            .collect()
    };
    all.push(("container".to_string(), "lxc".to_string()));
    all.extend(context.environment.iter().cloned());
    for variable in &options.extra_vars {
        match variable.split_once('=') {
            Some((name, value)) => all.push((name.to_string(), value.to_string())),
            None => all.retain(|(n, _)| n != variable),
        }
    }
    c_strings(&all)
}
