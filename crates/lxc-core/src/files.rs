//! Files that are replaced as a whole.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use lxc_sys::Errno;
use rustix::fs::{AtFlags, CWD, FlockOperation, RenameFlags};

use crate::error::{Doing, Error, Result};

/// The path by which a descriptor can be used where a path is wanted.
pub fn fd_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Reads a whole file with as few system calls as that takes.
pub fn read_small(path: &Path) -> lxc_sys::Result<Vec<u8>> {
    use rustix::fs::{Mode, OFlags};
    let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    read_to_end(std::os::fd::AsFd::as_fd(&fd))
}

/// Reads until the end. A short read is not the end: the kernel returns its tables page by page.
pub fn read_to_end(fd: BorrowedFd<'_>) -> lxc_sys::Result<Vec<u8>> {
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
/// An existing file's mode and owner are kept; a new one gets `mode`. What a killed replacement left is removed.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let what = || format!("write {}", path.display());
    // A link is followed: the file that it names is the one to replace.
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let dir = path.parent().ok_or_else(|| Error::invalid(what()))?;
    let name = path.file_name().ok_or_else(|| Error::invalid(what()))?.to_string_lossy().into_owned();
    let prefix = format!(".{name}.");
    let temporary = dir.join(format!("{prefix}{}", rustix::process::getpid().as_raw_nonzero()));
    let write = || -> std::io::Result<()> {
        remove_abandoned(dir, &prefix);
        let mut file = new_file(dir, &temporary, mode)?;
        if let Ok(old) = std::fs::metadata(path) {
            std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
            file.set_permissions(std::fs::Permissions::from_mode(old.mode() & 0o7777))?;
        }
        file.write_all(bytes)?;
        file.sync_all()?;
        if !temporary.exists() {
            let source = format!("/proc/self/fd/{}", file.as_raw_fd());
            rustix::fs::linkat(CWD, &*source, CWD, &temporary, AtFlags::SYMLINK_FOLLOW)?;
        }
        std::fs::rename(&temporary, path)?;
        File::open(dir)?.sync_all()
    };
    write().doing(what).inspect_err(|_| {
        let _ = std::fs::remove_file(&temporary);
    })
}

/// Gives a directory another name, which none has that has something in it.
///
/// # Errors
/// One has it, or what rename(2) says.
pub fn rename_new(from: &Path, to: &Path) -> lxc_sys::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that cannot (NFS, ZFS before 2.2): rename(2) takes the place of empty directories alone.
        Err(Errno::INVAL) => rustix::fs::rename(from, to),
        renamed => renamed,
    }
}

/// Removes a file; one that is gone already is no error.
///
/// # Errors
/// It is still there.
pub fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).doing(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Writes a file to disk, or the names that are in a directory.
///
/// # Errors
/// The disk has not taken it.
pub fn sync(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).doing(|| format!("write {} to disk", path.display()))
}

/// A new file, locked. It has no name until it is complete, where the file system can do that.
fn new_file(dir: &Path, name: &Path, mode: u32) -> std::io::Result<File> {
    let unnamed = File::options().write(true).mode(mode).custom_flags(libc::O_TMPFILE).open(dir);
    let file = unnamed.or_else(|_| File::options().write(true).create_new(true).mode(mode).open(name))?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

/// Removes new files that nobody has locked: whoever made them was killed.
fn remove_abandoned(dir: &Path, prefix: &str) {
    for path in abandoned(dir, prefix) {
        let _ = std::fs::remove_file(path);
    }
}

/// New files in a directory, of names that begin so, that nobody has locked.
pub fn abandoned(dir: &Path, prefix: &str) -> Vec<PathBuf> {
    let is_abandoned = |path: &Path| {
        let name = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_prefix(prefix));
        let pid = name.and_then(|rest| rest.rsplit('.').next());
        pid.is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit()))
            && File::open(path)
                .is_ok_and(|file| rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok())
    };
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter(|e| e.file_type().is_ok_and(|t| t.is_file()))
        .map(|e| e.path())
        .filter(|p| is_abandoned(p))
        .collect()
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

    #[test]
    fn what_was_left_is_removed() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("config");
        std::fs::write(dir.path().join(".config.1"), "half").expect("a leftover");
        let busy = File::create(dir.path().join(".config.2")).expect("one that is being written");
        rustix::fs::flock(&busy, FlockOperation::LockExclusive).expect("a lock");
        replace(&path, b"a", 0o640).expect("a new file");
        assert!(!dir.path().join(".config.1").exists() && dir.path().join(".config.2").exists());
    }
}
