//! Manual pages and completions, written from the command and key tables.

use anyhow::{Result, bail};

use crate::shell;

/// Directories that are written.
const OUTPUT: [&str; 2] = ["man", "completions"];

/// `cargo xtask codegen`: the program that knows the tables is an example of lxc-cli.
pub fn run(options: &[&str]) -> Result<()> {
    let check = match options {
        [] => false,
        ["--check"] => true,
        _ => bail!("codegen: unknown options {options:?}"),
    };
    let mut cargo = shell::cargo();
    cargo.args(["run", "--quiet", "--package", "lxc-cli", "--example", "documentation", "--"]);
    if check {
        cargo.arg("--check");
    }
    shell::run(cargo.args(OUTPUT.map(|o| shell::root().join(o))))
}
