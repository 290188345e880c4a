//! All tests, and what they did not test.

mod in_guest;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::build::{Profile, build};
use crate::install::install;
use crate::setup::{self, For};
use crate::shell;

/// `cargo xtask test [--vm [--kernel WORDS]] [FILTER]`.
pub fn run(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["--vm", filter @ ..] => in_guest::run(filter),
        filter => here(filter),
    }
}

fn here(filter: &[&str]) -> Result<()> {
    setup::run(For::Tests)?;
    let prefix = shell::target().join("test-prefix");
    install(&build(Profile::Quick)?, &prefix, &prefix)?;
    let skips = record();
    // A file left by another user cannot be written, but removed.
    let _ = std::fs::remove_file(&skips);
    std::fs::write(&skips, "").with_context(|| format!("write {}", skips.display()))?;

    let nextest =
        Command::new("cargo").args(["nextest", "--version"]).output().is_ok_and(|o| o.status.success());
    let mut counts = Counts::default();
    let mut runs: Vec<Vec<&str>> = Vec::new();
    if nextest {
        runs.push(vec!["nextest", "run", "--workspace", "--no-fail-fast", "--no-tests=pass"]);
        runs.push(vec!["test", "--workspace", "--doc", "--no-fail-fast"]);
    } else {
        runs.push(vec!["test", "--workspace", "--no-fail-fast"]);
    }
    for arguments in &runs {
        counts.add(one(arguments, filter, &prefix, &skips, None)?);
    }
    if !shell::is_root() && can_sudo() {
        // Once more those that need root: the others were skipped above.
        std::fs::write(&skips, "")?;
        let sudo = "sudo -n --preserve-env=PATH,LXC_TEST_PREFIX,LXC_TEST_SKIPS,LXC_TEST_KILLS";
        counts.add(one(&["test", "--package", "lxc", "--test", "cli"], filter, &prefix, &skips, Some(sudo))?);
    }
    report(&counts, &skips)
}

/// Where the last run on this machine wrote down what it skipped.
fn record() -> PathBuf {
    shell::target().join("test-skips")
}

#[derive(Debug, Default)]
struct Counts {
    passed: usize,
    failed: usize,
    /// A run that failed without saying how many tests did, because it did not compile for example.
    broken: bool,
}

impl Counts {
    /// Takes the numbers from a line of output that has them.
    fn see(&mut self, line: &str) {
        if line.trim_start().starts_with("Summary [") || line.starts_with("test result: ") {
            self.passed += number_before(line, " passed");
            self.failed += number_before(line, " failed") + number_before(line, " timed out");
        }
    }

    fn add(&mut self, other: Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.broken |= other.broken;
    }
}

/// Runs cargo, with its output shown and counted.
fn one(
    arguments: &[&str],
    filter: &[&str],
    prefix: &Path,
    skips: &Path,
    runner: Option<&str>,
) -> Result<Counts> {
    let mut cargo = shell::cargo();
    cargo.args(arguments).arg("--").args(filter).env("LXC_TEST_PREFIX", prefix).env("LXC_TEST_SKIPS", skips);
    cargo.env("CARGO_TERM_COLOR", "never");
    if let Some(runner) = runner {
        let triple = shell::host_triple()?.to_uppercase().replace('-', "_");
        cargo.env(format!("CARGO_TARGET_{triple}_RUNNER"), runner);
    }
    println!("$ {}", shell::show(&cargo));
    // nextest reports on standard error, the test programs on standard output.
    let nextest = arguments[0] == "nextest";
    let pipe = |piped| if piped { Stdio::piped() } else { Stdio::inherit() };
    let mut child = cargo.stdout(pipe(!nextest)).stderr(pipe(nextest)).spawn().context("run cargo")?;
    let stream: Box<dyn std::io::Read> = match (child.stdout.take(), child.stderr.take()) {
        (Some(out), _) => Box::new(out),
        (_, Some(err)) => Box::new(err),
        (None, None) => bail!("cargo has no output"),
    };
    let mut counts = Counts::default();
    for line in BufReader::new(stream).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        counts.see(&line);
    }
    counts.broken = !child.wait()?.success();
    Ok(counts)
}

/// `12` for `3 skipped, 12 passed` and ` passed`; 0 when it is not there.
fn number_before(line: &str, word: &str) -> usize {
    let before = line.split(word).next().filter(|b| b.len() < line.len()).unwrap_or_default();
    before.rsplit(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn can_sudo() -> bool {
    let quiet =
        |c: &mut Command| c.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success());
    quiet(Command::new("sudo").args(["-n", "true"]))
}

fn report(counts: &Counts, skips: &Path) -> Result<()> {
    let text = std::fs::read_to_string(skips).context("read the record of skipped tests")?;
    let mut skipped: Vec<&str> = text.lines().collect();
    skipped.sort_unstable();
    skipped.dedup();
    println!();
    for line in &skipped {
        let (test, reason) = line.split_once('\t').unwrap_or((line, ""));
        println!("skipped {test}: {reason}");
    }
    if !skipped.is_empty() && !shell::is_root() {
        println!("the end-to-end tests need root: run as root, or with a sudo that asks for no password");
    }
    // A test that skips itself counts as passed for the harness.
    let passed = counts.passed.saturating_sub(skipped.len());
    println!("{passed} passed, {} failed, {} skipped", counts.failed, skipped.len());
    if counts.broken || counts.failed > 0 {
        bail!("the tests failed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::number_before;

    #[test]
    fn counts_are_found() {
        let nextest =
            "     Summary [   1.2s] 30 tests run: 27 passed (1 slow), 2 failed, 1 timed out, 4 skipped";
        assert_eq!(number_before(nextest, " passed"), 27);
        assert_eq!(number_before(nextest, " failed"), 2);
        assert_eq!(number_before(nextest, " timed out"), 1);
        assert_eq!(number_before("test result: ok. 5 passed; 0 failed; 0 ignored", " passed"), 5);
        assert_eq!(number_before("nothing", " passed"), 0);
    }
}
