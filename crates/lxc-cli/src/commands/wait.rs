//! lxc-wait

use std::time::Duration;

use lxc_core::{Kind, State};

use crate::context::{Context, refuse};
use crate::getopt::{Arg, Opt, opt};
use crate::table::{Command, Name};

/// The command.
pub static COMMAND: Command = Command {
    name: "wait",
    about: "Wait for a container to reach a state",
    usage: "NAME -s STATES [OPTION…]",
    options: OPTIONS,
    takes_name: Name::Required,
    linked: true,
    details: "Waits until the container is in one of STATES: STOPPED, STARTING, RUNNING, STOPPING, ABORTING, \
              FREEZING, FROZEN, THAWED, joined by |. The exit status is 0 when it is, 1 when time ran out.",
    run,
};

const OPTIONS: &[Opt] = &[
    opt('s', "state", Arg::Required("STATES"), "States to wait for, joined by |"),
    opt('t', "timeout", Arg::Required("SECONDS"), "Wait no longer (-1: for ever, the default)"),
];

fn run(context: &Context) -> anyhow::Result<i32> {
    let words = context.get("state").ok_or_else(|| refuse("-s is required"))?;
    let timeout = context.get("timeout").map_or(-1, |t| t.trim().parse().unwrap_or(0));
    let mut states = Vec::new();
    for word in words.split('|') {
        match State::from_name(word) {
            Some(state) => states.push(state),
            None => {
                context.error(format!("invalid state '{word}'"));
                return Ok(1);
            }
        }
    }
    let Some(container) = context.open_controllable() else { return Ok(1) };
    let timeout = u64::try_from(timeout).ok().map(Duration::from_secs);
    match container.wait(&states, timeout) {
        Ok(_) => Ok(0),
        Err(e) if e.kind() == Kind::TimedOut => Ok(1),
        Err(e) => Ok(context.fail(&e)),
    }
}
