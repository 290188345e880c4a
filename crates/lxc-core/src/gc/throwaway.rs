//! Directories of containers that exist while one command runs.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::cgroup::{group, layout};
use crate::error::{Doing, Result};
use crate::{paths, storage};

/// The file that tells such a directory from a container's where both are in one place.
const MARK: &str = ".throwaway";

/// A directory, removed with everything in it when this is dropped. Its lock tells a directory in use from one whose
/// user was killed.
#[derive(Debug)]
pub struct ThrowAway {
    directory: PathBuf,
    _lock: OwnedFd,
}

/// Where they are unless another place is asked for.
pub fn base() -> PathBuf {
    paths::runtime_dir().unwrap_or_else(|| PathBuf::from("/run")).join("lxc/throwaway")
}

impl ThrowAway {
    /// Makes the directory, and removes what killed ones left.
    pub fn make(base: &Path, name: &str) -> Result<ThrowAway> {
        std::fs::create_dir_all(base).doing(|| format!("create {}", base.display()))?;
        for path in abandoned(base) {
            if let Err(e) = remove(&path) {
                log::error!("{e}");
            }
        }
        let directory = base.join(name);
        let what = || format!("create {}", directory.display());
        std::fs::create_dir(&directory).doing(what)?;
        let lock = lock(&directory).doing(what)?;
        std::fs::write(directory.join(MARK), "").doing(what)?;
        Ok(ThrowAway { directory, _lock: lock })
    }
}

impl Drop for ThrowAway {
    fn drop(&mut self) {
        if let Err(e) = storage::remove_directory(&self.directory, true) {
            log::error!("{e}");
        }
    }
}

/// Locks a directory, unless somebody else has it locked.
fn lock(directory: &Path) -> lxc_sys::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::open(directory, flags, Mode::empty())?;
    rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive)?;
    Ok(fd)
}

/// Directories of runs that were killed; others are not looked at, but where nothing else ever is. One that was made this very moment and is not locked yet is younger than a
/// minute.
pub(super) fn abandoned(base: &Path) -> Vec<PathBuf> {
    let old = |path: &Path| {
        let age = path.metadata().and_then(|m| m.modified()).ok().and_then(|m| m.elapsed().ok());
        age.is_some_and(|a| a > Duration::from_secs(60))
    };
    let entries = std::fs::read_dir(base).into_iter().flatten().flatten().map(|e| e.path());
    let is_ours = |path: &Path| base == self::base() || path.join(MARK).exists();
    entries.filter(|path| is_ours(path) && old(path) && lock(path).is_ok()).collect()
}

/// Removes the directory of a killed run, and its cgroups: nobody will use that name again.
pub(super) fn remove(path: &Path) -> Result<()> {
    let Ok(_lock) = lock(path) else { return Ok(()) };
    storage::remove_directory(path, true)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let layout = layout::detect(false, None)?;
    for kind in ["monitor", "payload"] {
        group::remove_abandoned(&layout, &format!("lxc.{kind}.{name}"));
    }
    Ok(())
}
