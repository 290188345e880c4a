//! What the machine must have, beside Rust.

use std::process::Command;

use anyhow::{Result, bail};

use crate::shell;

/// What the packages are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// `build`, `install` and `demo`.
    Building,
    /// `test` and `bench`: containers to run, and the peer to compare with.
    Tests,
}

const BUILDING: &[&str] = &["gcc", "libc6-dev"];
/// busybox-static and mmdebstrap make the systems that are started, lxc is the peer.
const TESTS: &[&str] = &["busybox-static", "lxc", "mmdebstrap", "util-linux"];

/// Installs what is missing.
pub fn run(purpose: For) -> Result<()> {
    let wanted: Vec<&str> = match purpose {
        For::Building => BUILDING.to_vec(),
        For::Tests => [BUILDING, TESTS].concat(),
    };
    if !shell::has("dpkg-query") {
        if wanted.iter().all(|p| shell::has(program_of(p))) {
            return Ok(());
        }
        bail!("this is not Debian: install what matches its packages {} yourself", wanted.join(" "));
    }
    let missing = missing(&wanted)?;
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !shell::is_root() {
        bail!("packages are missing; run as root: apt-get install --no-install-recommends {list}");
    }
    println!("installing {list}");
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").arg("--quiet");
        apt
    };
    shell::run(apt().arg("update"))?;
    shell::run(apt().args(["install", "--yes", "--no-install-recommends"]).args(&missing))
}

fn missing<'a>(wanted: &[&'a str]) -> Result<Vec<&'a str>> {
    let query = Command::new("dpkg-query")
        .args(["-W", "-f", "${Package} ${db:Status-Status}\n"])
        .args(wanted)
        .output()?;
    // Its exit status is 1 when one of the names is unknown.
    let text = String::from_utf8_lossy(&query.stdout);
    Ok(wanted.iter().copied().filter(|p| !text.lines().any(|l| l == format!("{p} installed"))).collect())
}

fn program_of(package: &str) -> &str {
    match package {
        "busybox-static" => "busybox",
        "lxc" => "lxc-start",
        "util-linux" => "setpriv",
        "libc6-dev" => "gcc",
        other => other,
    }
}
