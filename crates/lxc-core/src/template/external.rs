//! Template programs.

use std::path::Path;
use std::process::{Command, Stdio};

use super::Request;
use crate::error::{Doing, Error, Kind, Result};

/// Runs a template program with upstream's arguments. The caller has a mount namespace of its own.
pub fn run(program: &Path, request: &Request<'_>, more: &[String]) -> Result<()> {
    let what = || format!("run the template {}", program.display());
    let mut command = Command::new(program);
    command
        .arg(format!("--path={}", request.path.display()))
        .arg(format!("--name={}", request.name))
        .arg(format!("--rootfs={}", request.rootfs.display()))
        .args(request.arguments)
        .args(more);
    if request.quiet {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    }
    let status = command.status().doing(what)?;
    if status.success() {
        return Ok(());
    }
    Err(Error::new(Kind::Failed, format!("{}: it ended with {status}", what())))
}
