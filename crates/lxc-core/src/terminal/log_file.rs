//! The console's log file: appended, limited in size, rotated once.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Doing, Result};

/// An open log file.
#[derive(Debug)]
pub struct LogFile {
    file: File,
    path: PathBuf,
    /// Bytes in it, where a limit needs them.
    used: u64,
    /// Limit in bytes; 0 for none.
    limit: u64,
    rotate: bool,
}

fn open(path: &Path) -> std::io::Result<File> {
    File::options().append(true).create(true).mode(0o600).open(path)
}

impl LogFile {
    /// Opens the file, made with mode 0600 if absent.
    pub fn open(path: &Path, limit: u64, rotate: bool) -> Result<LogFile> {
        let what = || format!("open console log {}", path.display());
        let file = open(path).doing(what)?;
        let meta = file.metadata().doing(what)?;
        // What is not a file has no size to limit.
        let limit = if meta.is_file() { limit } else { 0 };
        Ok(LogFile { file, path: path.to_path_buf(), used: meta.len(), limit, rotate })
    }

    /// Appends output; at the limit the file is begun anew, its old contents kept as `FILE.1` when
    /// rotating.
    pub fn write(&mut self, mut chunk: &[u8]) -> std::io::Result<()> {
        while !chunk.is_empty() {
            let room = if self.limit == 0 { u64::MAX } else { self.limit.saturating_sub(self.used) };
            if room == 0 {
                self.begin_anew()?;
                continue;
            }
            let n = usize::try_from(room).unwrap_or(usize::MAX).min(chunk.len());
            self.file.write_all(&chunk[..n])?;
            self.used += n as u64;
            chunk = &chunk[n..];
        }
        Ok(())
    }

    fn begin_anew(&mut self) -> std::io::Result<()> {
        if self.rotate {
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            std::fs::rename(&self.path, old)?;
            self.file = open(&self.path)?;
        } else {
            self.file.set_len(0)?;
        }
        self.used = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotates_at_the_limit() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("log");
        let mut log = LogFile::open(&path, 4, true).expect("a log");
        log.write(b"abcdef").expect("a write");
        assert_eq!(std::fs::read(&path).expect("the log"), b"ef");
        assert_eq!(std::fs::read(dir.path().join("log.1")).expect("the old log"), b"abcd");
        let mut log = LogFile::open(&path, 4, false).expect("a log");
        log.write(b"ghij").expect("a write");
        assert_eq!(std::fs::read(&path).expect("the log"), b"ij");
    }
}
