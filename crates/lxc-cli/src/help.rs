//! Help texts, made from the tables.

use std::fmt::Write;

use crate::getopt::{Arg, Opt};
use crate::table::{COMMON, Command};

/// Options of a command, its own first.
pub fn all_options(command: &Command) -> Vec<Opt> {
    let own = command.options.iter().copied();
    let common = COMMON.iter().copied().filter(|c| command.options.iter().all(|o| o.long != c.long));
    own.chain(common).collect()
}

/// The help of `--help`.
pub fn help(command: &Command) -> String {
    let mut out = format!("Usage: lxc-{} {}\n\n{}\n", command.name, command.usage, command.about);
    if !command.options.is_empty() {
        out.push_str("\nOptions :\n");
        command.options.iter().for_each(|o| line(&mut out, o));
    }
    out.push_str("\nCommon options :\n");
    let own = |c: &&Opt| command.options.iter().all(|o| o.long != c.long);
    COMMON.iter().filter(own).for_each(|o| line(&mut out, o));
    let _ = write!(
        out,
        "\nAn argument that a long option needs, its short form needs too.\nSee the lxc-{} man page for more.\n",
        command.name
    );
    out
}

fn line(out: &mut String, o: &Opt) {
    let mut left = match o.short {
        Some(c) => format!("  -{c}, --{}", o.long),
        None => format!("      --{}", o.long),
    };
    match o.arg {
        Arg::No => {}
        Arg::Required(name) => {
            let _ = write!(left, "={name}");
        }
        Arg::Optional(name) => {
            let _ = write!(left, "[={name}]");
        }
    }
    let _ = writeln!(out, "{left:<30} {}", o.help);
}

/// The list of `--usage`: four options a line.
pub fn usage(command: &Command) -> String {
    let mut out = format!("Usage: lxc-{} ", command.name);
    let options = all_options(command);
    for (i, o) in options.iter().enumerate() {
        let argument = match o.arg {
            Arg::No => String::new(),
            Arg::Required(name) => format!("={name}"),
            Arg::Optional(name) => format!("[={name}]"),
        };
        let _ = match o.short {
            Some(c) => write!(out, "[-{c}|--{}{argument}] ", o.long),
            None => write!(out, "[--{}{argument}] ", o.long),
        };
        if (i + 1) % 4 == 0 {
            out.push_str("\n\t");
        }
    }
    out.push('\n');
    out
}
