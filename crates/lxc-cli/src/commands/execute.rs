//! lxc-execute

use lxc_core::lifecycle::start::Started;
use lxc_core::monitor::Exit;
use lxc_core::plan::StartOptions;
use lxc_core::{Kind, State};

use super::start::{apply_options, last_kept_fd, report_failure};
use crate::context::Context;
use crate::getopt::{Arg, Opt, long, opt};
use crate::table::{Command, Name};

/// The command.
pub static COMMAND: Command = Command {
    name: "execute",
    about: "Run one command in a container that is made for it",
    usage: "NAME [OPTION…] [-- COMMAND [ARG…]]",
    options: OPTIONS,
    takes_name: Name::Required,
    linked: true,
    details: "Runs COMMAND, else what lxc.execute.cmd says, under a small init that passes signals on and reaps \
              orphans. stdin, stdout and stderr are the command's. The exit status is the command's, 128+n when it \
              was killed by signal n, 255 when it could not be executed.\n\n\
              The container needs no configuration file of its own: one given by -f will do.",
    run,
};

const OPTIONS: &[Opt] = &[
    opt('d', "daemon", Arg::No, "Run in the background"),
    opt(
        'f',
        "rcfile",
        Arg::Required("FILE"),
        "Read the configuration from FILE instead of the container's own",
    ),
    opt('s', "define", Arg::Required("KEY=VALUE"), "Set a configuration item"),
    opt('u', "uid", Arg::Required("UID"), "Run the command as this user of the container"),
    opt('g', "gid", Arg::Required("GID"), "Run the command as this group of the container"),
    long("share-net", Arg::Required("NAME"), "Share the network namespace of a container or process"),
    long("share-ipc", Arg::Required("NAME"), "Share the IPC namespace of a container or process"),
    long("share-uts", Arg::Required("NAME"), "Share the UTS namespace of a container or process"),
    long("share-pid", Arg::Required("NAME"), "Share the pid namespace of a container or process"),
];

fn run(context: &Context) -> anyhow::Result<i32> {
    let Some(mut container) = context.open_controllable() else { return Ok(1) };
    if container.state()? != State::Stopped {
        context.error(format!("Container \"{}\" appears to be already running", context.name));
        return Ok(1);
    }
    if !container.has_config() {
        context.error("Executing a container with no configuration file may crash the host");
        return Ok(1);
    }
    apply_options(context, &mut container)?;
    for (option, key) in [("uid", "lxc.init.uid"), ("gid", "lxc.init.gid")] {
        if let Some(id) = context.number::<u32>(option)? {
            container.set(key, &id.to_string())?;
        }
    }
    let daemonize = context.has("daemon");
    let options = StartOptions {
        command: context.words().to_vec(),
        execute: true,
        daemonize,
        pidfile: None,
        close_all_fds: daemonize,
        last_kept_fd: last_kept_fd(),
        caller_ends: true,
    };
    match container.start(options) {
        Ok(Started::Daemon) => Ok(0),
        Ok(Started::Ended(Exit::Status(status))) => Ok(status),
        Ok(Started::Ended(Exit::Signal(signal))) => {
            // Killed from outside: the caller learns of it as of any killed command.
            context.error(format!("the container was killed by signal {signal}"));
            Ok(1)
        }
        Err(failure) => {
            report_failure(context, &failure);
            if failure.error.kind() != Kind::Invalid {
                context.error("Failed run an application inside container");
            }
            Ok(1)
        }
    }
}
