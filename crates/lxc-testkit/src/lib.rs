//! Throw-away containers for the end-to-end tests and the benchmark.
//!
//! A test takes an [`Lxcpath`] (a temporary directory that tidies up after the test however it ends), writes
//! a container into it with [`Lxcpath::busybox`], and runs the commands of a [`Suite`]: ours, from the staged
//! installation, or the peer, the LXC that the distribution installed under `/usr/bin`. Everything that a test
//! cannot do on this machine is skipped with [`needs!`], which leaves a record of what was not tested.
//!
//! Panics are how this crate reports: it is used in tests only.

mod cleanup;
pub mod client;
pub mod container;
pub mod debian;
pub mod filesystem;
mod lxcpath;
pub mod net;
pub mod process;
pub mod pty;
pub mod run;
pub mod skip;
mod suite;
pub mod user;

pub use container::Builder;
pub use filesystem::Disk;
pub use lxcpath::Lxcpath;
pub use process::{eventually, within};
pub use run::{Output, Running};
pub use suite::Suite;
pub use user::OrdinaryUser;

use std::time::Duration;

/// How long a command may take unless a test says otherwise.
const PATIENCE: Duration = Duration::from_secs(30);

/// A time limit that fits the machine: where the processor is emulated, `LXC_TEST_PATIENCE` says how many times
/// longer everything may take.
pub fn patience(limit: Duration) -> Duration {
    let factor = std::env::var("LXC_TEST_PATIENCE").ok().and_then(|f| f.parse().ok());
    limit * factor.unwrap_or(1)
}

/// The keys of lxc.container.conf(5), as the manual page lists them.
///
/// # Panics
/// When the page cannot be read.
pub fn manual_keys() -> Vec<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../man/man5/lxc.container.conf.5");
    let text = std::fs::read_to_string(page).expect("read the manual page of the keys");
    let text = text.split("NAMES OF LXC 1 AND 2").next().unwrap_or_default();
    let names = text.lines().filter_map(|l| l.strip_prefix("\\fB")?.split("\\fR").next());
    names.filter(|n| n.starts_with("lxc.")).map(|n| n.replace("\\-", "-")).collect()
}
