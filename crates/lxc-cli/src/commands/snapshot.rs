//! lxc-snapshot

use std::path::Path;

use lxc_core::Container;
use lxc_core::lifecycle::snapshot::Snapshot;

use crate::context::Context;
use crate::getopt::{Arg, Opt, long, opt};
use crate::progress::Bar;
use crate::table::{Command, Name};

/// The command.
pub static COMMAND: Command = Command {
    name: "snapshot",
    about: "Take, list, restore and destroy snapshots of a container",
    usage: "NAME [OPTION…] [NEWNAME]",
    options: OPTIONS,
    takes_name: Name::Required,
    linked: true,
    details: "Without -L, -r or -d a snapshot is taken of a container that does not run. Snapshots of overlays, btrfs \
              and zfs share what has not changed; of a directory everything is copied.\n\n\
              A container that is restored under its own name becomes what it was and keeps its snapshots; when that \
              fails it stays as it is.",
    run,
};

const OPTIONS: &[Opt] = &[
    opt('L', "list", Arg::No, "List the snapshots"),
    opt('C', "showcomments", Arg::No, "With -L: show their comments"),
    opt('c', "comment", Arg::Required("FILE"), "Keep FILE as a comment on the snapshot that is taken"),
    opt(
        'r',
        "restore",
        Arg::Required("SNAP"),
        "Restore a snapshot, under the container's own name or NEWNAME",
    ),
    opt('N', "newname", Arg::Required("NAME"), "Name of the container that is made of the snapshot"),
    opt('d', "destroy", Arg::Required("SNAP"), "Destroy a snapshot; ALL destroys all"),
    long("json", Arg::No, "With -L: the list as JSON, with times and sizes"),
    long("format", Arg::Required("FORMAT"), "With -L: text (the default) or json"),
];

fn run(context: &Context) -> anyhow::Result<i32> {
    let json = match context.get("format") {
        Some("json") => true,
        Some("text") | None => context.has("json"),
        Some(other) => {
            return Err(crate::context::refuse(format!("--format {other}: neither text nor json")));
        }
    };
    if context.words().len() > 1 {
        context.error("Too many arguments");
        return Ok(1);
    }
    let Some(container) = context.open_controllable() else { return Ok(1) };
    if !container.is_defined() {
        context.error(format!("No such container: {}", context.full_name()));
        return Ok(1);
    }
    match context.matches.last_of(&["list", "restore", "destroy"]) {
        Some("list") => list(context, &container, json),
        Some("restore") => Ok(restore(context, &container)),
        Some("destroy") => Ok(destroy(context, &container)),
        _ => Ok(take(context, &container)),
    }
}

fn take(context: &Context, container: &Container) -> i32 {
    let bar = Bar::new(context);
    match container.snapshot(context.get("comment").map(Path::new), bar.as_ref().map(Bar::hook)) {
        Ok(_) => 0,
        Err(e) => {
            drop(bar);
            context.report(&e);
            context.error("Error creating a snapshot");
            1
        }
    }
}

fn restore(context: &Context, container: &Container) -> i32 {
    let snapshot = context.get("restore").unwrap_or_default();
    let name = context.get("newname").or(context.words().first().map(String::as_str));
    let bar = Bar::new(context);
    match container.restore(snapshot, name, bar.as_ref().map(Bar::hook)) {
        Ok(()) => 0,
        Err(e) => {
            drop(bar);
            context.report(&e);
            context.error(format!("Error restoring snapshot {snapshot}"));
            1
        }
    }
}

fn destroy(context: &Context, container: &Container) -> i32 {
    let snapshot = context.get("destroy").unwrap_or_default();
    // Any beginning of it will do.
    let all = !snapshot.is_empty() && "ALL".starts_with(snapshot);
    let done = if all { container.destroy_snapshots() } else { container.destroy_snapshot(snapshot) };
    match done {
        Ok(()) => 0,
        Err(e) => {
            context.report(&e);
            context.error(format!("Error destroying snapshot {snapshot}"));
            1
        }
    }
}

fn list(context: &Context, container: &Container, json: bool) -> anyhow::Result<i32> {
    let snapshots = container.snapshots()?;
    if json {
        let list = snapshots.iter().map(as_json).collect::<anyhow::Result<Vec<_>>>()?;
        println!("{}", serde_json::to_string_pretty(&list)?);
        return Ok(0);
    }
    if snapshots.is_empty() {
        println!("No snapshots");
        return Ok(0);
    }
    for snapshot in &snapshots {
        let time = snapshot.time.as_deref().unwrap_or_default();
        println!("{} ({}) {time}", snapshot.name, snapshot.lxcpath.display());
        if let (true, Some(file)) = (context.has("showcomments"), &snapshot.comment) {
            print!("{}", std::fs::read_to_string(file)?);
        }
    }
    Ok(0)
}

fn as_json(snapshot: &Snapshot) -> anyhow::Result<serde_json::Value> {
    let comment = snapshot.comment.as_ref().map(std::fs::read_to_string).transpose()?;
    Ok(serde_json::json!({
        "name": snapshot.name,
        "lxcpath": snapshot.lxcpath,
        "time": snapshot.time,
        "comment": comment,
        "size": snapshot.size()?,
    }))
}
