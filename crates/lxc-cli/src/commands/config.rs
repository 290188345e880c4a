//! lxc-config

use std::ffi::OsString;

use lxc_config::global::{GLOBAL_KEYS, find_global_key};
use lxc_core::global;

use crate::table::{Command, Name};

/// The command. It reads its arguments itself: any prefix of a key will do.
pub static COMMAND: Command = Command {
    name: "config",
    about: "Show the settings of lxc.conf",
    usage: "-l | ITEM",
    options: &[],
    takes_name: Name::Unused,
    linked: true,
    details: "Prints the value of a setting of lxc.conf(5), which may be abbreviated; with -l the names of all.",
    run: |_| Ok(1),
};

/// Runs the command.
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
