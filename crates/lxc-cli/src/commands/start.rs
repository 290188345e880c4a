//! lxc-start

use std::path::{Path, PathBuf};

use lxc_core::lifecycle::start::Started;
use lxc_core::monitor::StartFailure;
use lxc_core::plan::{StartOptions, namespaces};
use lxc_core::{Container, Kind, State};
use lxc_sys::clone::exit_now;

use crate::context::{Context, refuse};
use crate::getopt::{Arg, Opt, long, opt};
use crate::table::{Command, Name};

/// The command.
pub static COMMAND: Command = Command {
    name: "start",
    about: "Start a container, or a command in it as its init",
    usage: "NAME [OPTION…] [-- COMMAND [ARG…]]",
    options: OPTIONS,
    takes_name: Name::Required,
    linked: true,
    details: "Starts the container NAME. Its init is COMMAND, else what lxc.init.cmd says, else /sbin/init. \
              The command returns when init was executed.\n\n\
              A container that runs already is no error. In the foreground the console is this terminal, and \
              the exit status is 0 once the container was started, whatever its init returned.",
    run,
};

const OPTIONS: &[Opt] = &[
    opt('d', "daemon", Arg::No, "Run in the background (the default)"),
    opt('F', "foreground", Arg::No, "Run in the foreground, with this terminal as console"),
    opt('p', "pidfile", Arg::Required("FILE"), "Write the monitor's process id to FILE"),
    opt(
        'f',
        "rcfile",
        Arg::Required("FILE"),
        "Read the configuration from FILE instead of the container's own",
    ),
    opt('c', "console", Arg::Required("FILE"), "Connect the console to the terminal FILE"),
    opt('L', "console-log", Arg::Required("FILE"), "Write what appears on the console to FILE"),
    opt('C', "close-all-fds", Arg::No, "Close descriptors that the caller left open"),
    opt('s', "define", Arg::Required("KEY=VALUE"), "Set a configuration item"),
    long("share-net", Arg::Required("NAME"), "Share the network namespace of a container or process"),
    long("share-ipc", Arg::Required("NAME"), "Share the IPC namespace of a container or process"),
    long("share-uts", Arg::Required("NAME"), "Share the UTS namespace of a container or process"),
    long("share-pid", Arg::Required("NAME"), "Share the pid namespace of a container or process"),
    long("dry-run", Arg::No, "Check everything and print what would be done"),
];

/// Applies the `--share-*` and `--define` options.
pub fn apply_options(context: &Context, container: &mut Container) -> anyhow::Result<()> {
    for assignment in context.matches.all("define") {
        if !assignment.contains('=') {
            return Err(refuse(format!("--define {assignment}: expected KEY=VALUE")));
        }
        container.define(assignment)?;
    }
    for kind in ["net", "ipc", "uts", "pid"] {
        if let Some(source) = context.get(&format!("share-{kind}")) {
            container.set(&format!("lxc.namespace.share.{kind}"), source)?;
        }
    }
    // What was defined here may be about the log.
    lxc_core::log::apply_config(&container.config.values)?;
    Ok(())
}

/// How a container is started that some other command has made.
pub fn options(foreground: bool) -> StartOptions {
    StartOptions {
        command: Vec::new(),
        execute: false,
        daemonize: !foreground,
        pidfile: None,
        close_all_fds: !foreground,
        last_kept_fd: last_kept_fd(),
        caller_ends: false,
    }
}

/// The highest descriptor that init inherits: systemd's protocol of LISTEN_FDS, from 3 on.
pub fn last_kept_fd() -> u32 {
    let count = std::env::var("LISTEN_FDS").ok().and_then(|n| n.parse::<u32>().ok()).unwrap_or(0);
    2 + count.min(1024)
}

/// A path as it is from anywhere: the monitor runs in /.
pub fn absolute(path: &str) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path))
}

/// Prints why a start failed, and with `-l` what led to it.
pub fn report_failure(context: &Context, failure: &StartFailure) {
    context.report(&failure.error);
    if context.has("logpriority") && !context.quiet {
        eprint!("{}", failure.trace);
    }
}

/// Why nothing was started.
enum Refusal {
    Message(&'static str),
    Argument(anyhow::Error),
    Failure(StartFailure),
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Refusal {
        Refusal::Argument(error)
    }
}

fn run(context: &Context) -> anyhow::Result<i32> {
    if std::fs::read_dir(&context.lxcpath).is_err() && context.get("rcfile").is_none() {
        context.error(format!("You lack access to {}", context.lxcpath.display()));
        return Ok(1);
    }
    let Some(mut container) = context.open() else { return Ok(1) };
    let begun = begin(context, &mut container);
    let Err(refusal) = begun else { return Ok(0) };
    // That it runs already comes before whatever else is wrong. A start knows by itself.
    let runs = match &refusal {
        _ if context.has("dry-run") => false,
        Refusal::Failure(failure) => failure.error.kind() == Kind::AlreadyRunning,
        _ => match container.state() {
            Ok(state) => state != State::Stopped,
            Err(e) => return Ok(context.fail(&e)),
        },
    };
    if runs {
        context.error("Container is already running");
        return Ok(0);
    }
    match refusal {
        Refusal::Argument(error) => return Err(error),
        Refusal::Message(message) => context.error(message),
        Refusal::Failure(failure) => {
            report_failure(context, &failure);
            context.error("The container failed to start");
        }
    }
    Ok(1)
}

/// Starts it; in the foreground until it has ended.
fn begin(context: &Context, container: &mut Container) -> Result<(), Refusal> {
    if !container.has_config() {
        return Err(Refusal::Message("No container config specified"));
    }
    apply_options(context, container)?;
    for (option, key) in [("console", "lxc.console.path"), ("console-log", "lxc.console.logfile")] {
        if let Some(file) = context.get(option) {
            container.set(key, &absolute(file).display().to_string()).map_err(anyhow::Error::from)?;
        }
    }
    let command = context.words().to_vec();
    if !container.is_defined() && command.is_empty() && container.config.values.init.cmd.is_none() {
        return Err(Refusal::Message("Executing '/sbin/init' with no configuration file may crash the host"));
    }
    let daemonize = context.matches.last_of(&["daemon", "foreground"]) != Some("foreground");
    let options = StartOptions {
        command,
        execute: false,
        daemonize,
        pidfile: context.get("pidfile").map(absolute),
        close_all_fds: daemonize || context.has("close-all-fds"),
        last_kept_fd: last_kept_fd(),
        caller_ends: true,
    };
    if context.has("dry-run") {
        return Ok(dry_run(container, options)?);
    }
    match container.start(options).map_err(Refusal::Failure)? {
        // Somebody waits for the end of this process, which frees all at once: to do it here first would copy what the
        // monitor shares.
        Started::Daemon => exit_now(0),
        Started::Ended(_) => Ok(()),
    }
}

fn dry_run(container: &Container, options: StartOptions) -> anyhow::Result<()> {
    let plan = container.plan(options)?;
    println!("name: {}", plan.name);
    println!("lxcpath: {}", plan.lxcpath.display());
    if let Some(file) = &plan.config_file {
        println!("config: {}", file.display());
    }
    let command: Vec<_> = plan.command.iter().map(|c| c.to_string_lossy()).collect();
    println!("command: {}", command.join(" "));
    let kinds = lxc_config::NamespaceKind::ALL
        .into_iter()
        .filter(|&k| plan.namespaces.new & namespaces::flag(k) != 0);
    println!("new namespaces: {}", kinds.map(|k| k.name()).collect::<Vec<_>>().join(" "));
    for line in &plan.identity.map {
        println!("id map: {line}");
    }
    if let Some(rootfs) = &plan.rootfs {
        println!("rootfs: {:?} on {}", rootfs.storage, rootfs.mount.display());
    }
    for mount in &plan.mounts {
        println!("mount: {} on {}", mount.source, Path::new("/").join(&mount.target).display());
    }
    println!("cgroups: monitor {}, container {}", plan.cgroups.monitor.path, plan.cgroups.payload.path);
    if !plan.drop_capabilities.is_empty() {
        println!("dropped capabilities: {:?}", plan.drop_capabilities);
    }
    println!("steps:");
    for step in lxc_core::spawn::script::describe(&plan) {
        println!("  {step}");
    }
    Ok(())
}
