//! The measurement, whose code is in benches/peer.rs.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::build::{Profile, build, static_program};
use crate::install::install;
use crate::setup::{self, For};
use crate::shell;
use crate::vm::Guest;

/// `cargo xtask bench`.
pub fn run(options: &[&str]) -> Result<()> {
    let (profile, mut rest) = Profile::take(options);
    if rest.first() == Some(&"--vm") {
        return in_guest(profile, &rest.split_off(1));
    }
    if !shell::is_root() {
        bail!("bench: the containers that are measured need root");
    }
    setup::run(For::Tests)?;
    let prefix = shell::target().join("bench-prefix");
    install(&build(profile)?, &prefix, &prefix)?;
    let mut cargo = shell::cargo();
    // The program that measures needs no LTO.
    cargo.args([
        "bench",
        "--quiet",
        "--profile",
        "quick",
        "--package",
        "lxc-testkit",
        "--bench",
        "peer",
        "--",
    ]);
    shell::run(cargo.args(rest).env("LXC_TEST_PREFIX", prefix))
}

/// The processor is emulated there, and the clock counts its instructions: the ratios say something, and they are the
/// same each time.
fn in_guest(profile: Profile, rows: &[&str]) -> Result<()> {
    setup::run(For::Vm)?;
    let work = shell::target().join("vm-bench");
    let _ = std::fs::remove_dir_all(&work);
    std::fs::create_dir_all(&work)?;
    std::fs::copy(static_program("lxc-testkit", "--bench", "peer")?, work.join("peer"))?;
    let guest =
        Guest { work: Some(work), limit: Duration::from_secs(3600), counted: true, ..Guest::default() };
    let rows: Vec<String> = rows.iter().map(|r| format!("'{r}'")).collect();
    let script = format!("LXC_TEST_PREFIX=/usr/local LXC_TEST_PATIENCE=10 ./peer {}", rows.join(" "));
    let streams = (Box::new(std::io::stdout()), Box::new(std::io::stderr()));
    match guest.run(&script, &build(profile)?, streams.0, streams.1)? {
        0 => Ok(()),
        status => bail!("bench: exit status {status}"),
    }
}
