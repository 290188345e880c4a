//! lxc gc: what killed processes have left.

use std::io::Write;

use lxc_core::gc::{self, Leftover};

use crate::context::{Context, refuse};
use crate::getopt::{Arg, Opt, long};
use crate::table::{Command, Name};

/// The command.
pub static COMMAND: Command = Command {
    name: "gc",
    about: "Remove what killed processes have left",
    usage: "[NAME] [OPTION…]",
    options: OPTIONS,
    takes_name: Name::Unused,
    linked: false,
    details: "Looks for what nobody uses any more, and removes it: cgroups without processes whose monitor is gone, \
              containers whose creation was interrupted, directories of an lxc run, pipes of an lxc-monitord, pairs of \
              network devices that never came into a container, ports of Open vSwitch without a device, AppArmor \
              profiles of containers that do not run, and the record of an lxc-net whose bridge is gone. Each is \
              listed with the reason. What is in use is never touched.\n\n\
              Containers are those of the lxcpath; cgroups, devices and the rest are the host's. With a name, only what \
              is left of that container. Nothing needs this command: the next start of a container finds its own \
              remains. It exits with 1 when something could not be removed.",
    run,
};

const OPTIONS: &[Opt] = &[
    long("dry-run", Arg::No, "Only list what would be removed"),
    long(
        "kind",
        Arg::Required("KIND"),
        "Only cgroup, container, directory, fifo, port, profile, service or veth",
    ),
    long("json", Arg::No, "List as JSON"),
];

fn run(context: &Context) -> anyhow::Result<i32> {
    let mut found = gc::find(&context.lxcpath)?;
    let name = context.get("name").or(context.words().first().map(String::as_str));
    if let Some(name) = name {
        found.retain(|leftover| leftover.is_of(name));
    }
    if let Some(kind) = context.get("kind") {
        if !Leftover::KINDS.contains(&kind) {
            return Err(refuse(format!("--kind {kind}: not one of {}", Leftover::KINDS.join(", "))));
        }
        found.retain(|leftover| leftover.kind() == kind);
    }
    let mut status = 0;
    let mut removed = Vec::new();
    for leftover in found {
        if !context.has("dry-run")
            && let Err(e) = leftover.remove()
        {
            context.report(&e);
            status = 1;
            continue;
        }
        removed.push(leftover);
    }
    let mut out = std::io::stdout();
    if context.has("json") {
        let all: Vec<_> = removed.iter().map(json).collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
    } else {
        removed.iter().try_for_each(|leftover| writeln!(out, "{leftover}"))?;
    }
    Ok(status)
}

fn json(leftover: &Leftover) -> serde_json::Value {
    serde_json::json!({
        "kind": leftover.kind(),
        "name": leftover.name(),
        "reason": leftover.reason(),
    })
}
