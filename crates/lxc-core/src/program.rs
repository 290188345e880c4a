//! Programs of others that are asked to do something.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::error::{Doing, Error, Kind, Result};

/// Variables of the environment that are set for a program.
pub type Setting<'a> = &'a [(&'a str, &'a str)];

/// What is said is looked at: in no other language.
pub const PLAIN: Setting<'static> = &[("LC_ALL", "C")];

/// Runs a program to its end, with /dev/null as its input, and returns what it wrote to standard output.
///
/// # Errors
/// It cannot be run, or its status is not 0: then with its words, and what it wrote to standard error.
pub fn run(program: &str, words: &[&str]) -> Result<String> {
    run_with(program, words, &[])
}

/// The same in an environment in which something more is set.
///
/// # Errors
/// As [`run`].
pub fn run_with(program: &str, words: &[&str], setting: Setting<'_>) -> Result<String> {
    let what = || format!("{program} {}", words.join(" "));
    let mut command = Command::new(program);
    command.args(words).envs(setting.iter().copied()).stdin(Stdio::null());
    // Of the keys of a terminal it hears nothing: stopped, it would keep what its caller has locked.
    command.process_group(0);
    let output = command.output().doing(what)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    Err(Error::new(Kind::Failed, format!("{}: {said}", what())))
}
