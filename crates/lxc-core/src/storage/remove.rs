//! Removing a directory tree that a container may have filled.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use lxc_sys::{Errno, btrfs};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags};

use crate::error::{Doing, Error, Result};

/// Removes a directory with everything below it on the same file system. Links are removed, never
/// followed; what is mounted inside is refused, not emptied. With `missing_is_fine` an absent
/// directory is no error.
pub fn remove_directory(path: &Path, missing_is_fine: bool) -> Result<()> {
    remove_directory_except(path, missing_is_fine, &[])
}

/// The same, but entries of the directory itself that are named in `keep` stay, and then the
/// directory with them.
pub fn remove_directory_except(path: &Path, missing_is_fine: bool, keep: &[&str]) -> Result<()> {
    let what = || format!("remove {}", path.display());
    let dir = match open_dir(rustix::fs::CWD, path) {
        Ok(dir) => dir,
        Err(Errno::NOENT) if missing_is_fine => return Ok(()),
        Err(e) => return Err(Error::os(what(), e)),
    };
    refuse_mounts(path, false)?;
    if keep.is_empty() && destroy_subvolume(&dir, path) {
        return Ok(());
    }
    let kept = empty(&dir, path, keep)?;
    drop(dir);
    if kept { Ok(()) } else { rustix::fs::rmdir(path).doing(what) }
}

/// Removes a directory that is a subvolume without others inside.
fn destroy_subvolume(dir: &OwnedFd, path: &Path) -> bool {
    let Some((parent, name)) = path.parent().zip(path.file_name()) else { return false };
    let Ok(name) = std::ffi::CString::new(name.as_encoded_bytes()) else { return false };
    btrfs::is_subvolume(dir.as_fd()).unwrap_or(false)
        && open_dir(rustix::fs::CWD, parent)
            .and_then(|parent| btrfs::destroy_subvolume(parent.as_fd(), &name))
            .is_ok()
}

/// Refuses a directory below which something is mounted; with `or_at`, also one where something is.
///
/// # Errors
/// Something is mounted there.
pub fn refuse_mounts(path: &Path, or_at: bool) -> Result<()> {
    match mount_below(path, or_at)? {
        None => Ok(()),
        Some(mount) => Err(Error::os(format!("remove {}", path.display()), Errno::BUSY)
            .with_hint(format!("{mount} is mounted there: unmount it first; nothing was removed"))),
    }
}

/// The first mount point below a directory (proc_pid_mountinfo(5)): what is mounted there may belong
/// to somebody else, also when it is on the same file system.
fn mount_below(path: &Path, or_at: bool) -> Result<Option<String>> {
    let table = crate::files::read_text("/proc/self/mountinfo").doing(|| "read /proc/self/mountinfo")?;
    let own = std::fs::canonicalize(path).doing(|| format!("look at {}", path.display()))?;
    let point = |line: &str| line.split(' ').nth(4).map(unescape);
    let is_refused = |p: &Path| p.starts_with(&own) && (or_at || p != own);
    Ok(table.lines().filter_map(point).find(|p| is_refused(Path::new(p))))
}

/// Octal escapes of blanks and backslashes.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_string(), |t, (code, c)| t.replace(code, c))
}

/// Opens a directory that is no mount point: one that came meanwhile is refused too.
fn open_below(at: impl AsFd, name: &std::ffi::CStr) -> lxc_sys::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = rustix::fs::ResolveFlags::NO_XDEV | rustix::fs::ResolveFlags::BENEATH;
    rustix::fs::openat2(at, name, flags, Mode::empty(), resolve)
}

fn open_dir(at: impl AsFd, name: impl rustix::path::Arg) -> lxc_sys::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

/// Empties a directory. Returns whether something was kept.
fn empty(dir: &OwnedFd, path: &Path, keep: &[&str]) -> Result<bool> {
    let mut emptying = Emptying { top: dir, lifted: Vec::new(), number: 0 };
    let kept = emptying.empty(dir, path, keep, 0)?;
    while let Some(name) = emptying.lifted.pop() {
        emptying.subdirectory(dir, &name, path, 0)?;
    }
    Ok(kept)
}

/// How deep directories are gone down into. Each holds a descriptor, and a container can nest more of them than there are.
const DEEPEST: usize = 100;

/// A directory that is emptied from below; what is too deep in it is moved up first.
struct Emptying<'a> {
    top: &'a OwnedFd,
    /// Directories that were moved up.
    lifted: Vec<CString>,
    number: u64,
}

impl Emptying<'_> {
    fn empty(&mut self, dir: &OwnedFd, path: &Path, keep: &[&str], depth: usize) -> Result<bool> {
        let mut kept = false;
        let mut subdirectories = Vec::new();
        let what = || format!("remove what is in {}", path.display());
        for entry in Dir::read_from(dir).doing(what)? {
            let entry = entry.doing(what)?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if keep.iter().any(|k| k.as_bytes() == name.to_bytes()) {
                kept = true;
                continue;
            }
            if entry.file_type() == FileType::Directory {
                subdirectories.push(name.to_owned());
                continue;
            }
            match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR) => subdirectories.push(name.to_owned()),
                Err(e) => return Err(explain(Error::os(what(), e), e)),
            }
        }
        for name in subdirectories {
            if depth < DEEPEST || !self.lift(dir, &name) {
                self.subdirectory(dir, &name, path, depth)?;
            }
        }
        Ok(kept)
    }

    /// Moves a directory up to the top, if that can be: it may be in another subvolume.
    fn lift(&mut self, dir: &OwnedFd, name: &CStr) -> bool {
        loop {
            self.number += 1;
            let Ok(new) = CString::new(format!(".removed.{}", self.number)) else { return false };
            match rustix::fs::renameat_with(dir, name, self.top, &*new, RenameFlags::NOREPLACE) {
                Ok(()) => {
                    self.lifted.push(new);
                    return true;
                }
                Err(Errno::EXIST) => {}
                Err(_) => return false,
            }
        }
    }

    fn subdirectory(&mut self, dir: &OwnedFd, name: &CStr, path: &Path, depth: usize) -> Result<()> {
        let below = path.join(name.to_string_lossy().as_ref());
        let what = || format!("remove {}", below.display());
        let sub = match open_below(dir, name) {
            Ok(sub) => sub,
            Err(Errno::NOENT) => return Ok(()),
            Err(Errno::XDEV) => {
                return Err(
                    Error::os(what(), Errno::XDEV).with_hint("something is mounted there: unmount it first")
                );
            }
            Err(e) => return Err(Error::os(what(), e)),
        };
        if btrfs::is_subvolume(sub.as_fd()).unwrap_or(false) {
            match btrfs::destroy_subvolume(dir.as_fd(), name) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                // There are others inside, or an ordinary user may not: an empty one goes like a directory.
                Err(e) => log::debug!("{}: {e}: removing it file by file", what()),
            }
        }
        self.empty(&sub, &below, &[], depth + 1)?;
        drop(sub);
        match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(explain(Error::os(what(), e), e)),
        }
    }
}

fn explain(error: Error, errno: Errno) -> Error {
    match errno {
        Errno::PERM => error.with_hint("the file may be immutable or append-only: see chattr(1)"),
        Errno::ROFS => error.with_hint("the file system is read-only"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_deep() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let doomed = dir.path().join("doomed");
        std::fs::create_dir(&doomed).expect("a directory");
        let mut at = open_dir(rustix::fs::CWD, &doomed).expect("open");
        for _ in 0..2500 {
            rustix::fs::mkdirat(&at, c"d", Mode::RWXU).expect("a directory");
            rustix::fs::mkdirat(&at, c"e", Mode::RWXU).expect("a directory beside");
            at = open_dir(&at, c"d").expect("open");
        }
        remove_directory(&doomed, false).expect("removed");
        assert!(!doomed.exists());
    }

    #[test]
    fn links_are_not_followed() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (doomed, outside) = (dir.path().join("doomed"), dir.path().join("outside"));
        std::fs::create_dir_all(doomed.join("a/b")).expect("directories");
        std::fs::create_dir(&outside).expect("a directory");
        std::fs::write(outside.join("precious"), "x").expect("a file");
        std::os::unix::fs::symlink(&outside, doomed.join("a/link")).expect("a link");
        std::fs::write(doomed.join("a/b/c"), "x").expect("a file");
        remove_directory_except(&doomed, false, &["a"]).expect("kept");
        assert!(doomed.join("a/b/c").exists());
        remove_directory(&doomed, false).expect("removed");
        assert!(!doomed.exists());
        assert!(outside.join("precious").exists());
        remove_directory(&doomed, true).expect("nothing to do");
        assert!(remove_directory(&doomed, false).is_err());
    }
}
