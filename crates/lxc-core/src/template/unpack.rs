//! Unpacking an archive into a root file system. Nobody has looked at what is in it: nothing is written outside, and what
//! would give the host away is refused.

use std::collections::HashSet;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lxc_sys::Errno;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use tar::EntryType;

use super::compressed::{self, Source};
use crate::error::{Doing, Error, Kind, Result};
use crate::rootfs::{Root, fd_path};
use crate::storage::remove::remove_directory;

/// What an archive may come to. A root file system is far below all of it.
const MAX_ENTRIES: u64 = 20_000_000;
const MAX_BYTES: u64 = 1 << 42;
/// Bytes for each byte of the archive, when there are many: a file of zeros is no root file system.
const MAX_RATIO: u64 = 300;
const MANY: u64 = 1 << 30;
/// Headers of one member, in bytes: XATTR_SIZE_MAX allows an attribute 64 KiB.
const MAX_HEADERS: u64 = 8 << 20;
/// A block of zeros of this size is left out of a file.
const HOLE: usize = 64 * 1024;

/// Character devices that every system has, by major number and the minor ones of it.
const DEVICES: &[(u32, std::ops::RangeInclusive<u32>)] = &[
    (1, 1..=11),
    (4, 0..=255),
    (5, 0..=3),
    (10, 200..=200),
    (10, 229..=229),
    (10, 232..=232),
    (136, 0..=1023),
];

/// How an archive is unpacked.
#[derive(Debug, Default)]
pub struct Options {
    /// Members that are left out: patterns of fnmatch(3) without their `./`, as tar's --exclude --anchored.
    pub excludes: Vec<String>,
    /// It is a layer above others: its whiteouts remove what is below, and members may lie behind links of lower layers.
    pub layer: bool,
    /// Of the members only those below a directory, which is the root.
    pub only_below: Option<PathBuf>,
    /// Device nodes of all kinds are made: somebody who knows the archive has asked for it.
    pub with_devices: bool,
}

/// Unpacks a stream, compressed or not.
///
/// # Errors
/// The member, and what is wrong with it. What was unpacked until then stays.
pub fn unpack(source: Source<'_>, root: &Root, options: &Options) -> Result<()> {
    let counted = Counted { inner: source, count: Arc::default() };
    let taken = counted.count.clone();
    let budget = Arc::new(AtomicU64::new(MAX_HEADERS));
    let plain = Limited { inner: compressed::open(Box::new(counted))?, budget: budget.clone() };
    let mut archive = tar::Archive::new(plain);
    let mut unpacking = Unpacking {
        root,
        options,
        links: HashSet::new(),
        fresh: HashSet::new(),
        directories: Vec::new(),
        entries: 0,
        bytes: 0,
        skipped: 0,
    };
    for entry in archive.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        let name = PathBuf::from(std::ffi::OsStr::from_bytes(&entry.path_bytes()));
        let what = || format!("unpack {}", name.display());
        // Its contents, and the headers of the next one.
        budget.store(entry.size().saturating_add(MAX_HEADERS), Ordering::Relaxed);
        unpacking.entries += 1;
        unpacking.bytes = unpacking.bytes.saturating_add(entry.size());
        let consumed = taken.load(Ordering::Relaxed);
        let is_bomb = unpacking.bytes > MANY && unpacking.bytes / MAX_RATIO > consumed.max(1);
        if unpacking.entries > MAX_ENTRIES || unpacking.bytes > MAX_BYTES || is_bomb {
            return Err(Error::invalid(format!(
                "{}: the archive comes to too much: {} bytes in {} files of {consumed} bytes",
                what(),
                unpacking.bytes,
                unpacking.entries
            )));
        }
        unpacking.entry(&mut entry, &name).map_err(|e| e.during(what()))?;
    }
    unpacking.finish()
}

/// What is wrong with an archive is said in words; what is wrong with the disk by its number.
fn unreadable(error: std::io::Error) -> Error {
    match error.raw_os_error() {
        Some(number) => Error::os("read an archive", lxc_sys::errno_from(number)),
        None => Error::invalid(format!("read an archive: {error}")),
    }
}

/// Counts what is read of an archive.
struct Counted<'a> {
    inner: Source<'a>,
    count: Arc<AtomicU64>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.count.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Names and attributes of a member are kept in memory: they may come to so much, and not more.
struct Limited<'a> {
    inner: Source<'a>,
    budget: Arc<AtomicU64>,
}

impl Read for Limited<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = self.budget.load(Ordering::Relaxed);
        if left == 0 {
            return Err(std::io::Error::other("the names and attributes of a member are too long"));
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let n = self.inner.read(&mut buffer[..most])?;
        self.budget.fetch_sub(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

struct Unpacking<'a> {
    root: &'a Root,
    options: &'a Options,
    /// Links of this archive: no archive of a directory tree has members behind them.
    links: HashSet<PathBuf>,
    /// What this archive has made: its own whiteouts do not remove it.
    fresh: HashSet<PathBuf>,
    /// Modes and times of directories are set when nothing more is put into them.
    directories: Vec<(PathBuf, Meta)>,
    entries: u64,
    bytes: u64,
    skipped: u64,
}

/// What a member has beside its contents.
struct Meta {
    uid: u32,
    gid: u32,
    mode: u32,
    mtime: Timespec,
    xattrs: Vec<(std::ffi::CString, Vec<u8>)>,
}

impl Unpacking<'_> {
    fn entry<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>, name: &Path) -> Result<()> {
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader) {
            return Ok(());
        }
        let mut path = plain(name)?;
        if let Some(top) = &self.options.only_below {
            match path.as_deref().map(|p| p.strip_prefix(top)) {
                Some(Ok(below)) => path = Some(below.to_path_buf()).filter(|p| !p.as_os_str().is_empty()),
                _ => return Ok(()),
            }
        }
        let Some(path) = path else {
            // The root itself.
            if kind == EntryType::Directory {
                let meta = meta(entry)?;
                self.directories.push((PathBuf::new(), meta));
            }
            return Ok(());
        };
        if self.options.excludes.iter().any(|pattern| matches(pattern, &path)) {
            return Ok(());
        }
        self.refuse_behind_links(&path)?;
        if self.options.layer
            && let Some(hidden) = path.file_name().and_then(|n| n.as_bytes().strip_prefix(b".wh."))
        {
            return self.whiteout(&path, hidden);
        }
        let meta = meta(entry)?;
        let file_name = path.file_name().ok_or_else(|| Error::invalid("it has no name"))?;
        let parent = self.parent(path.parent().unwrap_or(Path::new("")))?;
        self.make_room(&parent, &path, kind == EntryType::Directory)?;
        match kind {
            EntryType::Directory => {
                match rustix::fs::mkdirat(&parent, file_name, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(e) => return Err(e).doing(|| "create the directory"),
                }
                self.links.remove(&path);
                self.fresh.insert(path.clone());
                self.directories.push((path, meta));
                return Ok(());
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = rustix::fs::openat(&parent, file_name, flags, Mode::RUSR | Mode::WUSR)
                    .doing(|| "create the file")?;
                write_contents(entry, &file)?;
                apply(file.as_fd(), &meta)?;
            }
            EntryType::Symlink => {
                let target =
                    entry.link_name_bytes().ok_or_else(|| Error::invalid("a link without target"))?;
                rustix::fs::symlinkat(&*target, &parent, file_name).doing(|| "create the link")?;
                self.links.insert(path.clone());
                apply_by_name(&parent, file_name, &meta, true)?;
            }
            EntryType::Link => {
                let target =
                    entry.link_name_bytes().ok_or_else(|| Error::invalid("a link without target"))?;
                let target = plain(Path::new(std::ffi::OsStr::from_bytes(&target)))?;
                let mut target = target.ok_or_else(|| Error::invalid("a second name of the root"))?;
                if let Some(top) = &self.options.only_below {
                    let below = target.strip_prefix(top).map(Path::to_path_buf);
                    target = below.map_err(|_| Error::invalid("a second name of a file outside"))?;
                }
                self.refuse_behind_links(&target)?;
                let what = || format!("make it a second name of {}", target.display());
                let holder = target.parent().unwrap_or(Path::new(""));
                let holder = self.root.open_at(holder, OFlags::PATH | OFlags::DIRECTORY).doing(what)?;
                let first = target.file_name().unwrap_or_default();
                rustix::fs::linkat(&holder, first, &parent, file_name, AtFlags::empty()).doing(what)?;
                // It has what the first one has.
            }
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                if !self.node(entry, kind, &parent, file_name)? {
                    return Ok(());
                }
                apply_by_name(&parent, file_name, &meta, false)?;
            }
            other => return Err(Error::invalid(format!("members of type {other:?} are not known"))),
        }
        self.fresh.insert(path);
        Ok(())
    }

    /// No archive of a directory tree has members behind its own links.
    fn refuse_behind_links(&self, path: &Path) -> Result<()> {
        match path.ancestors().skip(1).find(|a| self.links.contains(*a)) {
            Some(link) => Err(Error::invalid(format!("it lies behind the link {}", link.display()))),
            None => Ok(()),
        }
    }

    /// Makes a device node or FIFO; `false`: in a user namespace nobody can.
    fn node<R: Read>(
        &mut self,
        entry: &tar::Entry<'_, R>,
        kind: EntryType,
        parent: &OwnedFd,
        name: &std::ffi::OsStr,
    ) -> Result<bool> {
        let number = |n: std::io::Result<Option<u32>>| n.ok().flatten().unwrap_or(0);
        let (major, minor) = (number(entry.header().device_major()), number(entry.header().device_minor()));
        let (kind, device) = match kind {
            EntryType::Fifo => (FileType::Fifo, 0),
            EntryType::Char => (FileType::CharacterDevice, rustix::fs::makedev(major, minor)),
            _ if self.options.with_devices => (FileType::BlockDevice, rustix::fs::makedev(major, minor)),
            _ => {
                return Err(Error::invalid(format!(
                    "the block device {major}:{minor}: whoever has it has a disk of the host"
                )));
            }
        };
        let known = self.options.with_devices
            || DEVICES.iter().any(|(m, minors)| *m == major && minors.contains(&minor));
        if kind == FileType::CharacterDevice && !known {
            return Err(Error::invalid(format!("the device {major}:{minor} is none that containers have")));
        }
        match rustix::fs::mknodat(parent, name, kind, Mode::RUSR | Mode::WUSR, device) {
            Err(Errno::PERM) if kind != FileType::Fifo => {
                // Containers get their own /dev when they start.
                self.skipped += 1;
                Ok(false)
            }
            made => made.doing(|| "create the node").map(|()| true),
        }
    }

    /// Opens a directory of the root file system, with what is missing of it made. Links of lower layers are followed as
    /// the container would.
    fn parent(&self, path: &Path) -> Result<OwnedFd> {
        drop(self.root.make_dir(path, 0o755)?);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        self.root.open_at(path, flags).doing(|| format!("open the directory {}", path.display()))
    }

    /// What is there of that name gives way, but for a directory to a directory.
    fn make_room(&self, parent: &OwnedFd, path: &Path, directory: bool) -> Result<()> {
        let name = path.file_name().unwrap_or_default();
        let Ok(found) = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) else { return Ok(()) };
        let is_directory = FileType::from_raw_mode(found.st_mode) == FileType::Directory;
        if is_directory && directory {
            return Ok(());
        }
        if is_directory && !self.options.layer {
            return Err(Error::os("it is in the place of a directory", Errno::EXIST));
        }
        remove(parent, name, is_directory)
    }

    /// OCI image specification, layer: `.wh.NAME` removes, `.wh..wh..opq` empties what lower layers have.
    fn whiteout(&mut self, path: &Path, hidden: &[u8]) -> Result<()> {
        let directory = path.parent().unwrap_or(Path::new(""));
        let Ok(parent) = self.root.open_at(directory, OFlags::RDONLY | OFlags::DIRECTORY) else {
            return Ok(());
        };
        if hidden == b".wh..opq" {
            for entry in rustix::fs::Dir::read_from(&parent).doing(|| "read the directory")? {
                let entry = entry.doing(|| "read the directory")?;
                let name = std::ffi::OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
                if name != "." && name != ".." && !self.fresh.contains(&directory.join(&name)) {
                    remove(&parent, &name, entry.file_type() == FileType::Directory)?;
                }
            }
            return Ok(());
        }
        if hidden.is_empty() || hidden.contains(&b'/') || hidden == b"." || hidden == b".." {
            return Err(Error::invalid("a whiteout of nothing"));
        }
        let name = std::ffi::OsStr::from_bytes(hidden);
        if self.fresh.contains(&directory.join(name)) {
            return Ok(());
        }
        match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => remove(&parent, name, FileType::from_raw_mode(found.st_mode) == FileType::Directory),
            Err(_) => Ok(()),
        }
    }

    /// Directories get what they have, the innermost first.
    fn finish(mut self) -> Result<()> {
        if self.skipped > 0 {
            log::info!(
                "{} device nodes were left out: they cannot be made in a user namespace",
                self.skipped
            );
        }
        while let Some((path, meta)) = self.directories.pop() {
            let what = || format!("unpack {}", path.display());
            match self.root.open_at(&path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW) {
                Ok(fd) => apply(fd.as_fd(), &meta).map_err(|e| e.during(what()))?,
                // Replaced by a later member.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(e) => return Err(e).doing(what),
            }
        }
        Ok(())
    }
}

fn remove(parent: &OwnedFd, name: &std::ffi::OsStr, is_directory: bool) -> Result<()> {
    if is_directory {
        // By descriptor: its path may lead somewhere else.
        return remove_directory(&Path::new(&fd_path(parent.as_fd())).join(name), true);
    }
    rustix::fs::unlinkat(parent, name, AtFlags::empty()).doing(|| "remove what is in its place")
}

/// The path of a member below the root; `None` for the root itself.
fn plain(name: &Path) -> Result<Option<PathBuf>> {
    let mut path = PathBuf::new();
    for part in name.components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir => return Err(Error::invalid("its name leads outside")),
            Component::RootDir | Component::Prefix(_) => {
                return Err(Error::invalid("its name is an absolute path"));
            }
        }
    }
    Ok((!path.as_os_str().is_empty()).then_some(path))
}

/// fnmatch(3) of a whole path or a directory above it: `*` matches slashes too, as tar's patterns do.
fn matches(pattern: &str, path: &Path) -> bool {
    fn glob(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.first(), text.first()) {
            (None, None) => true,
            (Some(b'*'), _) => glob(&pattern[1..], text) || (!text.is_empty() && glob(pattern, &text[1..])),
            (Some(b'?'), Some(_)) => glob(&pattern[1..], &text[1..]),
            (Some(a), Some(b)) if a == b => glob(&pattern[1..], &text[1..]),
            _ => false,
        }
    }
    let pattern = pattern.trim_start_matches("./").trim_end_matches('/');
    path.ancestors().any(|a| !a.as_os_str().is_empty() && glob(pattern.as_bytes(), a.as_os_str().as_bytes()))
}

fn meta<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Meta> {
    let header = entry.header();
    let id = |id: std::io::Result<u64>, what: &str| {
        let id = id.doing(|| format!("read its {what}"))?;
        u32::try_from(id).map_err(|_| Error::invalid(format!("its {what} {id} is none")))
    };
    let mut meta = Meta {
        uid: id(header.uid(), "uid")?,
        gid: id(header.gid(), "gid")?,
        mode: header.mode().doing(|| "read its mode")? & 0o7777,
        mtime: Timespec { tv_sec: i64::try_from(header.mtime().unwrap_or(0)).unwrap_or(0), tv_nsec: 0 },
        xattrs: Vec::new(),
    };
    let Some(extensions) = entry.pax_extensions().doing(|| "read its attributes")? else { return Ok(meta) };
    for extension in extensions {
        let extension = extension.doing(|| "read its attributes")?;
        let (key, value) = (extension.key().unwrap_or_default(), extension.value_bytes());
        let text = || std::str::from_utf8(value).unwrap_or_default();
        match key {
            "uid" => meta.uid = text().parse().map_err(|_| Error::invalid("its uid is none"))?,
            "gid" => meta.gid = text().parse().map_err(|_| Error::invalid("its gid is none"))?,
            "mtime" => meta.mtime = time(text()).unwrap_or(meta.mtime),
            _ => {
                if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
                    // What a layer says to the kernel's overlay is for whoever mounts it to say.
                    if name.starts_with("trusted.overlay.") || name.starts_with("user.overlay.") {
                        return Err(Error::invalid(format!("its attribute {name} is the kernel's own")));
                    }
                    let name = std::ffi::CString::new(name)
                        .map_err(|_| Error::invalid("an attribute's name has a NUL"))?;
                    meta.xattrs.push((name, value.to_vec()));
                }
            }
        }
    }
    Ok(meta)
}

/// Seconds with a fraction.
fn time(text: &str) -> Option<Timespec> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    Some(Timespec { tv_sec: seconds.parse().ok()?, tv_nsec: digits.parse().ok()? })
}

/// Writes a member's contents; blocks of zeros are holes.
fn write_contents<R: Read>(entry: &mut tar::Entry<'_, R>, file: &OwnedFd) -> Result<()> {
    let mut buffer = vec![0; HOLE];
    let mut at = 0u64;
    loop {
        let mut length = 0;
        while length < buffer.len() {
            match entry.read(&mut buffer[length..]).doing(|| "read its contents")? {
                0 => break,
                n => length += n,
            }
        }
        if length == 0 {
            break;
        }
        if length < HOLE || buffer.iter().any(|&b| b != 0) {
            let mut written = 0;
            while written < length {
                let rest = &buffer[written..length];
                let n = rustix::io::retry_on_intr(|| rustix::io::pwrite(file, rest, at + written as u64));
                written += n.doing(|| "write its contents")?;
            }
        }
        at += length as u64;
    }
    rustix::fs::ftruncate(file, at).doing(|| "write its contents")
}

fn explain_owner(error: Error, meta: &Meta) -> Error {
    match error.errno() {
        Some(Errno::INVAL) => {
            error.with_hint(format!("lxc.idmap has no place for {}:{}", meta.uid, meta.gid))
        }
        _ => error,
    }
}

fn apply(file: BorrowedFd<'_>, meta: &Meta) -> Result<()> {
    let what = || "set its owner, mode and times";
    rustix::fs::fchown(file, Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)))
        .doing(what)
        .map_err(|e| explain_owner(e, meta))?;
    rustix::fs::fchmod(file, Mode::from_raw_mode(meta.mode)).doing(what)?;
    set_xattrs(meta, |name, value| rustix::fs::fsetxattr(file, name, value, XattrFlags::empty()))?;
    let times = Timestamps { last_access: meta.mtime, last_modification: meta.mtime };
    rustix::fs::futimens(file, &times).doing(what)
}

fn set_xattrs(meta: &Meta, set: impl Fn(&std::ffi::CStr, &[u8]) -> lxc_sys::Result<()>) -> Result<()> {
    for (name, value) in &meta.xattrs {
        match set(name, value) {
            // Labels of another host; and in a user namespace what is not given away.
            Err(Errno::OPNOTSUPP | Errno::PERM) if !name.to_bytes().starts_with(b"user.") => {}
            set => set.doing(|| format!("set its attribute {}", name.to_string_lossy()))?,
        }
    }
    Ok(())
}

/// The same for links and nodes, just made in a directory that nobody else gets at.
fn apply_by_name(parent: &OwnedFd, name: &std::ffi::OsStr, meta: &Meta, link: bool) -> Result<()> {
    let what = || "set its owner, mode and times";
    let nofollow = AtFlags::SYMLINK_NOFOLLOW;
    let (uid, gid) = (Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)));
    rustix::fs::chownat(parent, name, uid, gid, nofollow).doing(what).map_err(|e| explain_owner(e, meta))?;
    if !link {
        rustix::fs::chmodat(parent, name, Mode::from_raw_mode(meta.mode), AtFlags::empty()).doing(what)?;
    }
    if !meta.xattrs.is_empty() {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let named = rustix::fs::openat(parent, name, flags, Mode::empty()).doing(what)?;
        let path = fd_path(named.as_fd());
        set_xattrs(meta, |name, value| rustix::fs::setxattr(&*path, name, value, XattrFlags::empty()))?;
    }
    let times = Timestamps { last_access: meta.mtime, last_modification: meta.mtime };
    rustix::fs::utimensat(parent, name, &times, nofollow).doing(what)
}

/// The whole of a small file in an archive's root, for metadata.
///
/// # Errors
/// The archive cannot be read, or a file is too large.
pub fn small_files(source: Source<'_>) -> Result<std::collections::BTreeMap<String, Vec<u8>>> {
    const MAX: u64 = 1 << 20;
    let mut found = std::collections::BTreeMap::new();
    let mut archive = tar::Archive::new(compressed::open(source)?.take(64 * MAX));
    for entry in archive.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        let name = PathBuf::from(std::ffi::OsStr::from_bytes(&entry.path_bytes()));
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let Some(path) = plain(&name)? else { continue };
        if entry.size() > MAX {
            return Err(Error::new(Kind::Invalid, format!("{}: too large for metadata", path.display())));
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).doing(|| format!("read {}", path.display()))?;
        found.insert(path.display().to_string(), bytes);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(plain(Path::new("./a/./b")).expect("fine"), Some("a/b".into()));
        assert_eq!(plain(Path::new("./")).expect("the root"), None);
        assert!(plain(Path::new("/etc/passwd")).is_err());
        assert!(plain(Path::new("a/../../b")).is_err());
    }

    #[test]
    fn patterns() {
        assert!(matches("./dev/*", Path::new("dev/null")));
        assert!(matches("dev", Path::new("dev/null")));
        assert!(!matches("dev/*", Path::new("etc/dev/null")));
        assert!(matches("var/?at", Path::new("var/cat/deep")));
    }

    #[test]
    fn times() {
        assert_eq!(time("12.5").expect("a time").tv_nsec, 500_000_000);
        assert_eq!(time("12").expect("a time").tv_nsec, 0);
        assert!(time("x").is_none());
    }
}
