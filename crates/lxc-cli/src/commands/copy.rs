//! lxc-copy

use std::ffi::CString;
use std::path::PathBuf;

use lxc_core::attach::{Options, Payload, protect};
use lxc_core::lifecycle::copy::CopyOptions;
use lxc_core::lifecycle::ephemeral::{EphemeralOptions, Sight};
use lxc_core::lifecycle::stop::Patience;
use lxc_core::plan::StorageKind;
use lxc_core::terminal::pty::any_stdio_is_terminal;
use lxc_core::{Container, Kind, State, storage};

use super::start;
use crate::context::{Context, refuse};
use crate::getopt::{Arg, Opt, long, opt};
use crate::progress::Bar;
use crate::size;
use crate::table::{Command, Name};

/// The command.
pub static COMMAND: Command = Command {
    name: "copy",
    about: "Copy, rename, or try out a container",
    usage: "NAME -N NEWNAME [OPTION…] [-- ARGUMENT…]",
    options: OPTIONS,
    takes_name: Name::Required,
    linked: true,
    details: "Copies a container with its root file system. With -s the copy shares what does not change, where the \
              storage can do that; of a directory an overlay is made. With -R it gets another name and nothing is \
              copied. With -e a copy is made for one use, started, and removed when it stops; what is after -- is run \
              in it, and its exit status is that of the command. Otherwise what is after -- is for the clone hooks.\n\n\
              A copy that fails leaves nothing, and the source is never touched.",
    run,
};

const OPTIONS: &[Opt] = &[
    opt('N', "newname", Arg::Required("NAME"), "Name of the copy"),
    opt('p', "newpath", Arg::Required("DIR"), "Directory of containers for the copy"),
    opt('R', "rename", Arg::No, "Rename instead"),
    opt('s', "snapshot", Arg::No, "Share what does not change"),
    opt('a', "allowrunning", Arg::No, "Copy also while the container runs"),
    opt('F', "foreground", Arg::No, "With -e: stay in the foreground"),
    opt('d', "daemon", Arg::No, "With -e: go to the background (the default)"),
    opt('e', "ephemeral", Arg::No, "Make a copy for one use, and start it"),
    opt(
        'm',
        "mount",
        Arg::Required("bind=SRC[:DEST[:ro|rw]]|overlay=SRC[:DEST]"),
        "With -e: show a directory of the host, as it is or under a layer of its own",
    ),
    opt('B', "backingstorage", Arg::Required("TYPE"), "Kind of storage of the copy"),
    opt('t', "tmpfs", Arg::No, "With -e: keep changes in memory"),
    opt(
        'L',
        "fssize",
        Arg::Required("SIZE"),
        "Size of block storage: a number with b, k, m (the default), g or t",
    ),
    opt('D', "keepdata", Arg::No, "With -e: keep the copy when it stops"),
    opt('K', "keepname", Arg::No, "Keep the host name"),
    opt('M', "keepmac", Arg::No, "Keep the hardware addresses"),
    long("verify", Arg::No, "Read the copy again, and compare it with the source"),
];

/// What of several sorts of copies: the last option decides.
fn mode(context: &Context) -> Option<&'static str> {
    context.matches.last_of(&["rename", "snapshot", "ephemeral"])
}

fn run(context: &Context) -> anyhow::Result<i32> {
    let mode = mode(context);
    let ephemeral = mode == Some("ephemeral");
    let sights = sights(context)?;
    if ephemeral && !context.words().is_empty() {
        // Before anything is opened: what runs in the copy can see this process, which attaches it.
        protect::run_protected()?;
    }
    if !ephemeral && context.get("newname").is_none() {
        context.error("You must provide a NEWNAME for the clone");
        return Ok(1);
    }
    let Some(container) = context.open_controllable() else { return Ok(1) };
    if !container.is_defined() {
        context.error(format!("Container {} is not defined", context.name));
        return Ok(1);
    }
    if mode == Some("rename") {
        return Ok(rename(context, &container));
    }
    let kind = match context.get("backingstorage").map(|name| (name, StorageKind::from_name(name))) {
        None => None,
        Some((_, Some(kind))) => Some(kind),
        // Any beginning of it will do.
        Some((name, None)) if !name.is_empty() && "overlayfs".starts_with(name) => Some(StorageKind::Overlay),
        Some((name, None)) => {
            context.error(format!("Failed to initialize {name} storage driver"));
            context.error("Failed to clone");
            return Ok(1);
        }
    };
    let size = context.get("fssize").map(|text| size::parse(text).map_err(refuse)).transpose()?;
    let bar = Bar::new(context);
    let options = CopyOptions {
        name: context.get("newname").map(String::from),
        lxcpath: context.get("newpath").map(PathBuf::from),
        snapshot: mode == Some("snapshot"),
        allow_running: context.has("allowrunning"),
        keep_name: context.has("keepname"),
        keep_addresses: context.has("keepmac"),
        verify: context.has("verify"),
        kind,
        storage: storage::Options { size, ..storage::Options::default() },
        hook_arguments: if ephemeral { Vec::new() } else { context.words().to_vec() },
        progress: bar.as_ref().map(Bar::hook),
        ..CopyOptions::default()
    };
    if !ephemeral {
        return match container.copy(&options) {
            Ok(_) => Ok(0),
            Err(e) => {
                context.report(&e);
                context.error("Failed to clone");
                Ok(1)
            }
        };
    }
    let wanted = EphemeralOptions { sights, tmpfs: context.has("tmpfs"), keep: context.has("keepdata") };
    let copy = match container.ephemeral(&options, &wanted) {
        Ok(copy) => copy,
        Err(e) => {
            context.report(&e);
            if e.kind() != Kind::AlreadyRunning {
                context.error("Failed to clone");
            }
            return Ok(1);
        }
    };
    drop(bar);
    use_once(context, &container, &copy, wanted.tmpfs)
}

fn rename(context: &Context, container: &Container) -> i32 {
    let new = context.get("newname").unwrap_or_default();
    match container.rename(new) {
        Ok(_) => 0,
        Err(e) => {
            context.report(&e);
            context.error(format!("Renaming container {} to {new} failed", context.name));
            1
        }
    }
}

/// Starts a copy, and runs a command in it where one is given.
fn use_once(context: &Context, source: &Container, copy: &Container, tmpfs: bool) -> anyhow::Result<i32> {
    let announce = || {
        if !context.quiet {
            println!("Created {} as clone of {}", copy.name(), source.name());
            if tmpfs {
                println!("Container is placed on tmpfs.");
                println!("Rebooting will cause all changes made to it to be lost!");
            }
        }
    };
    let words = context.words();
    let foreground =
        words.is_empty() && context.matches.last_of(&["daemon", "foreground"]) == Some("foreground");
    if foreground {
        announce();
    }
    if let Err(failure) = copy.start(start::options(foreground)) {
        start::report_failure(context, &failure);
        // An ephemeral container that never ran is not removed by its end.
        if let Err(e) = copy.destroy() {
            context.report(&e);
        }
        return Ok(1);
    }
    if foreground {
        return Ok(0);
    }
    announce();
    if words.is_empty() {
        return Ok(0);
    }
    let words: Result<Vec<CString>, _> = words.iter().map(|w| CString::new(w.as_str())).collect();
    let words = words.map_err(|_| refuse("an argument contains a NUL"))?;
    let options = Options { terminal: any_stdio_is_terminal(), clear_env: true, ..Options::default() };
    let status = copy.attach(&options, &Payload::Command(words));
    let stopped = match copy.shutdown(Patience::from_seconds(60)) {
        Err(e) if e.kind() == Kind::TimedOut => copy.stop(),
        stopped => stopped,
    };
    if let Err(e) = stopped.or_else(|e| if copy.state() == Ok(State::Stopped) { Ok(()) } else { Err(e) }) {
        context.report(&e);
    }
    match status {
        Ok(status) => Ok(status),
        Err(e) => Ok(context.fail(&e)),
    }
}

/// What -m says.
fn sights(context: &Context) -> anyhow::Result<Vec<Sight>> {
    let mut sights = Vec::new();
    for one in context.matches.all("mount").flat_map(|list| list.split(',')) {
        let (kind, rest) = one.split_once('=').unwrap_or((one, ""));
        let fields: Vec<&str> = rest.split(':').collect();
        let target = |text: &&str| (!text.is_empty()).then(|| text.to_string());
        let sight = match (kind, fields.as_slice()) {
            (_, [_, _, _, _, ..]) | ("overlay", [_, _, _, ..]) => {
                println!("Excess elements in mount specification");
                return Err(refuse(format!("--mount {one}")));
            }
            (_, [""]) => {
                return Err(refuse(format!("--mount {one}: expected bind=SRC[:DEST] or overlay=SRC[:DEST]")));
            }
            ("overlay", [source, rest @ ..]) => {
                Sight::Overlay { source: source.to_string(), target: rest.first().and_then(target) }
            }
            ("bind", [source]) => Sight::Bind { source: source.to_string(), target: None, read_only: false },
            ("bind", [source, access @ ("ro" | "rw")]) => {
                Sight::Bind { source: source.to_string(), target: None, read_only: *access == "ro" }
            }
            ("bind", [source, place]) => {
                Sight::Bind { source: source.to_string(), target: target(place), read_only: false }
            }
            ("bind", [source, place, access @ ("ro" | "rw")]) => {
                Sight::Bind { source: source.to_string(), target: target(place), read_only: *access == "ro" }
            }
            ("bind", _) => return Err(refuse(format!("--mount {one}: neither ro nor rw"))),
            _ => return Err(refuse(format!("--mount {one}: {kind:?} is neither bind nor overlay"))),
        };
        sights.push(sight);
    }
    Ok(sights)
}
