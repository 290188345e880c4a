//! The configuration of a container: every key declared once, read and written without loss.
//!
//! [`keys()`] is the table of all keys. From it come the parser, the texts that the API returns, the list of
//! supported keys, the manual page lxc.container.conf(5), completions and the suggestions of error messages.
//! [`Config`] holds what one container's file says, twice: typed as [`Values`], and as the text itself, in
//! which a change touches only the lines of the changed key.
//!
//! The crate makes no system call. Files, the environment and random digits come through [`Source`], which
//! the caller implements; [`MemorySource`] serves tests and examples.
//!
//! ```
//! use lxc_config::{Config, MemorySource};
//! use std::path::Path;
//!
//! let source = MemorySource::new();
//! let mut config = Config::new();
//! config.load_text(b"# web server\nlxc.uts.name = web\n", Path::new("config"), &source).unwrap();
//! config.set("lxc.uts.name", "www", &source).unwrap();
//! assert_eq!(config.values.uts_name.as_deref(), Some("www"));
//! assert_eq!(config.text(), b"# web server\nlxc.uts.name = www\n");
//! ```
#![forbid(unsafe_code)]

mod config;
pub mod device_rule;
mod diagnostic;
mod document;
mod effective;
pub mod global;
mod keys;
mod lexer;
mod listing;
mod load;
pub mod mount_entry;
pub mod scalar;
mod source;
pub mod update;
pub mod values;
pub mod words;

pub use config::Config;
pub use diagnostic::{ConfigError, Diagnostic, GetError, IncludedFrom, Location, Problem, ValueError};
pub use effective::Effective;
pub use global::GlobalConfig;
pub use keys::{
    DEFAULT_ROOTFS_MOUNT, Empty, Key, Kind, LEGACY_KEYS, LegacyKey, Sub, find_key, is_supported, keys,
};
pub use load::{check, check_into};
pub use source::{MemorySource, Source};
pub use values::*;
pub use words::split_command;
