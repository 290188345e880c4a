//! SELinux: the context that a container is executed in, and that of its keys (spec: security, section 2).

use std::os::fd::OwnedFd;

use lxc_sys::Errno;
use rustix::fs::{Mode, OFlags};

use crate::error::{Doing, Error, Result};
use crate::plan::host;

/// The context of the next program that the process executes (proc_pid_attr(5)).
pub(super) const FILES: &[&str] = &["attr/exec"];

/// The context of a process.
pub(super) fn label_of(pid: i32) -> Option<String> {
    host::read_label(&format!("/proc/{pid}/attr/current"))
}

/// Lets this process execute its next program in a context.
///
/// # Errors
/// The policy does not know the context, or does not let this process change to it.
pub(super) fn change(own: &OwnedFd, context: &str) -> Result<()> {
    // The kernel counts the NUL in, and takes it or not.
    let text = format!("{context}\0");
    let what = || format!("change to the SELinux context {context}");
    rustix::io::write(own, text.as_bytes()).map(drop).doing(what).map_err(explain)
}

/// What the policy has against a context.
fn explain(error: Error) -> Error {
    match error.errno() {
        Some(Errno::INVAL) => error.with_hint("the policy of this host knows no such context"),
        Some(Errno::ACCESS | Errno::PERM) => error
            .with_hint("the policy of this host does not let this process change to it: see ausearch -m avc"),
        _ => error,
    }
}

/// Keys that this process makes from now on have a context; `None`: what the policy says. While the host's /proc is in
/// sight.
pub fn label_keys(context: Option<&str>) -> Result<()> {
    const FILE: &str = "/proc/self/attr/keycreate";
    let what = || match context {
        Some(context) => format!("give new keys the SELinux context {context}: {FILE}"),
        None => format!("give new keys no SELinux context: {FILE}"),
    };
    let file = rustix::fs::open(FILE, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).doing(what)?;
    let text = context.map_or_else(|| "\n".to_string(), |c| format!("{c}\0"));
    rustix::io::write(&file, text.as_bytes()).map(drop).doing(what).map_err(explain)
}
