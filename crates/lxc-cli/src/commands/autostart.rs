//! lxc-autostart

use std::time::Duration;

use lxc_core::lifecycle::autostart::{Selection, parse_groups, selected};
use lxc_core::lifecycle::stop::Patience;
use lxc_core::plan::StartOptions;
use lxc_core::{Container, State};

use crate::context::Context;
use crate::getopt::{Arg, Opt, opt};
use crate::table::{Command, Name};

/// The command.
pub static COMMAND: Command = Command {
    name: "autostart",
    about: "Start, stop or reboot the containers that are to run with the host",
    usage: "[OPTION…]",
    options: OPTIONS,
    takes_name: Name::Unused,
    linked: true,
    details: "Starts one after the other, in the order of lxc.start.order and of their names, the containers that have \
              lxc.start.auto = 1 and are in none of the groups of lxc.group; after each it waits lxc.start.delay \
              seconds. To stop, the order is reversed.\n\n\
              With -g it is about the members of groups, group by group; an empty name among them means the \
              containers without group. A container is handled once.\n\n\
              The status is 1 when all that was tried has failed, and 2 when something has.",
    run,
};

const OPTIONS: &[Opt] = &[
    opt('r', "reboot", Arg::No, "Reboot those that run"),
    opt('s', "shutdown", Arg::No, "Shut down those that run; kill what is not down in time"),
    opt('k', "kill", Arg::No, "Kill those that run"),
    opt('L', "list", Arg::No, "Print which it would be, and how long the pause after each"),
    opt('t', "timeout", Arg::Required("SECONDS"), "How long a container may take to shut down (60)"),
    opt('g', "groups", Arg::Required("GROUPS"), "Members of these groups, joined by commas"),
    opt('a', "all", Arg::No, "Whatever their groups"),
    opt('A', "ignore-auto", Arg::No, "Also those without lxc.start.auto"),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Start,
    Reboot,
    Shutdown,
    Kill,
}

impl Action {
    fn gerund(self) -> &'static str {
        match self {
            Action::Start => "starting",
            Action::Reboot => "rebooting",
            Action::Shutdown => "shutting down",
            Action::Kill => "killing",
        }
    }
}

fn run(context: &Context) -> anyhow::Result<i32> {
    let timeout = context.number::<i64>("timeout")?.unwrap_or(60);
    let action = match () {
        () if context.has("shutdown") => Action::Shutdown,
        () if context.has("kill") => Action::Kill,
        () if context.has("reboot") => Action::Reboot,
        () => Action::Start,
    };
    let all = context.has("all");
    if all && context.has("groups") {
        context.error("Specifying -a (all) with -g (groups) doesn't make sense. All option overrides");
    }
    if !context.lxcpath.is_dir() {
        context.error(format!("{} is no directory of containers", context.lxcpath.display()));
        return Ok(1);
    }
    let selection = Selection {
        groups: parse_groups(context.matches.all("groups")),
        all,
        ignore_auto: context.has("ignore-auto"),
        reverse: matches!(action, Action::Shutdown | Action::Kill),
    };
    let mut containers = selected(&context.lxcpath, &selection)?;
    containers.retain(|c| match c.state() {
        Ok(State::Stopped) => action == Action::Start,
        Ok(_) => action != Action::Start && c.may_control(),
        Err(_) => false,
    });
    let delay = |c: &Container| c.config.values.start.delay;
    if context.has("list") {
        for container in &containers {
            match action {
                Action::Start | Action::Reboot => println!("{} {}", container.name(), delay(container)),
                Action::Shutdown | Action::Kill => println!("{}", container.name()),
            }
        }
        return Ok(0);
    }
    let mut failed = 0;
    for (at, container) in containers.iter().enumerate() {
        lxc_core::log::set_name(container.name());
        if let Err(e) = act(container, action, timeout) {
            context.error(e);
            context.error(format!("Error {} container: {}", action.gerund(), container.name()));
            failed += 1;
        } else if matches!(action, Action::Start | Action::Reboot) && at + 1 < containers.len() {
            std::thread::sleep(Duration::from_secs(delay(container).into()));
        }
    }
    Ok(match failed {
        0 => 0,
        n if n == containers.len() => 1,
        _ => 2,
    })
}

fn act(container: &Container, action: Action, timeout: i64) -> lxc_core::Result<()> {
    match action {
        Action::Start => {
            let options = StartOptions {
                daemonize: true,
                close_all_fds: true,
                last_kept_fd: 2,
                ..StartOptions::default()
            };
            container.start(options).map(drop).map_err(|failure| failure.error)
        }
        Action::Reboot => container.reboot(Patience::from_seconds(0)),
        Action::Shutdown => {
            let down = container.shutdown(Patience::from_seconds(timeout));
            down.or_else(|_| container.stop())
        }
        Action::Kill => container.stop(),
    }
}
