//! What every command begins with: its options, its container, its log.

use std::path::{Path, PathBuf};

use lxc_core::container::normalize_lxcpath;
use lxc_core::{Container, Error, Kind, global, log, paths};

use crate::getopt::Matches;
use crate::table::Command;

/// The version of LXC that the commands and files are compatible with.
pub const API_VERSION: &str = "7.0.0";

/// A command about to run.
#[derive(Debug)]
pub struct Context {
    /// The command.
    pub command: &'static Command,
    /// Its options and positionals; the container's name is taken out.
    pub matches: Matches,
    /// The container's name; empty where the command needs none.
    pub name: String,
    /// Directory of containers.
    pub lxcpath: PathBuf,
    /// No messages.
    pub quiet: bool,
}

impl Context {
    /// The program's name in messages, whatever it was invoked as.
    pub fn program(&self) -> String {
        format!("lxc-{}", self.command.name)
    }

    /// An option's argument.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.matches.get(name)
    }

    /// Whether an option was given.
    pub fn has(&self, name: &str) -> bool {
        self.matches.has(name)
    }

    /// Words that are no options.
    pub fn words(&self) -> &[String] {
        &self.matches.positionals
    }

    /// Prints a message to stderr, with program and container, and logs it.
    pub fn error(&self, message: impl std::fmt::Display) {
        ::log::error!("{message}");
    }

    /// Prints an error of the core with its remedy.
    pub fn report(&self, error: &Error) {
        self.error(error);
        if let (Some(hint), false) = (error.hint(), self.quiet) {
            eprintln!("{}: hint: {}", self.program(), hint.trim_end());
        }
    }

    /// Begins the log as the options say (spec: cli-common, section 4).
    pub fn init_log(&self) -> Result<(), Error> {
        let program = self.program();
        let level = match self.get("logpriority") {
            None => None,
            Some(word) => {
                let level = lxc_config::LogLevel::from_name(word);
                if level.is_none() && !self.quiet {
                    eprintln!("{program}: unknown log level {word:?}: using ERROR");
                }
                level.or(Some(lxc_config::LogLevel::Error))
            }
        };
        let file = match self.get("logfile") {
            Some("none") => None,
            Some(file) => Some(PathBuf::from(file)),
            None if level.is_some() && !self.name.is_empty() => Some(self.default_log()),
            None => None,
        };
        let fixed = self.get("logfile").is_some();
        let options = log::Options {
            prefix: &program,
            name: (!self.name.is_empty()).then_some(&self.name),
            file: file.as_deref(),
            level,
            stderr: !self.quiet,
        };
        match log::init(&options) {
            Err(e) if fixed => Err(e.during("Failed to enable logfile")),
            // A default file that cannot be made is no reason to fail.
            Err(_) => log::init(&log::Options { file: None, ..options }),
            Ok(()) => Ok(()),
        }
    }

    fn default_log(&self) -> PathBuf {
        let system = rustix::process::geteuid().is_root() && self.lxcpath == paths::built_in_lxcpath();
        let dir = if system { paths::log_dir() } else { self.lxcpath.join(&self.name) };
        dir.join(format!("{}.log", self.name))
    }

    /// Opens the container; `None`: the reason was printed.
    pub fn open(&self) -> Option<Container> {
        let opened = match self.get("rcfile") {
            Some(file) => Container::with_rcfile(&self.name, &self.lxcpath, Path::new(file))
                .map_err(|e| e.during("Failed to load rcfile")),
            None => Container::open(&self.name, &self.lxcpath)
                .map_err(|e| e.during(format!("Failed to load config for {}", self.name))),
        };
        match opened {
            Ok(container) => Some(container),
            Err(e) => {
                self.report(&e);
                None
            }
        }
    }

    /// Opens a container that the caller may control; `None`: the reason was printed.
    pub fn open_controllable(&self) -> Option<Container> {
        let container = self.open()?;
        if container.may_control() {
            return Some(container);
        }
        self.error(format!("Insufficent privileges to control {}", self.name));
        None
    }

    /// Prints an error; a failed command's exit status.
    pub fn fail(&self, error: &Error) -> i32 {
        match error.kind() {
            Kind::Denied if error.errno() == Some(lxc_sys::Errno::PERM) => {
                self.error(format!("Insufficent privileges to control {}", self.name));
            }
            _ => self.report(error),
        }
        1
    }

    /// `lxcpath:name`, as messages name containers.
    pub fn full_name(&self) -> String {
        format!("{}:{}", self.lxcpath.display(), self.name)
    }

    /// An option's argument as a number.
    ///
    /// # Errors
    /// It is none.
    pub fn number<N: std::str::FromStr>(&self, option: &str) -> anyhow::Result<Option<N>> {
        match self.get(option) {
            None => Ok(None),
            Some(text) => match text.trim().parse() {
                Ok(n) => Ok(Some(n)),
                Err(_) => Err(refuse(format!("--{option} {text}: not a number"))),
            },
        }
    }
}

/// An argument that an option cannot take: printed with upstream's "could not parse command line".
#[derive(Debug)]
pub struct BadArgument(pub String);

impl std::fmt::Display for BadArgument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadArgument {}

/// Refuses an option's argument.
pub fn refuse(reason: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(BadArgument(reason.into()))
}

/// The lxcpath of a command line, or the configured one.
pub fn lxcpath(matches: &Matches) -> PathBuf {
    match matches.get("lxcpath") {
        Some(path) => normalize_lxcpath(Path::new(path)),
        None => global::lxcpath(),
    }
}
