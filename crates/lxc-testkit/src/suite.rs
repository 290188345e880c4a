//! Whose commands are run.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{Output, Running};

/// A set of `lxc-*` commands in one directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suite {
    /// `ours` or `peer`.
    pub name: &'static str,
    bin: PathBuf,
}

impl Suite {
    /// Our commands: below `$LXC_TEST_PREFIX`, else where `cargo xtask test` installs them.
    ///
    /// # Panics
    /// When they are not installed; guard with `needs!(ours)`.
    pub fn ours() -> Suite {
        Suite::find_ours().unwrap_or_else(|e| panic!("{e}"))
    }

    /// The commands that the distribution installed.
    ///
    /// # Panics
    /// When they are not installed; guard with `needs!(peer)`.
    pub fn peer() -> Suite {
        Suite::find_peer().unwrap_or_else(|e| panic!("{e}"))
    }

    /// Ours, and the peer where it is installed: for what both must do alike.
    pub fn all() -> Vec<Suite> {
        [Suite::find_ours(), Suite::find_peer()].into_iter().flatten().collect()
    }

    /// Does the same with each suite that is installed; the results must be equal.
    ///
    /// # Panics
    /// When they differ.
    #[track_caller]
    pub fn compare<T: PartialEq + std::fmt::Debug>(act: impl Fn(&Suite) -> T) {
        let ours = act(&Suite::ours());
        if let Ok(peer) = Suite::find_peer() {
            assert_eq!(ours, act(&peer), "ours on the left, the peer on the right");
        }
    }

    pub(crate) fn find_ours() -> Result<Suite, String> {
        let staged = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/test-prefix");
        let prefix = std::env::var_os("LXC_TEST_PREFIX").map_or(staged, PathBuf::from);
        Suite::below("ours", &prefix).ok_or("our commands are not installed: run `cargo xtask test`".into())
    }

    /// The distribution's, or why it is not here.
    pub fn find_peer() -> Result<Suite, String> {
        Suite::below("peer", Path::new("/usr")).ok_or("needs the distribution's LXC (package lxc)".into())
    }

    fn below(name: &'static str, prefix: &Path) -> Option<Suite> {
        let bin = prefix.join("bin");
        bin.join("lxc-start").is_file().then_some(Suite { name, bin })
    }

    /// The path of a command, such as `lxc-start`.
    pub fn path(&self, command: &str) -> PathBuf {
        self.bin.join(command)
    }

    /// A command to add arguments to. Its surroundings are the same on every machine.
    pub fn command(&self, command: &str) -> Command {
        let mut c = Command::new(self.path(command));
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with("LXC_") || key == "POSIXLY_CORRECT" {
                c.env_remove(key);
            }
        }
        c.env("LC_ALL", "C");
        c
    }

    /// Runs a command to its end, with /dev/null as its input.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn run(&self, command: &str, arguments: &[&str]) -> Output {
        self.spawn(command, arguments).wait()
    }

    /// Starts a command and leaves it running; it is killed when the handle is dropped.
    pub fn spawn(&self, command: &str, arguments: &[&str]) -> Running {
        let mut c = self.command(command);
        c.args(arguments);
        Running::spawn(c)
    }
}

impl std::fmt::Display for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}
