//! From argv to a command.

use std::ffi::OsString;
use std::path::Path;

use crate::context::{API_VERSION, BadArgument, Context, lxcpath};
use crate::getopt::{self, Matches};
use crate::help;
use crate::table::{self, ALIASES, COMMANDS, Command, Name};

/// Runs the program: as `lxc-CMD` by its name, or as `lxc CMD`.
pub fn run(arguments: Vec<OsString>) -> i32 {
    let invoked = arguments.first().map(|a| a.to_string_lossy().into_owned()).unwrap_or_default();
    let base = Path::new(&invoked).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let rest = arguments.get(1..).unwrap_or_default();
    if let Some(command) = base.strip_prefix("lxc-").and_then(table::find) {
        return run_command(command, &invoked, rest);
    }
    match rest.first().map(|w| w.to_string_lossy().into_owned()).as_deref() {
        Some("--version") => {
            println!("{API_VERSION}\nlxc {} (an implementation of LXC in Rust)", env!("CARGO_PKG_VERSION"));
            0
        }
        Some("--list-commands") => {
            COMMANDS.iter().filter(|c| c.linked).for_each(|c| println!("{}", c.name));
            ALIASES.iter().for_each(|(alias, _)| println!("{alias}"));
            0
        }
        Some("help") => match rest.get(1).and_then(|c| table::find(&c.to_string_lossy())) {
            Some(command) => {
                print!("{}", help::help(command));
                0
            }
            None => overview(),
        },
        None | Some("-h" | "--help") => overview(),
        Some(name) => match table::find(name) {
            Some(command) => run_command(command, name, &rest[1..]),
            None => unknown(name),
        },
    }
}

fn overview() -> i32 {
    eprintln!("Usage: lxc COMMAND [OPTION…]\n\nContainers: isolated systems and programs on this kernel.\n");
    eprintln!("Each command is also a program of its own, lxc-COMMAND, with the same options.");
    eprintln!("lxc COMMAND --help explains a command.\n\nKnown commands:");
    for command in COMMANDS {
        eprintln!("  {:<10} {}", command.name, command.about);
    }
    1
}

fn unknown(name: &str) -> i32 {
    eprintln!("Unsupported command '{name}'");
    if let Some(nearest) = table::nearest(name) {
        eprintln!("Did you mean '{nearest}'?");
    }
    let names: String = COMMANDS.iter().map(|c| format!("{} ", c.name)).collect();
    eprintln!("Known commands:\n{names}");
    1
}

fn run_command(command: &'static Command, invoked: &str, arguments: &[OsString]) -> i32 {
    if std::ptr::eq(command, &crate::commands::config::COMMAND)
        && !crate::commands::config::is_subcommand(arguments)
    {
        return crate::commands::config::run(invoked, arguments);
    }
    if std::ptr::eq(command, &crate::commands::update_config::COMMAND)
        && matches!(arguments.first().map(|a| a.to_string_lossy()).as_deref(), None | Some("-h" | "--help"))
    {
        crate::commands::update_config::usage(invoked);
        return 0;
    }
    // The letters of help are handled apart: they differ in the exit status.
    let mut options = help::all_options(command);
    options.push(getopt::opt('h', "help", getopt::Arg::No, ""));
    let mut matches = match getopt::parse(invoked, &options, arguments) {
        Ok(matches) => matches,
        Err(refused) => {
            eprintln!("{}", refused.0);
            eprint!("{}", help::help(command));
            return 1;
        }
    };
    if let Some(status) = answer_about(command, &matches, arguments) {
        return status;
    }
    let program = format!("lxc-{}", command.name);
    let quiet = matches.has("quiet");
    if matches.all("lxcpath").count() > 1 && command.name != "monitor" {
        eprintln!("This command only accepts 1 -P,--lxcpath arguments");
        return 1;
    }
    let name = match take_name(command, &mut matches) {
        Some(name) => name,
        None => {
            if !quiet {
                eprintln!("{program}: No container name specified");
            }
            return 1;
        }
    };
    let lxcpath = lxcpath(&matches);
    let context = Context { command, matches, name, lxcpath, quiet };
    if let Err(e) = context.init_log() {
        eprintln!("{program}: {e}");
        return 1;
    }
    match (command.run)(&context) {
        Ok(status) => status,
        Err(e) if e.is::<BadArgument>() => {
            if !quiet {
                eprintln!("{program}: could not parse command line: {e}");
            }
            1
        }
        Err(e) => match e.downcast_ref::<lxc_core::Error>() {
            Some(core) => context.fail(core),
            None => {
                context.error(format!("{e:#}"));
                1
            }
        },
    }
}

/// --help, --usage and --version.
fn answer_about(command: &Command, matches: &Matches, arguments: &[OsString]) -> Option<i32> {
    match matches.last_of(&["help", "usage", "version"])? {
        "version" => println!("{API_VERSION}"),
        "usage" => eprint!("{}", help::usage(command)),
        _ => {
            eprint!("{}", help::help(command));
            if let Some(text) = template_help(command, matches) {
                eprint!("\n{text}");
            }
            let question = |a: &OsString| {
                let a = a.to_string_lossy();
                a.starts_with('-') && !a.starts_with("--") && a.ends_with('?')
            };
            return Some(i32::from(arguments.iter().any(question)));
        }
    }
    Some(0)
}

/// `lxc-create -t NAME -h` explains the template too.
fn template_help(command: &Command, matches: &Matches) -> Option<String> {
    if command.name != "create" {
        return None;
    }
    let template = lxc_core::template::Template::find(matches.get("template")?).ok()?;
    if let lxc_core::template::Template::Program(program) = &template {
        let output = std::process::Command::new(program).arg("-h").output().ok()?;
        return Some(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned());
    }
    template.help().map(str::to_string)
}

/// The container's name: `-n`, else the first word.
fn take_name(command: &Command, matches: &mut Matches) -> Option<String> {
    if command.takes_name == Name::Unused {
        return Some(String::new());
    }
    if let Some(name) = matches.get("name") {
        return Some(name.to_string());
    }
    if matches.positionals.is_empty() {
        return None;
    }
    matches.before_dashes = matches.before_dashes.saturating_sub(1);
    Some(matches.positionals.remove(0))
}
