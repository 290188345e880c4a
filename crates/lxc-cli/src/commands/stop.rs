//! lxc-stop

use lxc_core::lifecycle::stop::Patience;
use lxc_core::{Kind, State};

use crate::context::Context;
use crate::getopt::{Arg, Opt, long, opt};
use crate::table::{Command, Name};

/// The command.
pub static COMMAND: Command = Command {
    name: "stop",
    about: "Stop or reboot a container",
    usage: "NAME [OPTION…]",
    options: OPTIONS,
    takes_name: Name::Required,
    linked: true,
    details: "Asks the container's init to shut down, waits, and kills the container when it takes too long.\n\n\
              The exit status is 0 when the container stopped, 1 when it did not, 2 when it was not running.",
    run,
};

const OPTIONS: &[Opt] = &[
    opt('r', "reboot", Arg::No, "Reboot instead"),
    opt('W', "nowait", Arg::No, "Ask, and do not wait"),
    opt('t', "timeout", Arg::Required("SECONDS"), "Wait this long before killing (60; -1 for ever)"),
    opt('k', "kill", Arg::No, "Kill at once"),
    long("nolock", Arg::No, "Accepted with -k; there is no lock to avoid"),
    long("nokill", Arg::No, "Do not kill after the time-out"),
];

fn run(context: &Context) -> anyhow::Result<i32> {
    let kill = context.has("kill");
    let timeout = context.number::<i64>("timeout")?;
    let refused = match (kill, timeout) {
        (_, Some(t)) if t < -1 => Some("Invalid timeout"),
        (true, Some(t)) if t > 0 => Some("-k doesn't allow timeouts"),
        (true, _) if context.has("reboot") => Some("-k can't be used with -r"),
        (true, _) if context.has("nokill") => Some("-k can't be used with --nokill"),
        (false, _) if context.has("nolock") => Some("--nolock may only be used with -k"),
        _ => None,
    };
    if let Some(reason) = refused {
        context.error(reason);
        return Ok(1);
    }
    let container = match (context.has("rcfile"), context.open()) {
        (_, Some(container)) => container,
        _ => return Ok(1),
    };
    match container.state() {
        Ok(State::Stopped) => {
            context.error(format!("{} is not running", context.name));
            return Ok(2);
        }
        Ok(_) => {}
        Err(e) => return Ok(context.fail(&e)),
    }
    let seconds = if context.has("nowait") { 0 } else { timeout.unwrap_or(if kill { 0 } else { 60 }) };
    let patience = Patience::from_seconds(seconds);
    let result = if kill {
        container.stop()
    } else if context.has("reboot") {
        container.reboot(patience)
    } else {
        match container.shutdown(patience) {
            Err(e) if e.kind() == Kind::TimedOut && !context.has("nokill") => container.stop(),
            result => result,
        }
    };
    match result {
        Ok(()) => Ok(0),
        Err(e) => Ok(context.fail(&e)),
    }
}
