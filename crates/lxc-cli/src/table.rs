//! The command table: drives dispatch, help, manual pages, completions and the installed links.

use crate::commands;
use crate::context::Context;
use crate::getopt::{Arg, Opt, long, opt};

/// How a command finds its container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// `-n` or the first positional.
    Required,
    /// None: positionals are the command's own.
    Unused,
}

/// A command.
#[derive(Debug)]
pub struct Command {
    /// Name without `lxc-`.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// What follows the program in the usage line.
    pub usage: &'static str,
    /// Options of its own.
    pub options: &'static [Opt],
    /// How it finds its container.
    pub takes_name: Name,
    /// Part of upstream's set, thus installed as `lxc-NAME`.
    pub linked: bool,
    /// Longer text for the manual page: paragraphs.
    pub details: &'static str,
    /// Does it. The answer is the exit status.
    pub run: fn(&Context) -> anyhow::Result<i32>,
}

/// All commands in the order of the help.
pub static COMMANDS: &[&Command] = &[
    &commands::attach::COMMAND,
    &commands::autostart::COMMAND,
    &commands::cgroup::COMMAND,
    &commands::config::COMMAND,
    &commands::console::COMMAND,
    &commands::copy::COMMAND,
    &commands::create::COMMAND,
    &commands::destroy::COMMAND,
    &commands::device::COMMAND,
    &commands::diff::COMMAND,
    &commands::execute::COMMAND,
    &commands::export::COMMAND,
    &commands::freeze::COMMAND,
    &commands::gc::COMMAND,
    &commands::import::COMMAND,
    &commands::info::COMMAND,
    &commands::ls::COMMAND,
    &commands::monitor::COMMAND,
    &commands::monitord::COMMAND,
    &commands::net::COMMAND,
    &commands::run::COMMAND,
    &commands::seccomp::COMMAND,
    &commands::snapshot::COMMAND,
    &commands::start::COMMAND,
    &commands::stop::COMMAND,
    &commands::freeze::UNFREEZE,
    &commands::unshare::COMMAND,
    &commands::update_config::COMMAND,
    &commands::usernsexec::COMMAND,
    &commands::wait::COMMAND,
];

/// Options of every command.
pub static COMMON: &[Opt] = &[
    opt('n', "name", Arg::Required("NAME"), "Name of the container"),
    opt('P', "lxcpath", Arg::Required("DIR"), "Directory of containers"),
    opt('o', "logfile", Arg::Required("FILE"), "Write the log to FILE"),
    opt('l', "logpriority", Arg::Required("LEVEL"), "Log records of LEVEL and above"),
    opt('q', "quiet", Arg::No, "Print no messages"),
    long("rcfile", Arg::Required("FILE"), "Read the configuration from FILE instead of the container's own"),
    opt('?', "help", Arg::No, "Show this help"),
    long("usage", Arg::No, "List the options in short"),
    long("version", Arg::No, "Show the version"),
];

/// Other names of commands: what Debian's scripts do for ordinary users, the commands do by themselves.
pub static ALIASES: &[(&str, &str)] = &[("unpriv-attach", "attach"), ("unpriv-start", "start")];

/// The command of a name.
pub fn find(name: &str) -> Option<&'static Command> {
    let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name);
    COMMANDS.iter().copied().find(|c| c.name == name)
}

/// The known name that is nearest to a mistyped one.
pub fn nearest(name: &str) -> Option<&'static str> {
    let distance = |other: &str| -> usize {
        let (a, b): (Vec<char>, Vec<char>) = (name.chars().collect(), other.chars().collect());
        let mut row: Vec<usize> = (0..=b.len()).collect();
        for i in 1..=a.len() {
            let mut diagonal = row[0];
            row[0] = i;
            for j in 1..=b.len() {
                let cost = diagonal + usize::from(a[i - 1] != b[j - 1]);
                diagonal = row[j];
                row[j] = cost.min(row[j] + 1).min(row[j - 1] + 1);
            }
        }
        row[b.len()]
    };
    let best = COMMANDS.iter().map(|c| (distance(c.name), c.name)).min()?;
    (best.0 <= 2).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_option_is_declared_twice() {
        for command in COMMANDS {
            let all: Vec<&Opt> = command.options.iter().chain(COMMON).collect();
            for (i, a) in all.iter().enumerate() {
                for b in &all[i + 1..] {
                    // They have another letter in some commands.
                    let relettered = ["rcfile", "help"].contains(&a.long);
                    assert!(a.long != b.long || relettered, "{}: --{}", command.name, a.long);
                    assert!(a.short.is_none() || a.short != b.short, "{}: {:?}", command.name, a.short);
                }
                assert!(!a.help.is_empty() && !a.help.ends_with('.'), "{}: --{}", command.name, a.long);
            }
        }
    }

    #[test]
    fn suggestions() {
        assert_eq!(nearest("strat"), Some("start"));
        assert_eq!(nearest("xyzzy"), None);
    }
}
