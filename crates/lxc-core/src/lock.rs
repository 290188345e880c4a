//! Locks between processes: a container's files, and its creation (spec: life cycle, 13.1).

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use lxc_sys::Errno;
use rustix::fs::{AtFlags, CWD};

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
    dir.push(paths::absolute(lxcpath));
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

/// A creation or removal that is under way: the locked `partial` file.
#[derive(Debug)]
pub struct Partial {
    file: File,
    path: PathBuf,
    record: Record,
}

/// What a `partial` file says of what goes with the container if it is not completed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Storage as `lxc.rootfs.path` names it, wherever it is.
    pub storage: Option<String>,
    /// Files and directories that were in the directory before.
    pub keeps: Vec<String>,
}

impl Record {
    /// Of storage that is made, or removed.
    pub fn of(storage: impl ToString) -> Record {
        Record { storage: Some(storage.to_string()), keeps: Vec::new() }
    }

    /// Of a directory in which something is.
    pub fn keeping(keeps: Vec<String>) -> Record {
        Record { storage: None, keeps }
    }

    /// Reads the `partial` file of a container. One of upstream's programs is empty; a line that a kill has cut off, or a
    /// full disk, says nothing.
    fn read(file: &File) -> std::io::Result<Record> {
        let text = std::io::read_to_string(file)?;
        let mut record = Record::default();
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            match line.split_once(' ') {
                // The last one counts.
                Some((STORAGE, storage)) => {
                    record.storage = Some(storage.to_string()).filter(|s| !s.is_empty())
                }
                Some((KEEP, name)) => record.keeps.push(name.to_string()),
                _ => {}
            }
        }
        Ok(record)
    }

    fn text(&self) -> String {
        let storage = self.storage.as_ref().map(|s| format!("{STORAGE} {s}\n")).unwrap_or_default();
        self.keeps.iter().fold(storage, |text, name| text + KEEP + " " + name + "\n")
    }
}

/// Words of the lines of a `partial` file.
const STORAGE: &str = "storage";
const KEEP: &str = "keep";

impl Partial {
    /// Writes down storage that goes with the container if this is not completed, before it is made; `None`: it was not
    /// made after all. A line is added: at any instant the file says the one or the other, also after power has failed.
    ///
    /// # Errors
    /// It is not written down.
    pub fn record_storage(&mut self, storage: Option<&str>) -> Result<()> {
        let what = || format!("write {}", self.path.display());
        let line = format!("{STORAGE} {}\n", storage.unwrap_or_default());
        let end = self.file.metadata().doing(what)?.len();
        let written = self.file.write_all_at(line.as_bytes(), end).and_then(|()| self.file.sync_data());
        // The next line must not go on with half of this one.
        written.inspect_err(|_| drop(self.file.set_len(end))).doing(what)?;
        self.record.storage = storage.map(String::from);
        Ok(())
    }

    /// What is written down. It is kept here: by now something else may be where the file was.
    pub fn recorded(&self) -> &Record {
        &self.record
    }

    /// The same when the directory has got its name.
    pub fn moved_to(self, directory: &Path) -> Partial {
        Partial { path: directory.join(PARTIAL), ..self }
    }

    /// Nothing is to be removed any more; the container is complete.
    ///
    /// # Errors
    /// The mark is still there.
    pub fn complete(&self) -> Result<()> {
        std::fs::remove_file(&self.path).doing(|| format!("remove {}", self.path.display()))
    }
}

/// Marks a container as being created, or removed. The mark is there when it is locked and says what goes with the
/// container, and not before.
///
/// # Errors
/// There is one already, or it cannot be made.
pub fn begin_creation(directory: &Path, record: Record) -> Result<Partial> {
    let path = directory.join(PARTIAL);
    let what = || format!("create {}", path.display());
    let mut options = File::options();
    options.read(true).write(true).mode(0o600);
    let unnamed = options.clone().custom_flags(libc::O_TMPFILE).open(directory);
    // Not every file system has files without names: there it has another one first.
    let name = directory.join(format!(".{PARTIAL}.{}", rustix::process::getpid().as_raw_nonzero()));
    let (file, is_named) = match unnamed {
        Ok(file) => (file, false),
        Err(_) => (options.create(true).truncate(true).open(&name).doing(what)?, true),
    };
    let fill = || -> Result<()> {
        lxc_sys::lock::lock_exclusive(file.as_fd()).doing(what)?;
        if record != Record::default() {
            file.write_all_at(record.text().as_bytes(), 0).doing(what)?;
            file.sync_data().doing(what)?;
        }
        let source = crate::files::fd_path(file.as_fd());
        rustix::fs::linkat(CWD, source, CWD, &path, AtFlags::SYMLINK_FOLLOW).doing(what)
    };
    let filled = fill();
    if is_named {
        let _ = std::fs::remove_file(&name);
    }
    filled.map(|()| Partial { file, path, record })
}

/// Marks an incomplete container as being removed: the mark that is there gets locked.
pub fn take_over(directory: &Path) -> Result<Partial> {
    let path = directory.join(PARTIAL);
    let what = || format!("lock {}", path.display());
    let file = File::options().read(true).write(true).open(&path).doing(what)?;
    let taken = || Error::invalid(format!("{} is being created or removed", directory.display()));
    lxc_sys::lock::try_lock_exclusive(file.as_fd()).map_err(|e| match e {
        Errno::AGAIN | Errno::ACCESS => taken(),
        e => Error::os(what(), e),
    })?;
    // Whoever had the lock may have removed everything, and somebody else begun anew.
    if file.metadata().doing(what)?.nlink() == 0 {
        return Err(taken());
    }
    let record = Record::read(&file).doing(|| format!("read {}", path.display()))?;
    Ok(Partial { file, path, record })
}
