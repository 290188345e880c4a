//! lxc seccomp

use std::path::Path;

use lxc_core::seccomp;

use crate::context::{Context, refuse};
use crate::table::{Command, Name};

/// The command.
pub static COMMAND: Command = Command {
    name: "seccomp",
    about: "Show what a seccomp policy comes to",
    usage: "explain FILE",
    options: &[],
    takes_name: Name::Unused,
    linked: false,
    details: "Reads a policy as lxc.seccomp.profile names it and prints, for each architecture that a process on this \
              host can have, which calls it is about, their numbers, and what becomes of them. A call that an \
              architecture does not have is shown as such.",
    run,
};

fn run(context: &Context) -> anyhow::Result<i32> {
    match context.words() {
        [word, file] if word == "explain" => {
            print!("{}", seccomp::explain(&seccomp::read(Path::new(file))?));
            Ok(0)
        }
        _ => Err(refuse("expected: explain FILE")),
    }
}
