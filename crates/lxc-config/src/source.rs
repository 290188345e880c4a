//! What reading a configuration needs from the world around it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Files, environment and randomness for the reader of a configuration.
pub trait Source {
    /// The whole content of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// The names in a directory, in any order.
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>>;
    /// Whether the path is a directory or a symbolic link to one.
    fn is_dir(&self, path: &Path) -> bool;
    /// A variable of the environment, for `lxc.environment = NAME`.
    fn env(&self, name: &str) -> Option<String>;
    /// A random byte, for the `x` of hardware addresses.
    fn random(&self) -> u8;
}

/// A [`Source`] of files kept in memory, for tests.
#[derive(Debug, Default)]
pub struct MemorySource {
    files: BTreeMap<PathBuf, Vec<u8>>,
    env: BTreeMap<String, String>,
    random: AtomicU64,
}

impl MemorySource {
    /// A source without files and with an empty environment.
    pub fn new() -> MemorySource {
        MemorySource::default()
    }

    /// Adds a file; its parents become directories.
    pub fn file(mut self, path: impl Into<PathBuf>, content: impl Into<Vec<u8>>) -> MemorySource {
        self.files.insert(path.into(), content.into());
        self
    }

    /// Adds a variable to the environment.
    pub fn var(mut self, name: impl Into<String>, value: impl Into<String>) -> MemorySource {
        self.env.insert(name.into(), value.into());
        self
    }
}

impl Source for MemorySource {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        let names: Vec<OsString> = self
            .files
            .keys()
            .filter(|path| path.parent() == Some(dir))
            .filter_map(|path| path.file_name().map(OsString::from))
            .collect();
        if names.is_empty() && !self.is_dir(dir) { Err(io::ErrorKind::NotFound.into()) } else { Ok(names) }
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.files.keys().any(|file| file != path && file.starts_with(path))
    }

    fn env(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }

    /// A fixed sequence, so that tests repeat.
    fn random(&self) -> u8 {
        let step = self.random.fetch_add(1, Ordering::Relaxed);
        (step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u8
    }
}
