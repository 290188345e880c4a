//! lxc-console

use crate::context::{Context, refuse};
use crate::getopt::{Arg, Opt, opt};
use crate::table::{Command, Name};
use lxc_core::State;

/// The command.
pub static COMMAND: Command = Command {
    name: "console",
    about: "Connect this terminal to one of a container's",
    usage: "NAME [OPTION…]",
    options: OPTIONS,
    takes_name: Name::Required,
    linked: true,
    details: "Connects to a free tty of the container (see lxc.tty.max), to the tty of a number, or with -t 0 to its \
              console. Ctrl-a q disconnects; Ctrl-a Ctrl-a types Ctrl-a.",
    run,
};

const OPTIONS: &[Opt] = &[
    opt('t', "tty", Arg::Required("NUMBER"), "Connect to this tty; 0 is the console"),
    opt('e', "escape", Arg::Required("PREFIX"), "Escape character: a letter or ^letter (default: ^a)"),
];

/// The control character of `a` or `^a`.
fn parse_escape(text: &str) -> anyhow::Result<(u8, char)> {
    let letter = text.strip_prefix('^').unwrap_or(text);
    match letter.as_bytes() {
        [c] if c.is_ascii_alphabetic() => {
            let lower = c.to_ascii_lowercase();
            Ok((lower - b'a' + 1, char::from(lower)))
        }
        _ => Err(refuse(format!("--escape {text}: expected a letter or ^letter"))),
    }
}

fn run(context: &Context) -> anyhow::Result<i32> {
    let number = context.number::<i32>("tty")?.unwrap_or(-1);
    let (escape, letter) = parse_escape(context.get("escape").unwrap_or("a"))?;
    let Some(container) = context.open_controllable() else { return Ok(1) };
    if container.state()? == State::Stopped {
        context.error(format!("{} is not running", context.name));
        return Ok(1);
    }
    let grant = match container.console_grant(number) {
        Ok(grant) => grant,
        Err(e) => return Ok(context.fail(&e)),
    };
    eprint!(
        "\nConnected to tty {}\nType <Ctrl+{letter} q> to exit the console, \
         <Ctrl+{letter} Ctrl+{letter}> to enter Ctrl+{letter} itself\n",
        grant.number
    );
    container.console_session(&grant, Some(escape))?;
    Ok(0)
}
