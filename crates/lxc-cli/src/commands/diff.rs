//! lxc diff: what has changed in a container's files.

use lxc_core::storage::compare::Change;

use crate::context::Context;
use crate::getopt::{Arg, Opt, long};
use crate::table::{Command, Name};

/// The command.
pub static COMMAND: Command = Command {
    name: "diff",
    about: "Show what has changed in a container's root file system",
    usage: "NAME [OPTION…] [SNAPSHOT]",
    options: OPTIONS,
    takes_name: Name::Required,
    linked: false,
    details: "Compares the root file system with a snapshot; without one an overlay is compared with its lower layers, \
              and anything else with the last snapshot. Each line has a letter and a path: A is new, D is gone, M has \
              other contents, another owner or mode. Contents count as equal where size and time of change are.",
    run,
};

const OPTIONS: &[Opt] = &[long("json", Arg::No, "As JSON")];

fn run(context: &Context) -> anyhow::Result<i32> {
    if context.words().len() > 1 {
        context.error("Too many arguments");
        return Ok(1);
    }
    let Some(container) = context.open_controllable() else { return Ok(1) };
    if !container.is_defined() {
        context.error(format!("Container {} is not defined", context.name));
        return Ok(1);
    }
    let json = context.has("json");
    let snapshot = context.words().first().map(String::as_str);
    container.differences(snapshot, &mut |differences| {
        if json {
            let word = |change| match change {
                Change::Added => "added",
                Change::Removed => "removed",
                Change::Modified => "modified",
            };
            let list: Vec<_> = differences
                .iter()
                .map(|(change, path)| serde_json::json!({"change": word(*change), "path": format!("/{}", path.display())}))
                .collect();
            println!("{}", serde_json::Value::Array(list));
            return;
        }
        for (change, path) in differences {
            println!("{} /{}", change.letter(), path.display());
        }
    })?;
    Ok(0)
}
