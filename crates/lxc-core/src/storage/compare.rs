//! What is different between two directory trees.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};

use crate::error::{Doing, Result};

/// What has become of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is of another kind, or its contents, owner or mode are others.
    Modified,
}

impl Change {
    /// A letter for it.
    pub fn letter(self) -> char {
        match self {
            Change::Added => 'A',
            Change::Removed => 'D',
            Change::Modified => 'M',
        }
    }
}

/// A difference: what, and where below the root. Of a directory that is new or gone only itself is told.
pub type Difference = (Change, PathBuf);

/// Compares two trees, the old one first. Contents count as equal where size and time of the last change are.
///
/// # Errors
/// A directory cannot be read.
pub fn compare(old: BorrowedFd<'_>, new: BorrowedFd<'_>) -> Result<Vec<Difference>> {
    let open =
        |fd: BorrowedFd<'_>| rustix::fs::openat(fd, ".", DIRECTORY, Mode::empty()).doing(|| "open a root");
    let mut out = Vec::new();
    directories(&open(old)?, &open(new)?, Path::new(""), &mut out)?;
    Ok(out)
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn directories(old: &OwnedFd, new: &OwnedFd, path: &Path, out: &mut Vec<Difference>) -> Result<()> {
    let (before, after) = (entries(old, path)?, entries(new, path)?);
    let mut names: Vec<&CString> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let below = path.join(std::ffi::OsStr::from_bytes(name.to_bytes()));
        match (before.get(name), after.get(name)) {
            (Some(a), Some(b)) => {
                let is_directory = |s: &Stat| FileType::from_raw_mode(s.st_mode) == FileType::Directory;
                if !is_same((old, a), (new, b), name) {
                    out.push((Change::Modified, below.clone()));
                }
                if is_directory(a) && is_directory(b) {
                    let open = |at: &OwnedFd| {
                        rustix::fs::openat(at, name.as_c_str(), DIRECTORY, Mode::empty())
                            .doing(|| format!("open {}", below.display()))
                    };
                    directories(&open(old)?, &open(new)?, &below, out)?;
                }
            }
            (None, Some(_)) => out.push((Change::Added, below)),
            (Some(_), None) => out.push((Change::Removed, below)),
            (None, None) => {}
        }
    }
    Ok(())
}

fn entries(directory: &OwnedFd, path: &Path) -> Result<BTreeMap<CString, Stat>> {
    let what = || format!("read directory {}", path.display());
    let mut found = BTreeMap::new();
    for entry in Dir::read_from(directory).doing(what)? {
        let entry = entry.doing(what)?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).doing(what)?;
            found.insert(name.to_owned(), stat);
        }
    }
    Ok(found)
}

fn is_same((old, a): (&OwnedFd, &Stat), (new, b): (&OwnedFd, &Stat), name: &CStr) -> bool {
    if (a.st_mode, a.st_uid, a.st_gid, a.st_rdev) != (b.st_mode, b.st_uid, b.st_gid, b.st_rdev) {
        return false;
    }
    match FileType::from_raw_mode(a.st_mode) {
        FileType::RegularFile => {
            (a.st_size, a.st_mtime, a.st_mtime_nsec) == (b.st_size, b.st_mtime, b.st_mtime_nsec)
        }
        FileType::Symlink => {
            let target = |at: &OwnedFd| rustix::fs::readlinkat(at, name, Vec::new()).ok();
            target(old) == target(new)
        }
        // Times of directories change with what is in them, which is told by itself.
        _ => true,
    }
}
