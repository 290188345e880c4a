//! Copying a directory tree with everything that its files have: contents with holes, hard links, owners, modes, times
//! in nanoseconds, extended attributes with ACLs and capabilities, device nodes, sockets and FIFOs.
//!
//! Several threads work on one stack of directories. A directory is open while something below it is copied, and gets
//! its owner, mode, attributes and times when the last of that is done: what is made in it inherits nothing.

mod attributes;
mod contents;

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lxc_sys::Errno;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat};

use crate::error::{Doing, Error, Kind, Result};
pub use attributes::attributes_of;

/// Entries of a directory that one thread copies in one go.
const CHUNK: usize = 128;
/// How often somebody who wants to know hears how far it is.
const TICK: Duration = Duration::from_millis(100);

/// How much was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Files of all kinds, directories among them.
    pub entries: u64,
    /// Bytes of contents, without holes.
    pub bytes: u64,
}

/// Is told from time to time, by a thread, how far it is.
pub type Progress<'a> = &'a (dyn Fn(Copied) + Sync);

/// Copies what is in a directory into another one, which is empty, and gives that its attributes.
///
/// With `live` files may vanish meanwhile: the source is in use. Nothing is followed, and nothing that is mounted below
/// the source is entered.
///
/// # Errors
/// The first one, with the path below the source; what was copied until then stays.
pub fn copy_tree(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    live: bool,
    progress: Option<Progress<'_>>,
) -> Result<Copied> {
    let meta = rustix::fs::fstat(from).doing(|| "look at the source")?;
    let directory = |fd: BorrowedFd<'_>| rustix::fs::openat(fd, ".", DIRECTORY, Mode::empty());
    let root = Directory {
        from: directory(from).doing(|| "open the source")?,
        to: directory(to).doing(|| "open the copy")?,
        path: PathBuf::new(),
        meta,
        parent: None,
    };
    let copier = Copier {
        root: to,
        live,
        reflinks: AtomicBool::new(true),
        links: Mutex::default(),
        failure: Mutex::default(),
        stopped: AtomicBool::new(false),
        entries: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
    };
    let over = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        if let Some(progress) = progress {
            let copier = &copier;
            scope.spawn(move || {
                while over.1.recv_timeout(TICK) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                    progress(copier.copied());
                }
            });
        }
        let pool = rayon::ThreadPoolBuilder::new();
        let done = pool.build_scoped(|thread| thread.run(), |pool| pool.scope(|s| copier.directory(s, root)));
        drop(over.0);
        done.map_err(|e| Error::new(Kind::Failed, format!("start threads that copy: {e}")))
    })?;
    match copier.failure.lock().map(|mut f| f.take()) {
        Ok(None) => Ok(copier.copied()),
        Ok(Some(e)) => Err(e),
        Err(_) => Err(Error::new(Kind::Failed, "a thread that copies died")),
    }
}

/// Writes the file system of a root directory to disk: complete means also after power has failed.
///
/// # Errors
/// The disk has not taken all of it.
pub fn write_out(root: BorrowedFd<'_>) -> Result<()> {
    rustix::fs::openat(root, ".", DIRECTORY, Mode::empty())
        .and_then(rustix::fs::syncfs)
        .doing(|| "write the root file system to disk")
}

/// Bytes on disk of a directory with everything in it, whatever is mounted there left out.
///
/// # Errors
/// A directory cannot be read.
pub fn size_of(path: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let what = || format!("look at {}", path.display());
    let meta = path.symlink_metadata().doing(what)?;
    let mut total = meta.blocks() * 512;
    if meta.is_dir() {
        for entry in std::fs::read_dir(path).doing(what)? {
            let below = entry.doing(what)?.path();
            if below.symlink_metadata().is_ok_and(|m| m.dev() == meta.dev() || !m.is_dir()) {
                total += size_of(&below)?;
            }
        }
    }
    Ok(total)
}

/// Gives a directory the owner, mode, attributes and times of another.
pub fn copy_attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> lxc_sys::Result<()> {
    let open = |fd: BorrowedFd<'_>| rustix::fs::openat(fd, ".", DIRECTORY, Mode::empty());
    let (from, to) = (open(from)?, open(to)?);
    attributes::apply(from.as_fd(), to.as_fd(), &rustix::fs::fstat(&from)?)
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A directory that is being copied.
struct Directory {
    from: OwnedFd,
    to: OwnedFd,
    /// Below the root of the tree.
    path: PathBuf,
    meta: Stat,
    parent: Option<Arc<Directory>>,
}

struct Copier<'a> {
    /// Root of the copy.
    root: BorrowedFd<'a>,
    live: bool,
    /// Both ends share blocks, as far as is known.
    reflinks: AtomicBool,
    /// Where the first name of a file with several is in the copy, by device and inode.
    links: Mutex<HashMap<(u64, u64), PathBuf>>,
    failure: Mutex<Option<Error>>,
    stopped: AtomicBool,
    entries: AtomicU64,
    bytes: AtomicU64,
}

type Scope<'s> = rayon::Scope<'s>;

impl<'a> Copier<'a> {
    fn copied(&self) -> Copied {
        Copied { entries: self.entries.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }

    fn fail(&self, error: Error) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Ok(mut first) = self.failure.lock() {
            first.get_or_insert(error);
        }
    }

    /// Copies what is in a directory, in pieces that other threads may take.
    fn directory<'s>(&'s self, scope: &Scope<'s>, directory: Directory) {
        let directory = Arc::new(directory);
        let names = match names_in(&directory) {
            Ok(names) => names,
            Err(e) => return self.fail(e),
        };
        let mut pieces = names.chunks(CHUNK);
        let first = pieces.next().unwrap_or_default();
        for piece in pieces {
            let (directory, piece) = (directory.clone(), piece.to_vec());
            scope.spawn(move |scope| {
                self.files(scope, &directory, &piece);
                self.finish(directory);
            });
        }
        self.files(scope, &directory, first);
        self.finish(directory);
    }

    fn files<'s>(&'s self, scope: &Scope<'s>, directory: &Arc<Directory>, names: &[Name]) {
        for name in names {
            if self.stopped.load(Ordering::Relaxed) {
                return;
            }
            match self.entry(scope, directory, name) {
                Ok(()) => {}
                Err(e) if self.live && e.errno() == Some(Errno::NOENT) => {
                    log::info!("{e}: it has gone meanwhile");
                }
                Err(e) => return self.fail(e),
            }
        }
    }

    /// Copies one entry; a directory will be copied by whoever has nothing else to do.
    fn entry<'s>(&'s self, scope: &Scope<'s>, directory: &Arc<Directory>, name: &Name) -> Result<()> {
        let Name { name, kind, .. } = name;
        let path = || directory.path.join(os(name));
        let what = || format!("copy {}", path().display());
        if *kind == FileType::RegularFile {
            return self.file(directory, name).map(drop);
        }
        let meta =
            rustix::fs::statat(&directory.from, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW).doing(what)?;
        match FileType::from_raw_mode(meta.st_mode) {
            FileType::RegularFile => return self.file(directory, name),
            FileType::Directory => {
                let (directory, name) = (directory.clone(), name.clone());
                scope.spawn(move |scope| {
                    if !self.stopped.load(Ordering::Relaxed) {
                        match enter(&directory, &name) {
                            Ok(below) => self.directory(scope, below),
                            Err(e) if self.live && e.errno() == Some(Errno::NOENT) => {}
                            Err(e) => self.fail(e),
                        }
                    }
                    self.finish(directory);
                });
                return Ok(());
            }
            FileType::Symlink => self.unless_linked(directory, name, &meta, || {
                let target = rustix::fs::readlinkat(&directory.from, name.as_c_str(), Vec::new())?;
                rustix::fs::symlinkat(&*target, &directory.to, name.as_c_str())
            }),
            kind => self.unless_linked(directory, name, &meta, || {
                let mode = Mode::from_raw_mode(meta.st_mode & 0o7777);
                rustix::fs::mknodat(&directory.to, name.as_c_str(), kind, mode, meta.st_rdev)
            }),
        }
        .and_then(|made| if made { attributes::apply_by_name(directory, name, &meta) } else { Ok(()) })
        .doing(what)?;
        self.entries.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn file(&self, directory: &Directory, name: &CStr) -> Result<()> {
        let what = || format!("copy {}", directory.path.join(os(name)).display());
        let from = open_source(&directory.from, name).doing(what)?;
        let meta = rustix::fs::fstat(&from).doing(what)?;
        if FileType::from_raw_mode(meta.st_mode) != FileType::RegularFile {
            return Err(Error::invalid(format!("{}: it was replaced meanwhile", what())));
        }
        let mut to = None;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = self.unless_linked(directory, name, &meta, || {
            to = Some(rustix::fs::openat(&directory.to, name, flags, Mode::RUSR | Mode::WUSR)?);
            Ok(())
        });
        self.entries.fetch_add(1, Ordering::Relaxed);
        match (made.doing(what)?, to) {
            (true, Some(to)) => {
                let bytes = contents::copy(&from, &to, &meta, &self.reflinks).doing(what)?;
                self.bytes.fetch_add(bytes, Ordering::Relaxed);
                attributes::apply(from.as_fd(), to.as_fd(), &meta).doing(what)
            }
            _ => Ok(()),
        }
    }

    /// Makes an entry, unless the file is there under another name: then it gets this one too. Returns whether it was
    /// made.
    fn unless_linked(
        &self,
        directory: &Directory,
        name: &CStr,
        meta: &Stat,
        make: impl FnOnce() -> lxc_sys::Result<()>,
    ) -> lxc_sys::Result<bool> {
        if meta.st_nlink < 2 {
            return make().map(|()| true);
        }
        // Held while the first name is made: whoever finds it here finds it in the copy as well.
        let mut links = self.links.lock().map_err(|_| Errno::IO)?;
        match links.get(&(meta.st_dev, meta.st_ino)) {
            Some(first) => link(self.root, first, &directory.to, name).map(|()| false),
            None => {
                make()?;
                links.insert((meta.st_dev, meta.st_ino), directory.path.join(os(name)));
                Ok(true)
            }
        }
    }

    /// One user of a directory less. With the last the directory is complete, and one thing in its parent with it.
    fn finish(&self, directory: Arc<Directory>) {
        let mut next = Some(directory);
        while let Some(directory) = next.take().and_then(Arc::into_inner) {
            if self.stopped.load(Ordering::Relaxed) {
                return;
            }
            let done = attributes::apply(directory.from.as_fd(), directory.to.as_fd(), &directory.meta);
            if let Err(e) = done.doing(|| format!("copy {}", directory.path.display())) {
                return self.fail(e);
            }
            self.entries.fetch_add(1, Ordering::Relaxed);
            next = directory.parent;
        }
    }
}

/// How deep directories may be in each other in a tree that is read: each holds descriptors, and memory of the stack.
const DEEPEST: usize = 1000;

/// Refuses a directory that is too deep.
///
/// # Errors
/// It is.
pub fn check_depth(path: &Path) -> Result<()> {
    if path.iter().count() <= DEEPEST {
        return Ok(());
    }
    let top: PathBuf = path.iter().take(3).collect();
    Err(Error::invalid(format!("{}/...: more than {DEEPEST} directories in each other", top.display())))
}

/// Opens a directory, and makes its copy, which nobody else gets at until it is complete.
fn enter(parent: &Arc<Directory>, name: &CStr) -> Result<Directory> {
    let path = parent.path.join(os(name));
    check_depth(&path)?;
    let what = || format!("copy {}", path.display());
    let resolve = rustix::fs::ResolveFlags::NO_XDEV | rustix::fs::ResolveFlags::BENEATH;
    let from = rustix::io::retry_on_intr(|| {
        rustix::fs::openat2(&parent.from, name, DIRECTORY, Mode::empty(), resolve)
    })
    .doing(what)
    .map_err(|e| match e.errno() {
        Some(Errno::XDEV) => e.with_hint("something is mounted there: unmount it first"),
        _ => e,
    })?;
    let meta = rustix::fs::fstat(&from).doing(what)?;
    rustix::fs::mkdirat(&parent.to, name, Mode::RWXU).doing(what)?;
    let to = rustix::fs::openat(&parent.to, name, DIRECTORY, Mode::empty()).doing(what)?;
    Ok(Directory { from, to, path, meta, parent: Some(parent.clone()) })
}

/// Reading leaves no trace where the caller may read without one.
fn open_source(directory: &OwnedFd, name: &CStr) -> lxc_sys::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::openat(directory, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::openat(directory, name, flags, Mode::empty()),
        opened => opened,
    }
}

/// linkat(2) of a file given by its path below a root; one that is too long is walked in steps.
fn link(root: BorrowedFd<'_>, file: &Path, to: &OwnedFd, name: &CStr) -> lxc_sys::Result<()> {
    match rustix::fs::linkat(root, file, to, name, AtFlags::empty()) {
        Err(Errno::NAMETOOLONG) => {
            let (Some(parent), Some(last)) = (file.parent(), file.file_name()) else {
                return Err(Errno::INVAL);
            };
            let mut directory = rustix::fs::openat(root, ".", DIRECTORY, Mode::empty())?;
            for part in parent {
                directory = rustix::fs::openat(&directory, part, DIRECTORY, Mode::empty())?;
            }
            rustix::fs::linkat(&directory, last, to, name, AtFlags::empty())
        }
        done => done,
    }
}

#[derive(Clone)]
struct Name {
    name: CString,
    kind: FileType,
    inode: u64,
}

/// The names in a directory, in the order of their inodes: that of the disk, on most file systems.
fn names_in(directory: &Directory) -> Result<Vec<Name>> {
    let mut names = Vec::new();
    let mut buffer = [MaybeUninit::<u8>::uninit(); 32 * 1024];
    let mut entries = RawDir::new(&directory.from, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry.doing(|| format!("read directory {}", directory.path.display()))?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push(Name { name: name.to_owned(), kind: entry.file_type(), inode: entry.ino() });
        }
    }
    names.sort_unstable_by_key(|n| n.inode);
    Ok(names)
}

fn os(name: &CStr) -> &std::ffi::OsStr {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::OsStr::from_bytes(name.to_bytes())
}
