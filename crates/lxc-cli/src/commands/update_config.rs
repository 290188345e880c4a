//! lxc-update-config

use std::path::Path;

use lxc_config::update::{Change, update};
use lxc_core::error::Doing;
use lxc_core::files;

use crate::context::Context;
use crate::getopt::{Arg, Opt, opt};
use crate::table::{Command, Name};

/// The command.
pub static COMMAND: Command = Command {
    name: "update-config",
    about: "Give a configuration of LXC 1 or 2 the names of today",
    usage: "-c FILE",
    options: OPTIONS,
    takes_name: Name::Unused,
    linked: true,
    details: "Renames the keys in FILE that LXC 3 and later call otherwise, also those in comments, and removes those \
              that have no effect any more. Everything else stays as it is. What changes is printed as a diff; the \
              file as it was is kept in FILE.backup.",
    run,
};

const OPTIONS: &[Opt] = &[
    opt('c', "config", Arg::Required("FILE"), "The configuration to update"),
    opt('d', "dry-run", Arg::No, "Print the diff and write nothing"),
];

/// What upstream's program prints without arguments.
pub fn usage(invoked: &str) {
    println!("{invoked} -h|--help [-c|--config]\nconfig: the container configuration to update");
}

fn run(context: &Context) -> anyhow::Result<i32> {
    let Some(file) = context.get("config") else {
        usage("lxc-update-config");
        return Ok(0);
    };
    let path = Path::new(file);
    let old = std::fs::read(path).doing(|| format!("read {file}"))?;
    let (new, changes) = update(&old);
    if !changes.is_empty() {
        println!("--- {file}\n+++ {file}");
        changes.iter().fold(0, print);
    }
    if context.has("dry-run") {
        return Ok(0);
    }
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(path).doing(|| format!("look at {file}"))?.permissions(),
    );
    files::replace(Path::new(&format!("{file}.backup")), &old, mode & 0o7777)?;
    files::replace(path, &new, 0o640)?;
    Ok(0)
}

/// One change as a hunk of a unified diff without context; `removed` lines went before it.
fn print(removed: u32, change: &Change) -> u32 {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let line = change.line - removed;
    match &change.new {
        Some(new) => {
            println!("@@ -{0} +{line} @@\n-{1}\n+{2}", change.line, text(&change.old), text(new));
            removed
        }
        None => {
            println!("@@ -{} +{},0 @@\n-{}", change.line, line - 1, text(&change.old));
            removed + 1
        }
    }
}
