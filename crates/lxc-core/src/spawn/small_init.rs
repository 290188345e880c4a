//! The small init of lxc-execute (spec: life cycle, section 12.1): process 1 of the container,
//! which runs one command, passes signals on to it, reaps everything and ends with its status.
//!
//! It runs in all of the container's namespaces. It is this very program, not an executed one, so
//! the container needs nothing in its root file system.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

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
pub fn run(plan: &Plan, channel: BorrowedFd<'_>, environment: &[CString]) -> Error {
    match begin(plan, channel, environment) {
        Ok((command, signals)) => exit_now(reap(command, &signals)),
        Err(e) => e,
    }
}

fn begin(plan: &Plan, channel: BorrowedFd<'_>, environment: &[CString]) -> Result<(Pid, OwnedFd)> {
    // Synchronous signals keep killing; all others are read from a descriptor.
    let handled = SignalSet::all().without(libc::SIGILL).without(libc::SIGSEGV).without(libc::SIGBUS);
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
            failed(finish::run(&plan.command, environment, plan.options.last_kept_fd))
        }
        Fork::Parent(pid) => pid,
    };
    // The command runs: now the monitor may take the start for done. All else is closed too.
    let _ = channel;
    title::set("init").doing(|| "set the title of init")?;
    rustix::thread::set_name(c"init").doing(|| "set the name of init")?;
    process::clear_environment();
    close_all_but(signals.as_fd())?;
    if let Ok(console) = rustix::fs::open("/dev/console", OFlags::WRONLY | OFlags::NOCTTY, Mode::empty()) {
        let _ = process::dup_to(console.as_fd(), 2);
    }
    Ok((command, signals))
}

/// Closes every descriptor above stderr but one.
fn close_all_but(kept: BorrowedFd<'_>) -> Result<()> {
    use std::os::fd::AsRawFd;
    let kept = kept.as_raw_fd() as u32;
    let what = || "close descriptors";
    if kept > 3 {
        process::close_range(3, kept - 1).doing(what)?;
    }
    process::close_range(kept + 1, u32::MAX).doing(what)
}

/// Waits for everything; returns the status of the command.
fn reap(command: Pid, signals: &OwnedFd) -> i32 {
    let mut status = 0;
    let mut stopping = false;
    loop {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, ended))) => {
                    if pid == command {
                        status = ended
                            .exit_status()
                            .or_else(|| ended.terminating_signal().map(|s| 128 + s))
                            .unwrap_or(1);
                    }
                }
                Ok(None) => break,
                Err(Errno::INTR) => {}
                // Nothing is left to wait for.
                Err(_) => return status,
            }
        }
        let timeout = stopping.then_some(rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 });
        let mut fds = [rustix::event::PollFd::new(signals, rustix::event::PollFlags::IN)];
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            // A second without an end after the polite request.
            Ok(0) => {
                let _ = signal::send_to_all(libc::SIGKILL);
                continue;
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return status,
        }
        while let Ok(Some(received)) = signal::read_signal(signals.as_fd()) {
            // What a process of the container sends to its init is not for the command.
            let from_inside = received.code == libc::SI_USER && received.pid > 1;
            match received.signal {
                libc::SIGCHLD => {}
                _ if from_inside => {}
                libc::SIGPWR | libc::SIGTERM if !stopping => {
                    stopping = true;
                    let _ = signal::send_to_all(libc::SIGTERM);
                }
                libc::SIGPWR | libc::SIGTERM => {}
                other => {
                    let _ = signal::send(command, other);
                }
            }
        }
    }
}
