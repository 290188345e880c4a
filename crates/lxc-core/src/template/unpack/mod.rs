//! Unpacking an archive into a root file system. Nobody has looked at what is in it: nothing is written outside, and what
//! would give the host away is refused.

mod member;
mod stream;

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lxc_sys::Errno;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use tar::EntryType;

use super::compressed::{self, Source};
use crate::error::{Doing, Error, Kind, Result};
use crate::files::fd_path;
use crate::rootfs::Root;
use crate::storage::remove::remove_directory;
use member::{Meta, write_contents};
use stream::{Counted, Record, Watched};

/// What an archive may come to, all its layers together. A root file system is far below all of it.
const MAX_ENTRIES: u64 = 20_000_000;
const MAX_BYTES: u64 = 1 << 42;
/// Bytes for each byte of the archive, when there are many: a file of zeros is no root file system.
const MAX_RATIO: u64 = 300;
const MANY: u64 = 1 << 30;
/// Attributes of directories that are kept until the end.
const MAX_KEPT: usize = 64 << 20;

/// Character devices that containers have, by number.
const DEVICES: [(u32, u32); 10] =
    [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (10, 200), (10, 229)];

/// How an archive is unpacked.
#[derive(Debug, Default)]
pub struct Options {
    /// Members that are left out: patterns of fnmatch(3) without their `./`, as tar's --exclude --anchored.
    pub excludes: Vec<String>,
    /// It is a layer above others: its whiteouts remove what is below, and members may lie behind links of lower layers.
    pub layer: bool,
    /// Of the members only those below a directory, which is the root.
    pub only_below: Option<PathBuf>,
    /// Device nodes of all kinds are made, and attributes of all kinds given: somebody who knows the archive has asked for
    /// it.
    pub trusted: bool,
}

/// What was unpacked, of all layers of an image.
#[derive(Debug, Default)]
pub struct Totals {
    entries: u64,
    /// Sizes of files.
    bytes: u64,
    /// Bytes of the archives: as they are, and without compression.
    read: u64,
    plain: u64,
}

impl Totals {
    fn check(&self) -> Result<()> {
        let is_bomb = self.plain > MANY && self.plain / MAX_RATIO > self.read.max(1);
        if self.entries > MAX_ENTRIES || self.bytes > MAX_BYTES || is_bomb {
            return Err(Error::invalid(format!(
                "the archive comes to too much: {} bytes in {} files of {} bytes",
                self.bytes.max(self.plain),
                self.entries,
                self.read
            )));
        }
        Ok(())
    }
}

/// Unpacks a stream, compressed or not.
///
/// # Errors
/// The member, and what is wrong with it. What was unpacked until then stays.
pub fn unpack(source: Source<'_>, root: &Root, options: &Options, totals: &mut Totals) -> Result<()> {
    let taken = Arc::new(AtomicU64::new(0));
    let counted = Counted { inner: source, count: taken.clone() };
    let (plain, watch) = Watched::new(compressed::open(Box::new(counted))?);
    let mut archive = tar::Archive::new(plain);
    let mut unpacking = Unpacking {
        root,
        options,
        links: HashSet::new(),
        fresh: HashSet::new(),
        directories: BTreeMap::new(),
        kept: 0,
        skipped: 0,
    };
    let (read, plain) = (totals.read, totals.plain);
    for entry in archive.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        // In the archive; a file with holes is larger.
        let length = match entry.header().entry_type() {
            EntryType::GNUSparse => entry.header().entry_size().map_err(unreadable)?,
            _ => entry.size(),
        };
        let records = watch.contents(length)?;
        let record = |key: &str| records.iter().rev().find(|(k, _)| k == key).map(|(_, value)| value.clone());
        let name = record("path").unwrap_or_else(|| entry.header().path_bytes().into_owned());
        let name = PathBuf::from(OsStr::from_bytes(&name));
        let what = |e: Error| e.during(format!("unpack {}", name.display()));
        let in_header = entry.header().entry_size().map_err(unreadable)?;
        let size = match record("size") {
            Some(text) => std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok()),
            None => Some(in_header),
        };
        // The reader of archives has seen another one.
        if size != Some(length) {
            return Err(what(Error::invalid("it has two sizes")));
        }
        totals.entries += 1;
        totals.bytes = totals.bytes.saturating_add(entry.size());
        totals.read = read + taken.load(Ordering::Relaxed);
        totals.plain = (plain + watch.position()).saturating_add(length);
        totals.check().map_err(what)?;
        let link = record("linkpath").or_else(|| entry.header().link_name_bytes().map(|l| l.into_owned()));
        unpacking.entry(&mut entry, &name, link.as_deref(), &records).map_err(what)?;
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

struct Unpacking<'a> {
    root: &'a Root,
    options: &'a Options,
    /// Links of this archive: no archive of a directory tree has members behind them.
    links: HashSet<PathBuf>,
    /// What this archive has made, with the directories that lead there: its own whiteouts do not remove it.
    fresh: HashSet<PathBuf>,
    /// Modes, ACLs and times of directories are set when nothing more is put into them.
    directories: BTreeMap<PathBuf, Meta>,
    kept: usize,
    skipped: u64,
}

impl Unpacking<'_> {
    fn entry<R: Read>(
        &mut self,
        entry: &mut tar::Entry<'_, R>,
        name: &Path,
        link: Option<&[u8]>,
        records: &[Record],
    ) -> Result<()> {
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            return Ok(());
        }
        let Some(path) = self.path_of(name)? else { return Ok(()) };
        if path.as_os_str().is_empty() {
            // The root itself.
            return if kind == EntryType::Directory { self.directory(path, entry, records) } else { Ok(()) };
        }
        if self.options.excludes.iter().any(|pattern| matches(pattern, &path)) {
            return Ok(());
        }
        self.refuse_behind_links(&path)?;
        let file_name = path.file_name().ok_or_else(|| Error::invalid("it has no name"))?;
        if self.options.layer
            && let Some(hidden) = file_name.as_bytes().strip_prefix(b".wh.")
        {
            return self.whiteout(&path, hidden);
        }
        let parent = self.parent(path.parent().unwrap_or(Path::new("")))?;
        self.make_room(&parent, &path, kind == EntryType::Directory)?;
        self.links.remove(&path);
        self.fresh.extend(path.ancestors().map(Path::to_path_buf));
        let meta = || Meta::of(entry.header(), records, self.options.trusted);
        match kind {
            EntryType::Directory => {
                match rustix::fs::mkdirat(&parent, file_name, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(e) => return Err(e).doing(|| "create the directory"),
                }
                self.directory(path, entry, records)
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let meta = meta()?;
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = rustix::fs::openat(&parent, file_name, flags, Mode::RUSR | Mode::WUSR)
                    .doing(|| "create the file")?;
                write_contents(entry, &file)?;
                meta.apply(file.as_fd())
            }
            EntryType::Symlink => {
                let target = link.ok_or_else(|| Error::invalid("a link without target"))?;
                rustix::fs::symlinkat(target, &parent, file_name).doing(|| "create the link")?;
                meta()?.apply_by_name(&parent, file_name, true)?;
                self.links.insert(path);
                Ok(())
            }
            // It has what the first name has.
            EntryType::Link => self.second_name(link, &parent, file_name),
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                let meta = meta()?;
                if self.node(entry.header(), &path, &parent, file_name)? {
                    meta.apply_by_name(&parent, file_name, false)?;
                }
                Ok(())
            }
            other => Err(Error::invalid(format!("members of type {other:?} are not known"))),
        }
    }

    /// The path of a member below the root; `None` for what is not unpacked.
    fn path_of(&self, name: &Path) -> Result<Option<PathBuf>> {
        let path = plain(name)?;
        Ok(match &self.options.only_below {
            Some(top) => path.strip_prefix(top).ok().map(Path::to_path_buf),
            None => Some(path),
        })
    }

    /// Gives a directory its owner and attributes, and keeps what waits until it is filled.
    fn directory<R: Read>(
        &mut self,
        path: PathBuf,
        entry: &tar::Entry<'_, R>,
        records: &[Record],
    ) -> Result<()> {
        let mut meta = Meta::of(entry.header(), records, self.options.trusted)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let now = self.root.open_at(&path, flags).doing(|| "open the directory")?;
        meta.without_acls().apply(now.as_fd())?;
        self.kept += meta.weight();
        if self.kept > MAX_KEPT {
            return Err(Error::invalid("the ACLs of the directories come to too much"));
        }
        self.directories.insert(path, meta);
        Ok(())
    }

    fn second_name(&self, link: Option<&[u8]>, parent: &OwnedFd, name: &OsStr) -> Result<()> {
        let target = link.ok_or_else(|| Error::invalid("a link without target"))?;
        let target = self.path_of(Path::new(OsStr::from_bytes(target)))?;
        let target = target.filter(|t| !t.as_os_str().is_empty());
        let target =
            target.ok_or_else(|| Error::invalid("a second name of the root, or of what is outside"))?;
        self.refuse_behind_links(&target)?;
        let what = || format!("make it a second name of {}", target.display());
        let holder = target.parent().unwrap_or(Path::new(""));
        let holder = self.root.open_at(holder, OFlags::PATH | OFlags::DIRECTORY).doing(what)?;
        let first = target.file_name().unwrap_or_default();
        rustix::fs::linkat(&holder, first, parent, name, AtFlags::empty()).doing(what)
    }

    /// No archive of a directory tree has members behind its own links.
    fn refuse_behind_links(&self, path: &Path) -> Result<()> {
        match path.ancestors().skip(1).find(|a| self.links.contains(*a)) {
            Some(link) => Err(Error::invalid(format!("it lies behind the link {}", link.display()))),
            None => Ok(()),
        }
    }

    /// Makes a device node or FIFO. `false`: it was left out. What is below dev a container gets when it starts; and in a
    /// user namespace nobody can make one.
    fn node(&mut self, header: &tar::Header, path: &Path, parent: &OwnedFd, name: &OsStr) -> Result<bool> {
        let number = |n: std::io::Result<Option<u32>>| n.ok().flatten().unwrap_or(0);
        let (major, minor) = (number(header.device_major()), number(header.device_minor()));
        let kind = match header.entry_type() {
            EntryType::Fifo => FileType::Fifo,
            EntryType::Char => FileType::CharacterDevice,
            _ => FileType::BlockDevice,
        };
        let is_usual = kind == FileType::CharacterDevice && DEVICES.contains(&(major, minor));
        if kind != FileType::Fifo && !is_usual && !self.options.trusted {
            if path.starts_with("dev") {
                self.skipped += 1;
                return Ok(false);
            }
            return Err(Error::invalid(match kind {
                FileType::BlockDevice => {
                    format!("the block device {major}:{minor}: whoever has it has a disk of the host")
                }
                _ => format!("the device {major}:{minor} is none that containers have"),
            }));
        }
        let device = if kind == FileType::Fifo { 0 } else { rustix::fs::makedev(major, minor) };
        match rustix::fs::mknodat(parent, name, kind, Mode::RUSR | Mode::WUSR, device) {
            Err(Errno::PERM) if kind != FileType::Fifo => {
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
            return self.empty(&parent, directory);
        }
        if hidden.is_empty() || hidden.contains(&b'/') || hidden == b"." || hidden == b".." {
            return Err(Error::invalid("a whiteout of nothing"));
        }
        let name = OsStr::from_bytes(hidden);
        if self.fresh.contains(&directory.join(name)) {
            return Ok(());
        }
        match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => remove(&parent, name, FileType::from_raw_mode(found.st_mode) == FileType::Directory),
            Err(_) => Ok(()),
        }
    }

    /// Removes what lower layers have in a directory, also in those that this one has made something in.
    fn empty(&self, directory: &OwnedFd, path: &Path) -> Result<()> {
        let what = || "read the directory";
        for entry in rustix::fs::Dir::read_from(directory).doing(what)? {
            let entry = entry.doing(what)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
            if name == "." || name == ".." {
                continue;
            }
            let below = path.join(&name);
            let is_directory = entry.file_type() == FileType::Directory;
            if !self.fresh.contains(&below) {
                remove(directory, &name, is_directory)?;
            } else if is_directory {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = rustix::fs::openat(directory, &name, flags, Mode::empty()).doing(what)?;
                self.empty(&fd, &below)?;
            }
        }
        Ok(())
    }

    /// Directories get what they have, the innermost first.
    fn finish(self) -> Result<()> {
        if self.skipped > 0 {
            log::info!("{} device nodes were left out: containers get their own", self.skipped);
        }
        for (path, meta) in self.directories.iter().rev() {
            let what = || format!("unpack {}", path.display());
            match self.root.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW) {
                Ok(fd) => meta.apply(fd.as_fd()).map_err(|e| e.during(what()))?,
                // Replaced by a later member.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(e) => return Err(e).doing(what),
            }
        }
        Ok(())
    }
}

fn remove(parent: &OwnedFd, name: &OsStr, is_directory: bool) -> Result<()> {
    if is_directory {
        // By descriptor: its path may lead somewhere else.
        return remove_directory(&Path::new(&fd_path(parent.as_fd())).join(name), true);
    }
    rustix::fs::unlinkat(parent, name, AtFlags::empty()).doing(|| "remove what is in its place")
}

/// The path of a member below the root, which is empty for the root itself.
fn plain(name: &Path) -> Result<PathBuf> {
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
    Ok(path)
}

/// fnmatch(3) of a whole path or a directory above it: `*` matches slashes too, as tar's patterns do.
fn matches(pattern: &str, path: &Path) -> bool {
    let pattern = pattern.trim_start_matches("./").trim_end_matches('/');
    path.ancestors().any(|a| !a.as_os_str().is_empty() && glob(pattern.as_bytes(), a.as_os_str().as_bytes()))
}

/// In steps that are at most the product of both lengths: only the last `*` is ever tried again.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((after, from)) => {
                    (p, t) = (after, from + 1);
                    star = Some((after, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
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
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = plain(Path::new(OsStr::from_bytes(&entry.path_bytes())))?;
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
        assert_eq!(plain(Path::new("./a/./b")).expect("fine"), Path::new("a/b"));
        assert_eq!(plain(Path::new("./")).expect("the root"), Path::new(""));
        assert!(plain(Path::new("/etc/passwd")).is_err());
        assert!(plain(Path::new("a/../../b")).is_err());
    }

    #[test]
    fn patterns() {
        assert!(matches("./dev/*", Path::new("dev/null")));
        assert!(matches("dev", Path::new("dev/null")));
        assert!(!matches("dev/*", Path::new("etc/dev/null")));
        assert!(matches("var/?at", Path::new("var/cat/deep")));
        assert!(matches("a*b*c", Path::new("axxbxxbxc")) && !matches("a*b*d", Path::new("axxbxxbxc")));
        let long = "a".repeat(200);
        assert!(!matches(&"a*".repeat(40).replace("a*a*", "a*a*b"), Path::new(&long)), "and that at once");
    }
}
