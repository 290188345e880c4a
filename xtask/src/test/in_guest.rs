//! The end-to-end tests on the other kind of host.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Counts, record, report};
use crate::build::{Profile, build, static_program};
use crate::setup::{self, For};
use crate::shell;
use crate::vm::{Guest, TEST_CACHE};

/// How much more time than here the tests give everything there: the processor is emulated.
const PATIENCE: u32 = 10;
/// They wait more than they compute.
const THREADS: u32 = 4;

/// `cargo xtask test --vm [--kernel WORDS] [FILTER]`: what was skipped on this machine comes first.
pub fn run(options: &[&str]) -> Result<()> {
    let (kernel, filter) = match options {
        ["--kernel", words, filter @ ..] => (*words, filter),
        filter => ("", filter),
    };
    setup::run(For::Vm)?;
    let program = static_program("lxc", "--test", "cli")?;
    let work = shell::target().join("vm-tests");
    let out = shell::target().join("vm-out");
    for directory in [&work, &out] {
        let _ = std::fs::remove_dir_all(directory);
        std::fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    }
    std::fs::copy(&program, work.join("cli"))?;

    let mut script = format!(
        "export LXC_TEST_PREFIX=/usr/local LXC_TEST_SKIPS=/out/skips LXC_TEST_CACHE={TEST_CACHE} \\\n\
         LXC_TEST_PATIENCE={PATIENCE} RUST_BACKTRACE=0\n\
         failed=0\n: >/out/skips\n"
    );
    for arguments in runs(filter, &skipped_here()) {
        script += &format!("./cli --test-threads={THREADS} {arguments} || failed=1\n");
    }
    script += "exit $failed";
    let counts = Arc::new(Mutex::new(Counts::default()));
    let counter = Counter { line: Vec::new(), counts: counts.clone() };
    let guest = Guest {
        work: Some(work),
        out: Some(out.clone()),
        limit: Duration::from_secs(7200),
        kernel: kernel.into(),
        ..Guest::default()
    };
    let status =
        guest.run(&script, &build(Profile::Quick)?, Box::new(counter), Box::new(std::io::stderr()))?;
    let mut counts = std::mem::take(&mut *counts.lock().unwrap_or_else(PoisonError::into_inner));
    counts.broken = status != 0;
    report(&counts, &out.join("skips"))
}

/// The arguments of each run of the tests: first those that this machine could not run, then the rest.
fn runs(filter: &[&str], first: &[String]) -> Vec<String> {
    if !filter.is_empty() || first.is_empty() {
        return vec![filter.join(" ")];
    }
    let skips: Vec<String> = first.iter().map(|t| format!("--skip {t}")).collect();
    vec![format!("--exact {}", first.join(" ")), format!("--exact {}", skips.join(" "))]
}

/// The names of the tests that the last run here skipped. None, when there was no such run.
fn skipped_here() -> Vec<String> {
    let text = std::fs::read_to_string(record()).unwrap_or_default();
    let names = text.lines().filter_map(|l| l.split('\t').next()?.strip_prefix("cli::"));
    let mut names: Vec<String> = names.map(str::to_string).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Shows the output and counts what it reports.
struct Counter {
    line: Vec<u8>,
    counts: Arc<Mutex<Counts>>,
}

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = String::from_utf8_lossy(&self.line).into_owned();
                self.counts.lock().unwrap_or_else(PoisonError::into_inner).see(&line);
                self.line.clear();
            }
        }
        std::io::stdout().write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stdout().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::runs;

    #[test]
    fn what_was_skipped_comes_first() {
        assert_eq!(runs(&[], &[]), [""]);
        assert_eq!(runs(&["stop"], &["limits::pids".into()]), ["stop"]);
        let two = ["--exact limits::pids", "--exact --skip limits::pids"];
        assert_eq!(runs(&[], &["limits::pids".into()]), two);
    }
}
