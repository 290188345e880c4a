//! A container as one file: a compressed tar archive of its configuration, of the files beside it that this names, and of
//! its root file system with the ids that the container sees.

use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lxc_config::Source;
use lxc_sys::Errno;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use tar::{EntryType, Header};

use super::copy::{finish_new, open_to_read};
use super::making::{Making, identity_for_files, identity_of, refuse_reserved};
use super::rewrite::{self, Change, is_beside};
use crate::container::Container;
use crate::error::{Doing, Error, Kind, Result};
use crate::files::fd_path;
use crate::lock;
use crate::plan::{Identity, Storage, StorageKind};
use crate::rootfs::Root;
use crate::source::Files;
use crate::spawn::isolated::isolated;
use crate::state::State;
use crate::storage;
use crate::storage::copy::{check_depth, write_out};
use crate::template::compressed;
use crate::template::unpack::{Options, Totals, unpack};

/// How an archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// By gzip.
    Gzip,
    /// By xz.
    Xz,
    /// By zstd.
    Zstd,
}

impl Compression {
    /// By the name of a program.
    pub fn from_name(name: &str) -> Option<Compression> {
        Some(match name {
            "none" => Compression::None,
            "gzip" => Compression::Gzip,
            "xz" => Compression::Xz,
            "zstd" => Compression::Zstd,
            _ => return None,
        })
    }
}

/// Members of an archive: what it is of, the configuration, files beside it, the root file system.
const ORIGIN: &str = "origin";
const CONFIG: &str = "config";
const BESIDE: &str = "files";
const ROOTFS: &str = "rootfs";

/// Largest file beside a configuration.
const MAX_BESIDE: u64 = 16 << 20;

/// What is in front of the root file system.
#[derive(Debug, Default)]
struct Front {
    origin: PathBuf,
    config: Vec<u8>,
    /// By their paths below the directory.
    beside: Vec<(PathBuf, u32, Vec<u8>)>,
}

/// What a configuration includes: files of the archive, or the host's.
struct Included<'a>(&'a Front);

impl Included<'_> {
    fn below<'p>(&self, path: &'p Path) -> Option<&'p Path> {
        path.strip_prefix(&self.0.origin).ok()
    }
}

impl Source for Included<'_> {
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        let Some(below) = self.below(path) else { return Files.read(path) };
        let file = self.0.beside.iter().find(|(name, ..)| name == below);
        file.map(|(_, _, bytes)| bytes.clone()).ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }

    fn list(&self, dir: &Path) -> std::io::Result<Vec<OsString>> {
        let Some(below) = self.below(dir) else { return Files.list(dir) };
        let names = self.0.beside.iter().filter(|(name, ..)| name.parent() == Some(below));
        Ok(names.filter_map(|(name, ..)| name.file_name().map(OsStr::to_os_string)).collect())
    }

    fn is_dir(&self, path: &Path) -> bool {
        let below = self.below(path);
        below.map_or_else(
            || Files.is_dir(path),
            |below| self.0.beside.iter().any(|(name, ..)| name.parent() == Some(below)),
        )
    }

    fn env(&self, name: &str) -> Option<String> {
        Files.env(name)
    }

    fn random(&self) -> u8 {
        Files.random()
    }
}

impl Container {
    /// Writes the container to a file. It must not run.
    ///
    /// # Errors
    /// Why not; what was written until then is in the file.
    pub fn export(&self, to: &File, compression: Compression) -> Result<()> {
        self.check_source(false)?;
        let storage =
            Storage::of(&self.config.values)?.ok_or_else(|| Error::invalid("No rootfs specified"))?;
        let identity = identity_of(self);
        let shifted = identity.is_mapped() && !self.has_unshifted_files();
        let ordinary = !rustix::process::geteuid().is_root();
        let within = if ordinary { identity.with_caller() } else { identity };
        // Only the host's root mounts what has to be mounted.
        let (root, _held) = if ordinary { None } else { Some(open_to_read(&storage)?) }.unzip();
        // In the container's user namespace its files have the ids that it sees.
        isolated((shifted || ordinary).then_some(&within), || {
            let out = to.try_clone().doing(|| "write the archive")?;
            match compression {
                Compression::None => self.write(&storage, root, out).map(drop),
                Compression::Gzip => {
                    let gzip = flate2::write::GzEncoder::new(out, flate2::Compression::default());
                    self.write(&storage, root, gzip)?.finish().doing(|| "write the archive").map(drop)
                }
                Compression::Xz => {
                    let xz = liblzma::write::XzEncoder::new(out, 6);
                    self.write(&storage, root, xz)?.finish().doing(|| "write the archive").map(drop)
                }
                Compression::Zstd => {
                    let zstd = zstd::stream::write::Encoder::new(out, 3).doing(|| "write the archive")?;
                    self.write(&storage, root, zstd)?.finish().doing(|| "write the archive").map(drop)
                }
            }
        })?;
        to.sync_all()
            .or_else(|e| if e.raw_os_error() == Some(Errno::INVAL.raw_os_error()) { Ok(()) } else { Err(e) })
            .doing(|| "write the archive to disk")
    }

    /// Files on disk that have the container's own ids: the mount shifts them.
    fn has_unshifted_files(&self) -> bool {
        self.config
            .values
            .rootfs
            .options
            .as_deref()
            .is_some_and(|o| o.split(',').any(|w| w.starts_with("idmap=")))
    }

    /// Files in the directory that the configuration names, and those that it includes, by their paths below it.
    fn files_beside(&self) -> Vec<PathBuf> {
        let directory = self.directory();
        let mut files: Vec<PathBuf> = self.config.files().to_vec();
        self.config.rewritten(&mut |key, value| {
            if key.starts_with("lxc.hook.") || ["lxc.mount.fstab", "lxc.seccomp.profile"].contains(&key) {
                files.push(value.split([' ', '\t']).next().unwrap_or_default().into());
            }
            None
        });
        let below = |file: PathBuf| file.strip_prefix(&directory).ok().map(Path::to_path_buf);
        let mut files: Vec<PathBuf> = files.into_iter().filter_map(below).collect();
        files.retain(|below| is_beside(below) && directory.join(below).is_file());
        files.sort();
        files.dedup();
        files
    }

    /// `root`: that of the storage, where it was opened before.
    fn write<W: Write>(&self, storage: &Storage, root: Option<Root>, out: W) -> Result<W> {
        let what = || "write the archive";
        let mut writer = Writer {
            tar: tar::Builder::new(out),
            links: Default::default(),
            is_image: storage.needs_mounting(),
        };
        writer.text(ORIGIN, 0o644, self.directory().display().to_string().as_bytes())?;
        writer.text(CONFIG, 0o640, &self.config.text())?;
        for below in self.files_beside() {
            use std::os::unix::fs::MetadataExt;
            let file = self.directory().join(&below);
            let mode = file.metadata().doing(|| format!("look at {}", file.display()))?.mode();
            let bytes = std::fs::read(&file).doing(|| format!("read {}", file.display()))?;
            writer.text(&format!("{BESIDE}/{}", below.display()), mode & 0o777, &bytes)?;
        }
        let (root, _held) = match root {
            Some(root) => (root, None),
            None => open_to_read(storage)?,
        };
        let fd = rustix::fs::openat(root.fd(), ".", DIRECTORY, Mode::empty()).doing(|| "open the root")?;
        let stat = rustix::fs::fstat(&fd).doing(|| "look at the root")?;
        writer.directory(&fd, Path::new(ROOTFS), &stat)?;
        writer.tar.into_inner().doing(what)
    }
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

struct Writer<W: Write> {
    tar: tar::Builder<W>,
    /// First names of files with several.
    links: std::collections::HashMap<(u64, u64), PathBuf>,
    /// The root directory is that of a file system of its own.
    is_image: bool,
}

impl<W: Write> Writer<W> {
    fn text(&mut self, name: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(mode);
        header.set_size(bytes.len() as u64);
        self.tar.append_data(&mut header, name, bytes).doing(|| format!("write {name} into the archive"))
    }

    fn directory(&mut self, directory: &OwnedFd, path: &Path, stat: &Stat) -> Result<()> {
        let what = || format!("export {}", path.display());
        check_depth(path)?;
        self.extensions(&fd_path(directory.as_fd()), stat).doing(what)?;
        let mut header = header(stat, EntryType::Directory);
        header.set_size(0);
        self.tar.append_data(&mut header, path, std::io::empty()).doing(what)?;
        let mut below = Vec::new();
        for entry in Dir::read_from(directory).doing(what)? {
            let entry = entry.doing(what)?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                below.push(name.to_owned());
            }
        }
        if self.is_image && path == Path::new(ROOTFS) {
            // Of the file system, and with ids of the host.
            below.retain(|name| name.as_c_str() != c"lost+found");
        }
        below.sort();
        for name in below {
            self.entry(directory, &name, &path.join(OsStr::from_bytes(name.to_bytes())))?;
        }
        Ok(())
    }

    fn entry(&mut self, directory: &OwnedFd, name: &CStr, path: &Path) -> Result<()> {
        let what = || format!("export {}", path.display());
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).doing(what)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            let resolve = rustix::fs::ResolveFlags::BENEATH | rustix::fs::ResolveFlags::NO_XDEV;
            let fd = rustix::fs::openat2(directory, name, DIRECTORY, Mode::empty(), resolve).doing(what)?;
            return self.directory(&fd, path, &stat);
        }
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                let mut header = header(&stat, EntryType::Link);
                header.set_size(0);
                return self.tar.append_link(&mut header, path, first).doing(what);
            }
            self.links.insert((stat.st_dev, stat.st_ino), path.to_path_buf());
        }
        if kind != FileType::RegularFile && kind != FileType::Socket {
            // It cannot be opened; the path of this leads to what it names.
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(directory, name, flags, Mode::empty()).doing(what)?;
            self.extensions(&fd_path(fd.as_fd()), &stat).doing(what)?;
        }
        match kind {
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let fd = rustix::fs::openat(directory, name, flags, Mode::empty()).doing(what)?;
                self.extensions(&fd_path(fd.as_fd()), &stat).doing(what)?;
                let mut header = header(&stat, EntryType::Regular);
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                header.set_size(size);
                self.tar.append_data(&mut header, path, File::from(fd).take(size)).doing(what)
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(directory, name, Vec::new()).doing(what)?;
                let mut header = header(&stat, EntryType::Symlink);
                header.set_size(0);
                self.tar.append_link(&mut header, path, OsStr::from_bytes(target.to_bytes())).doing(what)
            }
            // Nobody listens to it any more; whoever does makes it.
            FileType::Socket => Ok(()),
            other => {
                let kind = match other {
                    FileType::CharacterDevice => EntryType::Char,
                    FileType::BlockDevice => EntryType::Block,
                    _ => EntryType::Fifo,
                };
                let mut header = header(&stat, kind);
                header.set_size(0);
                header.set_device_major(rustix::fs::major(stat.st_rdev)).doing(what)?;
                header.set_device_minor(rustix::fs::minor(stat.st_rdev)).doing(what)?;
                self.tar.append_data(&mut header, path, std::io::empty()).doing(what)
            }
        }
    }

    /// What has no place in a header of tar: attributes, and parts of seconds (pax(1), and what star calls attributes).
    fn extensions(&mut self, file: &str, stat: &Stat) -> lxc_sys::Result<()> {
        let io = |e: std::io::Error| e.raw_os_error().map_or(Errno::IO, lxc_sys::errno_from);
        let mut all: Vec<(String, Vec<u8>)> =
            vec![("mtime".into(), format!("{}.{:09}", stat.st_mtime, stat.st_mtime_nsec).into_bytes())];
        let mut names = vec![0; 64 * 1024];
        let length = match rustix::fs::listxattr(file, &mut names[..]) {
            Err(Errno::OPNOTSUPP) => 0,
            length => length?,
        };
        for name in names[..length].split(|&b| b == 0).filter(|n| !n.is_empty()) {
            let Ok(name) = std::str::from_utf8(name) else { continue };
            // Of the place, not of the file.
            if name.starts_with("trusted.overlay.") || name == "security.selinux" {
                continue;
            }
            let mut value = vec![0; 64 * 1024];
            let size = rustix::fs::getxattr(file, name, &mut value[..])?;
            value.truncate(size);
            all.push((format!("SCHILY.xattr.{name}"), value));
        }
        let pairs = all.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        self.tar.append_pax_extensions(pairs).map_err(io)
    }
}

fn header(stat: &Stat, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(stat.st_mode & 0o7777);
    header.set_uid(u64::from(stat.st_uid));
    header.set_gid(u64::from(stat.st_gid));
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    header
}

/// How a container comes out of an archive.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// Its name; the one that it had.
    pub name: Option<String>,
    /// Kind of its storage; a directory.
    pub kind: Option<StorageKind>,
    /// What the storage is to be like.
    pub storage: storage::Options,
    /// It keeps its hardware addresses.
    pub keep_addresses: bool,
    /// Device nodes are made whatever they are of, the host's disks among them, and attributes given of all kinds.
    pub trusted: bool,
}

/// Makes a container of an archive; returns its name.
///
/// # Errors
/// Why not; nothing is left of it.
pub fn import(archive: &File, lxcpath: &Path, options: &ImportOptions) -> Result<String> {
    let front = front(archive)?;
    let old = front.origin.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let name = options.name.clone().unwrap_or_else(|| old.clone());
    let mut container = Container::without_config(&name, lxcpath)?;
    refuse_reserved(&name)?;
    let lxcpath = container.lxcpath().to_path_buf();
    let is_complete = lock::creation(&container.directory())? == lock::Creation::Complete;
    if (container.config_path().exists() && is_complete) || container.state()? != State::Stopped {
        return Err(Error::new(Kind::AlreadyRunning, "Container already exists"));
    }
    let (file, directory) = (container.config_path(), container.directory());
    container.config.load_text(&front.config, &file, &Included(&front)).map_err(Error::from)?;
    let identity = identity_for_files(&container.config.values)?;
    let mut making = Making::begin(&lxcpath, &name, identity.clone())?;
    let mut fill = || -> Result<()> {
        for (name, mode, bytes) in &front.beside {
            let path = directory.join(name);
            let what = || format!("write {}", path.display());
            path.parent().map_or(Ok(()), std::fs::create_dir_all).doing(what)?;
            let mut file = File::options().write(true).create_new(true).open(&path).doing(what)?;
            file.write_all(bytes).doing(what)?;
            file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(*mode)).doing(what)?;
            file.sync_all().doing(what)?;
        }
        let change = Change {
            from: &front.origin,
            to: &directory,
            copy_to: None,
            keep_addresses: options.keep_addresses,
        };
        let text = rewrite::configuration(&container.config, &change)?;
        let unshifted = container.has_unshifted_files();
        let storage = finish_new(&mut making, &text, &name, options.kind, &options.storage, name != old)?;
        let shift = if unshifted { Identity::default() } else { identity.clone() };
        fill_rootfs(archive, &storage, &shift, options.trusted)
    };
    match fill() {
        Ok(()) => making.complete().map(|()| name),
        Err(e) => {
            making.undo();
            Err(e)
        }
    }
}

fn fill_rootfs(archive: &File, storage: &Storage, identity: &Identity, trusted: bool) -> Result<()> {
    let ordinary = !rustix::process::geteuid().is_root();
    let within = if ordinary { identity.with_caller() } else { identity.clone() };
    let again = |file: &File| -> Result<File> {
        std::fs::File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file)))
            .doing(|| "open the archive once more")
    };
    let (root, _held) = super::copy::open_root(storage)?;
    let source = again(archive)?;
    isolated(within.is_mapped().then_some(&within), || {
        let options = Options { only_below: Some(ROOTFS.into()), trusted, ..Options::default() };
        unpack(Box::new(source), &root, &options, &mut Totals::default())?;
        write_out(root.fd())
    })
}

/// Reads what is in front of the root file system.
fn front(archive: &File) -> Result<Front> {
    let what = || "read the archive";
    let source = archive.try_clone().doing(what)?;
    let mut archive = tar::Archive::new(compressed::open(Box::new(source))?.take(16 * MAX_BESIDE));
    let mut front = Front::default();
    for entry in archive.entries().doing(what)? {
        let mut entry = entry.doing(what)?;
        let path = entry.path().doing(what)?.into_owned();
        if path.starts_with(ROOTFS) {
            break;
        }
        if entry.size() > MAX_BESIDE || !entry.header().entry_type().is_file() {
            return Err(Error::invalid(format!("{}: too large, or no file", path.display())));
        }
        let mode = entry.header().mode().doing(what)? & 0o755;
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).doing(what)?;
        let parts: Vec<&str> = path.iter().filter_map(OsStr::to_str).collect();
        match *parts.as_slice() {
            [ORIGIN] => front.origin = PathBuf::from(String::from_utf8_lossy(&bytes).trim()),
            [CONFIG] => front.config = bytes,
            [BESIDE, ..] if is_beside(&path.iter().skip(1).collect::<PathBuf>()) => {
                front.beside.push((path.iter().skip(1).collect(), mode, bytes))
            }
            _ => return Err(Error::invalid(format!("{}: not of an exported container", path.display()))),
        }
    }
    if front.config.is_empty() || front.origin.as_os_str().is_empty() {
        return Err(Error::invalid("the archive is not of an exported container")
            .with_hint("lxc-create -t local makes a container of any archive of a root file system"));
    }
    Ok(front)
}
