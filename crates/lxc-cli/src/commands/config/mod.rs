//! lxc-config: the settings of lxc.conf, and the configurations of containers.

mod check;
mod edit;
mod show;

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::bail;
use lxc_config::global::{GLOBAL_KEYS, find_global_key};
use lxc_core::{Container, global};

use crate::context::{Context, refuse};
use crate::getopt::{Arg, Opt, long};
use crate::table::{Command, Name};

/// The command. With a setting of lxc.conf it reads its arguments itself: any prefix of a key will do.
pub static COMMAND: Command = Command {
    name: "config",
    about: "Show settings, and check, show and change configurations",
    usage: "-l | ITEM | check [-n NAME | FILE] | show -n NAME | get -n NAME KEY | set -n NAME KEY VALUE | \
            unset -n NAME KEY | edit -n NAME",
    options: OPTIONS,
    takes_name: Name::Unused,
    linked: true,
    details: "With ITEM it prints the value of a setting of lxc.conf(5), which may be abbreviated; with -l the names of \
              all.\n\n\
              check looks for everything that is wrong with the configuration of a container, or with a file and what \
              it includes: each line that cannot be read, with the key that was probably meant; what a start would \
              refuse; and, as warnings, what has no effect on this host, contradicts itself, or is assigned again by \
              a later line. It changes and starts nothing. The status is 0 when a container would start.\n\n\
              show prints the file; with --resolved what it comes to, its includes read and its lines put \
              together.\n\n\
              get prints the value of a key, set assigns one and unset goes back to the default. A key that takes a \
              list gets another entry by set. A line that exists is changed in its place; comments, blank lines and \
              includes stay as they are, and the file is replaced as a whole. A container that runs is not changed: \
              with --running get asks it for the value that it was started with.\n\n\
              edit opens the file in $VISUAL or $EDITOR, and takes the result when it can be read.",
    run: subcommand,
};

const OPTIONS: &[Opt] = &[
    long("resolved", Arg::No, "show: what the configuration comes to"),
    long("format", Arg::Required("FORMAT"), "show and check: text, or json"),
    long("running", Arg::No, "get: the value in the running container"),
    long("strict", Arg::No, "check: warnings count as errors"),
];

type Run = fn(&Context) -> anyhow::Result<i32>;

/// What can be done with a container's configuration.
const SUBCOMMANDS: &[(&str, Run)] = &[
    ("check", check::run),
    ("show", show::run),
    ("get", edit::get),
    ("set", edit::set),
    ("unset", edit::unset),
    ("edit", edit::edit),
];

/// Whether the arguments are about a container's configuration, and not about lxc.conf.
pub fn is_subcommand(arguments: &[OsString]) -> bool {
    let names_one = |word: &OsString| SUBCOMMANDS.iter().any(|(name, _)| word == name);
    let begins_with_option = |word: &OsString| word.to_string_lossy().starts_with('-') && word != "-l";
    match arguments.first() {
        Some(word) if begins_with_option(word) => arguments.iter().any(names_one),
        first => first.is_some_and(names_one),
    }
}

fn subcommand(context: &Context) -> anyhow::Result<i32> {
    let word = context.words().first().map(String::as_str).unwrap_or_default();
    match SUBCOMMANDS.iter().find(|(name, _)| *name == word) {
        Some((_, run)) => run(context),
        None => Err(refuse("what to do must come first: check, show, get, set, unset or edit")),
    }
}

/// The words after the one that says what to do.
fn rest(context: &Context) -> &[String] {
    context.words().get(1..).unwrap_or_default()
}

/// The container that `-n` names; it must be defined.
fn container(context: &Context) -> anyhow::Result<Container> {
    let Some(name) = context.get("name") else { bail!("No container name specified: -n NAME is missing") };
    let container = Container::without_config(name, &context.lxcpath)?;
    if !container.config_path().is_file() {
        bail!("{name} is not defined: there is no {}", container.config_path().display());
    }
    Ok(container)
}

/// Whether `--format json` was given.
fn wants_json(context: &Context) -> anyhow::Result<bool> {
    match context.get("format") {
        None | Some("text") => Ok(false),
        Some("json") => Ok(true),
        Some(other) => Err(refuse(format!("--format {other}: text or json"))),
    }
}

/// `FILE:LINE`, as messages name a place.
fn place((file, line): &(PathBuf, u32)) -> String {
    format!("{}:{line}", file.display())
}

/// Shows a setting of lxc.conf.
pub fn run(invoked: &str, arguments: &[OsString]) -> i32 {
    let word = arguments.first().map(|a| a.to_string_lossy().into_owned()).unwrap_or_default();
    if word.is_empty() || "--help".starts_with(&word) || word == "-h" {
        println!("Usage: {invoked} -l: list all available configuration items");
        println!("       {invoked} item: print configuration item");
        return 0;
    }
    if word == "-l" {
        GLOBAL_KEYS.iter().filter(|k| k.listed).for_each(|k| println!("{}", k.name));
        return 0;
    }
    let Some(key) = find_global_key(&word) else {
        println!("Unknown configuration item: {word}");
        return 1;
    };
    match global::load().get(key.name).flatten() {
        Some(value) => println!("{value}"),
        None => println!("{word} is not set."),
    }
    0
}
