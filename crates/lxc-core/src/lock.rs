//! Locks between processes: a container's files, and its creation (spec: life cycle, 13.1).

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::{Doing, Error, Kind, Result};
use crate::paths;

/// Name of the file that exists while a container is created.
pub const PARTIAL: &str = "partial";

/// A lock; dropping it gives it up.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Waits for the lock on a container's files. Upstream's programs respect it too.
pub fn lock_container(lxcpath: &Path, name: &str) -> Result<Lock> {
    let run = paths::runtime_dir().ok_or_else(|| {
        Error::new(Kind::Failed, "neither XDG_RUNTIME_DIR nor HOME is set: no place for locks")
    })?;
    let mut dir = run.join("lxc/lock").into_os_string();
    dir.push("/");
    dir.push(lxcpath.as_os_str());
    let dir = std::path::PathBuf::from(dir);
    std::fs::create_dir_all(&dir).doing(|| format!("create {}", dir.display()))?;
    let path = dir.join(format!(".{name}"));
    let what = || format!("lock {}", path.display());
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&path)
        .doing(what)?;
    lxc_sys::lock::lock_exclusive(file.as_fd()).doing(what)?;
    Ok(Lock { _file: file })
}

/// What a `partial` file says of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Creation {
    /// There is none: the container is complete.
    Complete,
    /// Some process is creating the container.
    Ongoing,
    /// A creation was interrupted.
    Incomplete,
}

/// Looks at a container's `partial` file.
pub fn creation(directory: &Path) -> Result<Creation> {
    let path = directory.join(PARTIAL);
    let what = || format!("look at {}", path.display());
    let open = || File::options().read(true).write(true).open(&path);
    let opened = match open() {
        // Upstream's has no mode at all, which keeps out all but root.
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            rustix::fs::chmod(&path, rustix::fs::Mode::from_raw_mode(0o600)).doing(what)?;
            open()
        }
        result => result,
    };
    let file = match opened {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Creation::Complete),
        Err(e) => return Err(e).doing(what),
    };
    let locked = lxc_sys::lock::is_locked(file.as_fd()).doing(what)?;
    Ok(if locked { Creation::Ongoing } else { Creation::Incomplete })
}

/// Marks a container as being created.
pub fn begin_creation(directory: &Path) -> Result<Lock> {
    let path = directory.join(PARTIAL);
    let what = || format!("create {}", path.display());
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path).doing(what)?;
    lxc_sys::lock::lock_exclusive(file.as_fd()).doing(what)?;
    Ok(Lock { _file: file })
}

/// Ends the creation: the container is complete.
pub fn end_creation(directory: &Path, lock: Lock) -> Result<()> {
    let path = directory.join(PARTIAL);
    std::fs::remove_file(&path).doing(|| format!("remove {}", path.display()))?;
    drop(lock);
    Ok(())
}
