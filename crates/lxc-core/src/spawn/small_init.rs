//! The small init of lxc-execute (spec: life cycle, section 12.1): process 1 of the container,
//! which runs one command, passes signals on to it, reaps everything and ends with its status.
//!
//! It runs in all of the container's namespaces. It is this very program, not an executed one, so
//! the container needs nothing in its root file system.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use lxc_sys::clone::{Fork, exit_now, fork};
use lxc_sys::signal::{self, SignalSet};
use lxc_sys::{Errno, process, title};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, WaitOptions};

use super::finish;
use crate::error::{Doing, Error, Result};
use crate::plan::Plan;

/// Exit status where the command could not be executed.
const EXEC_FAILED: i32 = 255;

/// Becomes the small init. Returns only if it could not begin.
pub fn run(plan: &Plan, environment: &[CString]) -> Error {
    match begin(plan, environment) {
        Ok((command, signals)) => exit_now(reap(command, &signals)),
        Err(e) => e,
    }
}

fn begin(plan: &Plan, environment: &[CString]) -> Result<(Pid, OwnedFd)> {
    // Synchronous signals keep killing; all others are read from a descriptor. A blocked SIGRTMIN+3
    // would tell lxc-stop that this init takes it for a request to halt: SIGPWR is that here.
    let (realtime, _) = signal::realtime_range();
    let handled = SignalSet::all()
        .without(libc::SIGILL)
        .without(libc::SIGSEGV)
        .without(libc::SIGBUS)
        .without(realtime + 3);
    let alone = rustix::process::getpid() == Pid::INIT;
    if !alone {
        // Without a pid namespace of the container's own, orphans would go to somebody else, and
        // that signal would kill this process.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .doing(|| "become the reaper")?;
        signal::ignore(realtime + 3);
    }
    let death = plan.values.monitor_signal_pdeath.unwrap_or(libc::SIGKILL);
    signal::set_parent_death_signal(death).doing(|| "set the parent-death signal")?;
    let before = signal::block(&handled).doing(|| "block signals")?;
    let signals = signal::signalfd(&handled).doing(|| "make a signalfd")?;
    let command = match fork().doing(|| "fork the command")? {
        Fork::Child(_) => {
            let failed = |e: Error| -> ! {
                log::error!("{e}");
                exit_now(EXEC_FAILED)
            };
            signal::reset_dispositions();
            let _ = signal::set_blocked(&before);
            let _ = rustix::process::setsid();
            let stdin = rustix::stdio::stdin();
            if rustix::termios::isatty(stdin) {
                let _ = rustix::process::ioctl_tiocsctty(stdin);
            }
            if let Err(e) = finish::drop_privileges(plan)
                .and_then(|()| signal::set_parent_death_signal(0).doing(|| "clear the parent-death signal"))
            {
                failed(e);
            }
            failed(finish::run(&plan.command, environment, plan.options.last_fd_of_init()))
        }
        Fork::Parent(pid) => pid,
    };
    // The command runs: now the monitor may take the start for done. All else is closed too.
    // The way to it is /proc, which the container need not have.
    if let Err(e) = title::set("init") {
        log::debug!("title: {e}");
    }
    rustix::thread::set_name(c"init").doing(|| "set the name of init")?;
    process::clear_environment();
    process::close_all_but(vec![signals.as_raw_fd()], 2).doing(|| "close descriptors")?;
    if let Ok(console) = rustix::fs::open("/dev/console", OFlags::WRONLY | OFlags::NOCTTY, Mode::empty()) {
        let _ = process::dup_to(console.as_fd(), 2);
    }
    Ok((command, signals))
}

/// Waits for everything; returns the status of the command.
fn reap(command: Pid, signals: &OwnedFd) -> i32 {
    let alone = rustix::process::getpid() == Pid::INIT;
    let mut status = None;
    let mut stopping = false;
    loop {
        if !reap_ended(command, &mut status) {
            return status.unwrap_or(1);
        }
        let timeout = stopping.then_some(rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 });
        let mut fds = [rustix::event::PollFd::new(signals, rustix::event::PollFlags::IN)];
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            // A second without an end after the polite request.
            Ok(0) => {
                signal_all(alone, libc::SIGKILL);
                continue;
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return status.unwrap_or(1),
        }
        while let Ok(Some(received)) = signal::read_signal(signals.as_fd()) {
            // What a process of the container sends to its init is not for the command. Without a
            // pid namespace nobody can tell who is of the container.
            let from_inside = alone && received.code == libc::SI_USER && received.pid > 1;
            match received.signal {
                libc::SIGCHLD => {}
                _ if from_inside => {}
                libc::SIGPWR | libc::SIGTERM if !stopping => {
                    stopping = true;
                    signal_all(alone, libc::SIGTERM);
                }
                libc::SIGPWR | libc::SIGTERM => {}
                // Its pid may be another's once it ended.
                other if status.is_none() => {
                    let _ = signal::send(command, other);
                }
                _ => {}
            }
        }
    }
}

/// Reaps what ended. `false` when no child is left.
fn reap_ended(command: Pid, status: &mut Option<i32>) -> bool {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, ended))) if pid == command => {
                *status = ended.exit_status().or_else(|| ended.terminating_signal().map(|s| 128 + s));
            }
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// Signals every process of the container: all there are in its pid namespace, else all that
/// descend from this one.
fn signal_all(alone: bool, number: i32) {
    if alone {
        let _ = signal::send_to_all(number);
        return;
    }
    let mut left = vec![rustix::process::getpid()];
    while let Some(parent) = left.pop() {
        let pid = parent.as_raw_nonzero();
        let children =
            crate::files::read_text(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        for child in
            children.split_ascii_whitespace().filter_map(|c| c.parse().ok()).filter_map(Pid::from_raw)
        {
            let _ = signal::send(child, number);
            left.push(child);
        }
    }
}
