//! What is different between two directory trees.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};

use super::copy::{attributes_of, check_depth};
use crate::error::{Doing, Result};
use crate::files::fd_path;

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

/// How closely is looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Contents count as equal where size and time of the last change are.
    Quick,
    /// The contents of the new files are read from disk, and everything else that files have is looked at: times of
    /// directories, names of one file, extended attributes.
    Everything,
}

/// Compares two trees, the old one first.
///
/// # Errors
/// A directory, or what is to be looked at of a file, cannot be read.
pub fn compare(old: BorrowedFd<'_>, new: BorrowedFd<'_>, look: Look) -> Result<Vec<Difference>> {
    let open =
        |fd: BorrowedFd<'_>| rustix::fs::openat(fd, ".", DIRECTORY, Mode::empty()).doing(|| "open a root");
    let mut comparison = Comparison { look, names: <[_; 2]>::default(), found: Vec::new() };
    comparison.directories(&open(old)?, &open(new)?, Path::new(""))?;
    Ok(comparison.found)
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

struct Comparison {
    look: Look,
    /// First names of files with several, in the old tree and in the new one, by device and inode.
    names: [HashMap<(u64, u64), PathBuf>; 2],
    found: Vec<Difference>,
}

impl Comparison {
    fn directories(&mut self, old: &OwnedFd, new: &OwnedFd, path: &Path) -> Result<()> {
        check_depth(path)?;
        let (before, after) = (entries(old, path)?, entries(new, path)?);
        let mut names: Vec<&CString> = before.keys().chain(after.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let below = path.join(std::ffi::OsStr::from_bytes(name.to_bytes()));
            match (before.get(name), after.get(name)) {
                (Some(a), Some(b)) => {
                    let is_directory = |s: &Stat| FileType::from_raw_mode(s.st_mode) == FileType::Directory;
                    let is_same = is_same((old, a), (new, b), name)
                        && (self.look == Look::Quick
                            || self.is_same_in_everything((old, a), (new, b), name, &below)?);
                    if !is_same {
                        self.found.push((Change::Modified, below.clone()));
                    }
                    if is_directory(a) && is_directory(b) {
                        let open = |at: &OwnedFd| {
                            rustix::fs::openat(at, name.as_c_str(), DIRECTORY, Mode::empty())
                                .doing(|| format!("open {}", below.display()))
                        };
                        self.directories(&open(old)?, &open(new)?, &below)?;
                    }
                }
                (None, Some(_)) => self.found.push((Change::Added, below)),
                (Some(_), None) => self.found.push((Change::Removed, below)),
                (None, None) => {}
            }
        }
        Ok(())
    }

    /// What [`is_same`] does not look at.
    fn is_same_in_everything(
        &mut self,
        (old, a): (&OwnedFd, &Stat),
        (new, b): (&OwnedFd, &Stat),
        name: &CStr,
        path: &Path,
    ) -> Result<bool> {
        let what = || format!("compare {}", path.display());
        if (a.st_mtime, a.st_mtime_nsec) != (b.st_mtime, b.st_mtime_nsec) {
            return Ok(false);
        }
        let kind = FileType::from_raw_mode(a.st_mode);
        if kind != FileType::Directory && (a.st_nlink > 1 || b.st_nlink > 1) {
            let [before, after] = &mut self.names;
            let first = |names: &mut HashMap<(u64, u64), PathBuf>, s: &Stat| {
                names.entry((s.st_dev, s.st_ino)).or_insert_with(|| path.to_path_buf()).clone()
            };
            if first(before, a) != first(after, b) {
                return Ok(false);
            }
        }
        let named = |at: &OwnedFd| {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(at, name, flags, Mode::empty())?;
            attributes_of(&fd_path(fd.as_fd()))
        };
        if named(old).doing(what)? != named(new).doing(what)? {
            return Ok(false);
        }
        if kind != FileType::RegularFile {
            return Ok(true);
        }
        let open = |at: &OwnedFd| {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
            rustix::fs::openat(at, name, flags, Mode::empty()).map(File::from)
        };
        let (old, new) = (open(old).doing(what)?, open(new).doing(what)?);
        // What was written is in memory as well, and that is not what is to be looked at.
        rustix::fs::fadvise(&new, 0, None, rustix::fs::Advice::DontNeed).doing(what)?;
        has_same_contents(old, new).doing(what)
    }
}

fn has_same_contents(mut old: File, mut new: File) -> std::io::Result<bool> {
    const CHUNK: usize = 256 * 1024;
    let (mut one, mut other) = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        let n = old.read(&mut one)?;
        match new.read_exact(&mut other[..n]) {
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
            read => read?,
        }
        if n == 0 {
            // Both end here.
            return new.read(&mut other).map(|more| more == 0);
        }
        if one[..n] != other[..n] {
            return Ok(false);
        }
    }
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// What is found where a file of a copy is not what it was, by both sorts of looking.
    fn after(change: impl FnOnce(&Path)) -> [Vec<Difference>; 2] {
        let directory = tempfile::tempdir().expect("a directory");
        let (old, new) = (directory.path().join("old"), directory.path().join("new"));
        std::fs::create_dir_all(old.join("d/e")).expect("directories");
        std::fs::write(old.join("d/file"), "contents").expect("a file");
        std::fs::hard_link(old.join("d/file"), old.join("again")).expect("a second name");
        std::fs::create_dir(&new).expect("a directory");
        let open = |path: &Path| File::open(path).expect("open");
        super::super::copy::copy_tree(open(&old).as_fd(), open(&new).as_fd(), false, None).expect("copied");
        change(&new);
        [Look::Quick, Look::Everything]
            .map(|look| compare(open(&old).as_fd(), open(&new).as_fd(), look).expect("compared"))
    }

    fn modified(paths: &[&str]) -> Vec<Difference> {
        paths.iter().map(|path| (Change::Modified, PathBuf::from(path))).collect()
    }

    #[test]
    fn a_copy_is_the_same() {
        assert_eq!(after(|_| {}), [vec![], vec![]]);
    }

    #[test]
    fn contents_of_the_same_size_and_time() {
        let found = after(|new| {
            let file = new.join("d/file");
            let time = file.metadata().and_then(|m| m.modified()).expect("a time");
            std::fs::write(&file, "c0ntents").expect("written");
            File::options().write(true).open(&file).and_then(|f| f.set_modified(time)).expect("set");
        });
        assert_eq!(found, [vec![], modified(&["again", "d/file"])]);
    }

    #[test]
    fn names_and_modes() {
        let [quick, everything] = after(|new| {
            let (file, again) = (new.join("d/file"), new.join("again"));
            let time = file.metadata().and_then(|m| m.modified()).expect("a time");
            std::fs::remove_file(&again).expect("removed");
            std::fs::write(&again, "contents").expect("written");
            File::options().write(true).open(&again).and_then(|f| f.set_modified(time)).expect("set");
            std::fs::set_permissions(new.join("d/e"), PermissionsExt::from_mode(0o700)).expect("set");
        });
        assert_eq!(quick, modified(&["d/e"]));
        assert!(everything.contains(&(Change::Modified, "d/file".into())), "{everything:?}");
    }
}
