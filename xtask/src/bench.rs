//! The measurement, whose code is in benches/peer.rs.

use anyhow::{Result, bail};

use crate::build::{Profile, build};
use crate::install::install;
use crate::setup::{self, For};
use crate::shell;

/// `cargo xtask bench`.
pub fn run(options: &[&str]) -> Result<()> {
    let (profile, rest) = Profile::take(options);
    if !shell::is_root() {
        bail!("bench: the containers that are measured need root");
    }
    setup::run(For::Tests)?;
    let prefix = shell::target().join("bench-prefix");
    install(&build(profile)?, &prefix)?;
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
