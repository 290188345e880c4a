//! Files that are replaced as a whole.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::error::{Doing, Error, Result};

/// Reads a whole file with as few system calls as that takes.
pub fn read_small(path: &Path) -> lxc_sys::Result<Vec<u8>> {
    use rustix::fs::{Mode, OFlags};
    let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    read_to_end(std::os::fd::AsFd::as_fd(&fd))
}

/// Reads until the end. A short read is not the end: the kernel returns its tables page by page.
pub fn read_to_end(fd: std::os::fd::BorrowedFd<'_>) -> lxc_sys::Result<Vec<u8>> {
    const CHUNK: usize = 16 * 1024;
    let mut out = Vec::with_capacity(CHUNK);
    loop {
        if out.capacity() - out.len() < CHUNK / 2 {
            out.reserve(CHUNK);
        }
        match rustix::io::read(fd, rustix::buffer::spare_capacity(&mut out)) {
            Ok(0) => return Ok(out),
            Ok(_) | Err(lxc_sys::Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
}

/// Reads a small file of text.
pub fn read_text(path: impl AsRef<Path>) -> lxc_sys::Result<String> {
    read_small(path.as_ref()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Replaces a file: whoever reads it sees the old contents or the new, also after power failed.
/// An existing file's mode and owner are kept; a new one gets `mode`.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let what = || format!("write {}", path.display());
    // A link is followed: the file that it names is the one to replace.
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let dir = path.parent().ok_or_else(|| Error::invalid(what()))?;
    let name = path.file_name().ok_or_else(|| Error::invalid(what()))?.to_string_lossy();
    let temporary = dir.join(format!(".{name}.{}", rustix::process::getpid().as_raw_nonzero()));
    let write = || -> std::io::Result<()> {
        let mut file = File::options().write(true).create_new(true).mode(mode).open(&temporary)?;
        if let Ok(old) = std::fs::metadata(path) {
            std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
            file.set_permissions(std::fs::Permissions::from_mode(old.mode() & 0o7777))?;
        }
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        File::open(dir)?.sync_all()
    };
    write().doing(what).inspect_err(|_| {
        let _ = std::fs::remove_file(&temporary);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_mode() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("config");
        replace(&path, b"a", 0o640).expect("a new file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o604)).expect("a mode");
        replace(&path, b"b", 0o640).expect("the same file");
        assert_eq!(std::fs::metadata(&path).expect("the file").mode() & 0o777, 0o604);
        assert_eq!(std::fs::read_dir(dir.path()).expect("the directory").count(), 1);
    }
}
