//! lxc-monitord: the helper that passes state messages on to every lxc-monitor.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};

use lxc_core::monitord;

use crate::context::Context;
use crate::getopt::{Arg, Opt, long};
use crate::table::{Command, Name};

/// The command.
pub static COMMAND: Command = Command {
    name: "monitord",
    about: "Pass messages of containers on to lxc-monitor",
    usage: "--daemon [LXCPATH] | LXCPATH FD",
    options: OPTIONS,
    takes_name: Name::Unused,
    linked: false,
    details: "Started by lxc-monitor when it is needed. It ends when nobody listens for 30 seconds, unless it was \
              started with --daemon.",
    run,
};

const OPTIONS: &[Opt] = &[long("daemon", Arg::No, "Stay when nobody listens")];

fn run(context: &Context) -> anyhow::Result<i32> {
    let daemon = context.has("daemon");
    let (path, ready): (PathBuf, Option<OwnedFd>) = match (daemon, context.words()) {
        (true, []) => (context.lxcpath.clone(), None),
        (true, [path]) => (path.into(), None),
        (false, [path, fd]) => (path.into(), inherited(fd)),
        _ => {
            eprintln!("Usage: lxc-monitord {}", COMMAND.usage);
            return Ok(1);
        }
    };
    monitord::serve(&path, daemon, || {
        if let Some(fd) = &ready {
            // Whoever started us may be gone already.
            let _ = rustix::io::write(fd, b"S");
        }
    })?;
    Ok(0)
}

/// The end of a pipe that was passed to this process by number: a copy of it is ours.
fn inherited(number: &str) -> Option<OwnedFd> {
    let number: i32 = number.parse().ok()?;
    let path = format!("/proc/self/fd/{number}");
    let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC;
    rustix::fs::open(path, flags, rustix::fs::Mode::empty()).ok()
}

/// Starts the daemon for an lxcpath, unless one runs, and waits until it listens.
pub fn spawn(lxcpath: &Path) -> anyhow::Result<()> {
    if monitord::connect(lxcpath).is_ok() {
        return Ok(());
    }
    let exe = std::env::current_exe()?;
    let mut child = Process::new(exe)
        .arg0_monitord()
        .arg(lxcpath)
        .arg("1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let Some(ready) = child.stdout.take() else { return Ok(()) };
    let mut byte = [0];
    // Its end without a byte: another one was faster, or it failed, as connecting will tell.
    let _ = rustix::io::read(ready.as_fd(), &mut byte[..]);
    Ok(())
}

trait Arg0 {
    fn arg0_monitord(&mut self) -> &mut Self;
}

impl Arg0 for Process {
    fn arg0_monitord(&mut self) -> &mut Process {
        use std::os::unix::process::CommandExt;
        self.arg0("lxc").arg("monitord").process_group(0)
    }
}
