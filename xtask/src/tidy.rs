//! Rules of the house that neither the compiler nor clippy knows.

mod arrows;
mod files;

use anyhow::{Result, bail};

use crate::{codegen, defences, shell};

/// A rule: what is wrong, one line each.
type Rule = fn() -> Result<Vec<String>>;

const RULES: &[(&str, Rule)] = &[
    ("imports run downwards, between the crates", arrows::crates),
    ("imports run downwards, inside lxc-core", arrows::rooms),
    ("unsafe code is in lxc-sys", files::no_unsafe),
    ("only the commands print", files::no_print),
    ("no file is longer than 600 lines", files::short),
    ("every command has a test file, and every test file is used", files::tested),
    ("manual pages and completions are current", current),
    ("each defence can be taken out", defences::stale),
    ("nothing of one machine is in the sources", files::portable),
];

fn current() -> Result<Vec<String>> {
    // It says itself what is not.
    Ok(codegen::run(&["--check"]).err().map(|e| format!("{e:#}")).into_iter().collect())
}

/// `cargo xtask tidy`.
pub fn run() -> Result<()> {
    let mut wrong = 0;
    for (name, rule) in RULES {
        let found = rule()?;
        println!("{} {name}", if found.is_empty() { "ok    " } else { "FAILED" });
        for line in &found {
            println!("       {line}");
        }
        wrong += found.len();
    }
    let formatted = shell::cargo().args(["fmt", "--all", "--check", "--", "-l"]).output()?;
    println!("{} the sources are formatted", if formatted.status.success() { "ok    " } else { "FAILED" });
    if !formatted.status.success() {
        print!(
            "{}{}",
            String::from_utf8_lossy(&formatted.stdout),
            String::from_utf8_lossy(&formatted.stderr)
        );
        wrong += 1;
    }
    if wrong > 0 {
        bail!("tidy: {wrong} findings");
    }
    Ok(())
}
