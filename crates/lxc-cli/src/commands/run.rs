//! lxc run: a throw-away container at once.

use std::path::Path;

use lxc_core::error::Doing;
use lxc_core::gc::throwaway::{self, ThrowAway};
use lxc_core::lifecycle::start::Started;
use lxc_core::monitor::StartFailure;
use lxc_core::plan::StartOptions;
use lxc_core::source::Files;
use lxc_core::template::host;
use lxc_core::{Container, Error, Kind};

use super::start::{apply_options, report_failure};
use crate::context::Context;
use crate::getopt::{Arg, Opt, long, opt};
use crate::table::{Command, Name};

/// The command.
pub static COMMAND: Command = Command {
    name: "run",
    about: "Run a command in a throw-away container",
    usage: "[NAME] [OPTION…] [-- COMMAND [ARG…]]",
    options: OPTIONS,
    takes_name: Name::Unused,
    linked: false,
    details: "Runs COMMAND, else a shell, in a container that is made for it and removed with it. Its root file system \
              is an overlay of the host's own, so nothing needs to be downloaded or configured: what the command \
              changes is gone afterwards. It has user, pid, mount, network, IPC, UTS and cgroup namespaces of its \
              own.\n\n\
              The terminal is passed through, and the exit status is the command's.",
    run,
};

const OPTIONS: &[Opt] = &[
    long("rootfs", Arg::Required("DIR"), "Root file system to lay the overlay on (default: /)"),
    long("privileged", Arg::No, "Without a user namespace: root inside is root outside"),
    opt('s', "define", Arg::Required("KEY=VALUE"), "Set a configuration item"),
    long("share-net", Arg::Required("NAME"), "Share the network namespace of a container or process"),
];

fn run(context: &Context) -> anyhow::Result<i32> {
    if !rustix::process::geteuid().is_root() {
        return Err(
            Error::unsupported("lxc run needs root: it mounts an overlay of the root file system").into()
        );
    }
    let words = context.words();
    let (names, command) = words.split_at(context.matches.before_dashes.min(words.len()));
    let (name, command) = match (context.get("name"), names, command) {
        (Some(name), before, rest) => (Some(name.to_string()), [before, rest].concat()),
        (None, [], rest) => (None, rest.to_vec()),
        (None, [name, more @ ..], rest) => (Some(name.clone()), [more, rest].concat()),
    };
    let name = name.unwrap_or_else(|| format!("run-{}", rustix::process::getpid().as_raw_nonzero()));
    let command = if command.is_empty() { vec![shell()] } else { command };
    let base = match context.get("lxcpath") {
        Some(_) => context.lxcpath.clone(),
        None => throwaway::base(),
    };
    let lower = context.get("rootfs").unwrap_or("/").to_string();
    let lower =
        std::fs::canonicalize(&lower).map_err(|e| Error::invalid(format!("--rootfs {lower}: {e}")))?;
    let mapped = !context.has("privileged");
    match attempt(context, &name, &base, &lower, &command, mapped) {
        Ok(status) => Ok(status),
        Err(failure) => {
            report_failure(context, &failure);
            if failure.error.kind() == Kind::NoIdmappedMounts {
                eprintln!(
                    "lxc-run: hint: --privileged runs it without a user namespace: its root is the host's root then"
                );
            }
            Ok(1)
        }
    }
}

fn shell() -> String {
    std::env::var("SHELL").ok().filter(|s| Path::new(s).is_file()).unwrap_or_else(|| "/bin/sh".to_string())
}

fn attempt(
    context: &Context,
    name: &str,
    base: &Path,
    lower: &Path,
    command: &[String],
    mapped: bool,
) -> Result<i32, StartFailure> {
    let mut container = Container::without_config(name, base)?;
    let throw_away = ThrowAway::make(base, name)?;
    let directory = container.directory();
    let layers = layers(&directory, lower)?;
    let mut text = host::base_config(name, &directory, &layers, mapped);
    text.push_str("lxc.net.0.type = empty\nlxc.net.0.flags = up\n");
    for (variable, default) in [("PATH", DEFAULT_PATH), ("TERM", "dumb"), ("HOME", "/root")] {
        let value = match variable {
            "TERM" => std::env::var(variable).unwrap_or_else(|_| default.to_string()),
            _ => default.to_string(),
        };
        text.push_str(&format!("lxc.environment = {variable}={value}\n"));
    }
    if !mapped {
        text.push_str("lxc.cap.drop = mac_admin mac_override sys_time sys_module sys_rawio sys_boot\n");
    }
    container.config.load_text(text.as_bytes(), Path::new("lxc run"), &Files).map_err(Error::from)?;
    apply_options(context, &mut container).map_err(|e| Error::invalid(e.to_string()))?;
    let options = StartOptions {
        command: command.to_vec(),
        execute: true,
        daemonize: false,
        pidfile: None,
        close_all_fds: true,
        last_kept_fd: 2,
        caller_ends: false,
    };
    let result = container.start(options);
    drop(throw_away);
    Ok(match result? {
        Started::Ended(exit) => exit.code(),
        Started::Daemon => 0,
    })
}

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The layers of the overlay, as `lxc.rootfs.path` wants them. The upper one is below the
/// runtime directory, which is in memory on most hosts.
fn layers(directory: &Path, lower: &Path) -> Result<String, Error> {
    let delta = directory.join("overlay/delta");
    std::fs::create_dir_all(&delta).doing(|| format!("create {}", delta.display()))?;
    Ok(format!("{}:{}", lower.display(), delta.display()))
}
