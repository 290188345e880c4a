//! lxc-monitor

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lxc_core::State;
use lxc_core::container::normalize_lxcpath;
use lxc_core::monitord;
use lxc_core::protocol::wire::{Event, STATE_MESSAGE_LEN, StateMessage};
use rustix::event::{PollFd, PollFlags};

use crate::context::Context;
use crate::getopt::{Arg, Opt, opt};
use crate::table::{Command, Name};

/// The command.
pub static COMMAND: Command = Command {
    name: "monitor",
    about: "Report changes of state of containers",
    usage: "[-n REGEX] [OPTION…]",
    options: OPTIONS,
    takes_name: Name::Unused,
    linked: true,
    details: "Prints a line for each change of state of containers whose whole name matches the extended regular \
              expression REGEX (all by default), until it is interrupted. -P may be given several times.",
    run,
};

const OPTIONS: &[Opt] = &[opt('Q', "quit", Arg::No, "Tell lxc-monitord to end")];

fn run(context: &Context) -> anyhow::Result<i32> {
    let mut paths: Vec<PathBuf> =
        context.matches.all("lxcpath").map(|p| normalize_lxcpath(Path::new(p))).collect();
    if paths.is_empty() {
        paths.push(context.lxcpath.clone());
    }
    if context.has("quit") {
        let mut status = 0;
        for path in &paths {
            if monitord::quit(path).is_err() {
                context.error(format!("Unable to open monitor on path: {}", path.display()));
                status = 1;
            }
        }
        return Ok(status);
    }
    let pattern = context.get("name").unwrap_or(".*");
    let Ok(regex) = regex_lite::Regex::new(&format!("^(?:{pattern})$")) else {
        context.error(format!("Failed to compile the regex '{pattern}'"));
        return Ok(1);
    };
    let mut sockets = Vec::new();
    for path in &paths {
        super::monitord::spawn(path)?;
        match connect(path) {
            Some(socket) => sockets.push(socket),
            None => {
                context.error(format!("Unable to open monitor on path: {}", path.display()));
                return Ok(1);
            }
        }
    }
    loop {
        let mut fds: Vec<PollFd<'_>> =
            sockets.iter().map(|s: &OwnedFd| PollFd::from_borrowed_fd(s.as_fd(), PollFlags::IN)).collect();
        match rustix::event::poll(&mut fds, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(e) => return Err(std::io::Error::from(e).into()),
        }
        let ready: Vec<bool> = fds.iter().map(|f| !f.revents().is_empty()).collect();
        for (socket, _) in sockets.iter().zip(ready).filter(|(_, ready)| *ready) {
            let Some(message) = read_message(socket) else { return Ok(1) };
            if regex.is_match(&message.name) {
                print_event(&message)?;
            }
        }
    }
}

/// The daemon was started just now: it may need a moment.
fn connect(path: &Path) -> Option<OwnedFd> {
    for pause in [0, 10, 50, 100] {
        std::thread::sleep(Duration::from_millis(pause));
        if let Ok(socket) = monitord::connect(path) {
            return Some(socket);
        }
    }
    None
}

fn read_message(socket: &OwnedFd) -> Option<StateMessage> {
    let mut bytes = [0; STATE_MESSAGE_LEN];
    let mut done = 0;
    while done < bytes.len() {
        match rustix::io::retry_on_intr(|| rustix::io::read(socket, &mut bytes[done..])) {
            Ok(0) | Err(_) => return None,
            Ok(n) => done += n,
        }
    }
    StateMessage::decode(&bytes)
}

fn print_event(message: &StateMessage) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match message.event {
        Event::State(number) => match State::from_number(number.into()) {
            Some(state) => writeln!(out, "'{}' changed state to [{state}]", message.name)?,
            None => return Ok(()),
        },
        Event::Exit(raw) => writeln!(out, "'{}' exited with status [{}]", message.name, raw >> 8 & 0xff)?,
    }
    out.flush()
}
