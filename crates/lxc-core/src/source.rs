//! Configuration files read from the real file system.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// The host's files and environment, as lxc-config wants them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Files;

impl lxc_config::Source for Files {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        Ok(crate::files::read_small(path)?)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        std::fs::read_dir(dir)?.map(|e| e.map(|e| e.file_name())).collect()
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn random(&self) -> u8 {
        let mut byte = [0];
        match rustix::rand::getrandom(&mut byte[..], rustix::rand::GetRandomFlags::empty()) {
            Ok(_) => byte[0],
            // Only before the kernel's pool is ready; the pid is distinct enough for an address.
            Err(_) => rustix::process::getpid().as_raw_nonzero().get() as u8,
        }
    }
}

/// The host's files where those of a directory are in another one yet than a configuration says.
pub(crate) struct Moved<'a> {
    /// The directory that is named.
    pub(crate) named: &'a Path,
    /// Where its files are.
    pub(crate) there: &'a Path,
}

impl Moved<'_> {
    fn path(&self, path: &Path) -> PathBuf {
        path.strip_prefix(self.named).map_or_else(|_| path.to_path_buf(), |below| self.there.join(below))
    }
}

impl lxc_config::Source for Moved<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        Files.read(&self.path(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        Files.list(&self.path(dir))
    }

    fn is_dir(&self, path: &Path) -> bool {
        Files.is_dir(&self.path(path))
    }

    fn env(&self, name: &str) -> Option<String> {
        Files.env(name)
    }

    fn random(&self) -> u8 {
        Files.random()
    }
}
