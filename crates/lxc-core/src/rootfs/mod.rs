//! Paths inside a container's root file system, which its owner may have prepared to mislead us.
//!
//! Every look-up is openat2 with RESOLVE_IN_ROOT: symbolic links are followed as the container
//! would follow them and never lead outside, whatever changes meanwhile. What is found is used by
//! its descriptor (`/proc/self/fd/N` of the host's proc where a call wants a path).

use crate::files::fd_path;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use lxc_sys::Errno;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags};

use crate::error::{Doing, Error, Result};

/// The root directory of a container, while the caller is outside of it.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    path: PathBuf,
}

/// A directory that something is made in.
enum Parent<'a> {
    Root(BorrowedFd<'a>),
    Below(OwnedFd),
}

impl AsFd for Parent<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Parent::Root(fd) => *fd,
            Parent::Below(fd) => fd.as_fd(),
        }
    }
}

/// Changes to a directory of the container's, inside of it. Links of /proc to descriptors are not followed: one of them may
/// still be the host's (CVE-2024-21626). Nor is a directory accepted that cannot be reached from the root.
pub fn enter_directory(path: &Path) -> lxc_sys::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_MAGICLINKS;
    let directory = rustix::io::retry_on_intr(|| {
        rustix::fs::openat2(rustix::fs::CWD, path, flags, Mode::empty(), resolve)
    })?;
    rustix::process::fchdir(&directory)?;
    // getcwd(2): "(unreachable)/…"
    match rustix::process::getcwd(Vec::new())?.to_bytes().first() {
        Some(b'/') => Ok(()),
        _ => Err(Errno::XDEV),
    }
}

/// The host's procfs, while it is in sight.
#[derive(Debug)]
pub struct Procfs(OwnedFd);

impl Procfs {
    /// Opens /proc, which must be one.
    pub fn open() -> Result<Procfs> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open("/proc", flags, Mode::empty()).doing(|| "open /proc")?;
        let is_procfs =
            rustix::fs::fstatfs(&fd).doing(|| "look at /proc")?.f_type == rustix::fs::PROC_SUPER_MAGIC;
        if is_procfs { Ok(Procfs(fd)) } else { Err(Error::invalid("/proc is no procfs")) }
    }

    /// Writes a value to a file, in one write, as files of procfs want it. No link is followed, and the file is one of a
    /// procfs: whatever the container has on its own /proc (CVE-2025-52881).
    pub fn write(&self, path: &Path, value: &str) -> lxc_sys::Result<()> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let fd =
            rustix::io::retry_on_intr(|| rustix::fs::openat2(&self.0, path, flags, Mode::empty(), resolve))?;
        if rustix::fs::fstatfs(&fd)?.f_type != rustix::fs::PROC_SUPER_MAGIC {
            return Err(Errno::XDEV);
        }
        rustix::io::write(&fd, value.as_bytes()).map(drop)
    }
}

impl Root {
    /// Opens the directory at `path` of the caller's mount namespace.
    pub fn open(path: &Path) -> Result<Root> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())
            .doing(|| format!("open root file system {}", path.display()))?;
        Ok(Root { fd, path: path.to_path_buf() })
    }

    /// The root directory of a mount that need not be attached anywhere; `name` is for messages.
    pub fn of(tree: OwnedFd, name: impl Into<PathBuf>) -> Root {
        Root { fd: tree, path: name.into() }
    }

    /// Whether `path` names a regular file below the root.
    pub fn is_file(&self, path: impl AsRef<Path>) -> bool {
        let kind = |fd: OwnedFd| rustix::fs::fstat(fd).map(|s| FileType::from_raw_mode(s.st_mode));
        self.find(path).and_then(kind).is_ok_and(|kind| kind == FileType::RegularFile)
    }

    /// A directory below as a root of its own: its paths are looked up from there and do not lead out of it.
    pub fn below(&self, path: &str) -> Result<Root> {
        let fd = self.make_dir(path, 0o755)?;
        Ok(Root { fd, path: self.path.join(path) })
    }

    /// The directory itself.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Where it was opened: for messages and for the environment of hooks only.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn describe(&self, path: &Path) -> String {
        self.path.join(path.strip_prefix("/").unwrap_or(path)).display().to_string()
    }

    /// Opens `path` below the root.
    pub fn open_at(&self, path: impl AsRef<Path>, flags: OFlags) -> lxc_sys::Result<OwnedFd> {
        let path = path.as_ref();
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        rustix::io::retry_on_intr(|| {
            rustix::fs::openat2(&self.fd, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
        })
    }

    /// Finds `path` below the root, as a descriptor that only names it.
    pub fn find(&self, path: impl AsRef<Path>) -> lxc_sys::Result<OwnedFd> {
        self.open_at(path, OFlags::PATH)
    }

    /// Whether `path` exists below the root.
    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.find(path).is_ok()
    }

    /// Makes the directory `path` with its parents, as far as they are missing, and opens it.
    pub fn make_dir(&self, path: impl AsRef<Path>, mode: u32) -> Result<OwnedFd> {
        let path = path.as_ref();
        if path.components().any(|c| c == Component::ParentDir) {
            return Err(Error::invalid(format!("{}: .. is not allowed", path.display())));
        }
        self.make_dir_below(path, mode).doing(|| format!("create directory {}", self.describe(path)))
    }

    fn make_dir_below(&self, path: &Path, mode: u32) -> lxc_sys::Result<OwnedFd> {
        let open = || self.open_at(path, OFlags::PATH | OFlags::DIRECTORY);
        match (open(), path.file_name()) {
            (Err(Errno::NOENT), Some(name)) => {
                let parent = self.parent(path, mode)?;
                match rustix::fs::mkdirat(parent.as_fd(), name, Mode::from_raw_mode(mode)) {
                    // Looked up again: what is there by now may be a link that somebody else made.
                    Ok(()) | Err(Errno::EXIST) => open(),
                    Err(e) => Err(e),
                }
            }
            (found, _) => found,
        }
    }

    /// The directory that holds `path`, made if absent.
    fn parent(&self, path: &Path, mode: u32) -> lxc_sys::Result<Parent<'_>> {
        match path.parent() {
            None => Ok(Parent::Root(self.fd())),
            Some(parent) if matches!(parent.to_str(), Some("" | "/")) => Ok(Parent::Root(self.fd())),
            Some(parent) => self.make_dir_below(parent, mode).map(Parent::Below),
        }
    }

    /// Makes an empty file to mount something on, with its parents, and opens it; whatever is there
    /// already is taken as it is.
    pub fn make_file(&self, path: impl AsRef<Path>, mode: u32) -> Result<OwnedFd> {
        let path = path.as_ref();
        let what = || format!("create file {}", self.describe(path));
        let name = path.file_name().ok_or_else(|| Error::invalid(what()))?;
        let parent = self.parent(path, 0o755).doing(what)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        match rustix::fs::openat(parent.as_fd(), name, flags, Mode::from_raw_mode(mode)) {
            Err(Errno::EXIST) => self.find(path).doing(what),
            made => made.doing(what),
        }
    }

    /// Writes a whole file below the root, making it if absent.
    pub fn write_file(&self, path: impl AsRef<Path>, mode: u32, bytes: &[u8]) -> Result<()> {
        let path = path.as_ref();
        let what = || format!("write {}", self.describe(path));
        drop(self.make_file(path, mode)?);
        let fd = self.open_at(path, OFlags::WRONLY | OFlags::TRUNC).doing(what)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let n = rustix::io::retry_on_intr(|| rustix::io::write(&fd, rest)).doing(what)?;
            rest = &rest[n..];
        }
        Ok(())
    }

    /// Reads a whole file below the root, which is not larger than `most` bytes.
    pub fn read_file(&self, path: impl AsRef<Path>, most: u64) -> Result<Vec<u8>> {
        use std::io::Read;
        let path = path.as_ref();
        let what = || format!("read {}", self.describe(path));
        // What has come in its place meanwhile does not make anybody wait.
        let fd = self.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK).doing(what)?;
        let mut bytes = Vec::new();
        std::fs::File::from(fd).take(most + 1).read_to_end(&mut bytes).doing(what)?;
        if bytes.len() as u64 > most {
            return Err(Error::invalid(format!("{}: more than {most} bytes", what())));
        }
        Ok(bytes)
    }

    /// Writes a whole file below the root; what is there and is no file gives way.
    pub fn put_file(&self, path: impl AsRef<Path>, mode: u32, bytes: &[u8]) -> Result<()> {
        let path = path.as_ref();
        if !self.is_file(path) {
            self.remove_file(path)?;
        }
        self.write_file(path, mode, bytes)
    }

    /// Gives a file or directory its mode, whatever the mask says.
    pub fn set_mode(&self, path: impl AsRef<Path>, mode: u32) -> Result<()> {
        let path = path.as_ref();
        let what = || format!("set the mode of {}", self.describe(path));
        let found = self.find(path).doing(what)?;
        rustix::fs::chmod(fd_path(found.as_fd()), Mode::from_raw_mode(mode)).doing(what)
    }

    /// Makes a second name of a file where there is nothing of that name.
    pub fn hard_link(&self, file: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<()> {
        let (file, path) = (file.as_ref(), path.as_ref());
        let what = || format!("link {} to {}", self.describe(path), self.describe(file));
        let name = |p: &Path| p.file_name().map(ToOwned::to_owned).ok_or_else(|| Error::invalid(what()));
        let (from, to) = (self.parent(file, 0o755).doing(what)?, self.parent(path, 0o755).doing(what)?);
        match rustix::fs::linkat(from.as_fd(), name(file)?, to.as_fd(), name(path)?, AtFlags::empty()) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(e) => Err(Error::os(what(), e)),
        }
    }

    /// Makes a symbolic link where there is nothing of that name.
    pub fn symlink(&self, target: &str, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let what = || format!("create symbolic link {}", self.describe(path));
        let name = path.file_name().ok_or_else(|| Error::invalid(what()))?;
        let parent = self.parent(path, 0o755).doing(what)?;
        match rustix::fs::symlinkat(target, parent.as_fd(), name) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(e) => Err(Error::os(what(), e)),
        }
    }

    /// Makes a device node with the type, number and permissions of another, and its directories; what is there
    /// gives way.
    pub fn make_node(&self, path: &Path, like: &Stat) -> Result<()> {
        let what = || format!("create device node {}", self.describe(path));
        let name = path.file_name().ok_or_else(|| Error::invalid(what()))?;
        if path.components().any(|c| c == Component::ParentDir) {
            return Err(Error::invalid(format!("{}: .. is not allowed", path.display())));
        }
        let parent = self.parent(path, 0o755).doing(what)?;
        let (kind, mode) =
            (FileType::from_raw_mode(like.st_mode), Mode::from_raw_mode(like.st_mode & 0o7777));
        let make = || rustix::fs::mknodat(parent.as_fd(), name, kind, mode, like.st_rdev);
        match make() {
            Err(Errno::EXIST) => {
                rustix::fs::unlinkat(parent.as_fd(), name, AtFlags::empty()).doing(what)?;
                make().doing(what)?;
            }
            result => result.doing(what)?,
        }
        // The umask took some of the permissions. By descriptor: the container may have put a link there by now.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let node = rustix::fs::openat(parent.as_fd(), name, flags, Mode::empty()).doing(what)?;
        let found = rustix::fs::fstat(&node).doing(what)?;
        if (found.st_rdev, FileType::from_raw_mode(found.st_mode)) != (like.st_rdev, kind) {
            return Err(Error::invalid(format!("{}: the container has put something else there", what())));
        }
        rustix::fs::chmod(fd_path(node.as_fd()), mode).doing(what)
    }

    /// Removes a file; neither it nor its directory need be there.
    pub fn remove_file(&self, path: &Path) -> Result<()> {
        let what = || format!("remove {}", self.describe(path));
        let name = path.file_name().ok_or_else(|| Error::invalid(what()))?;
        let parent = path.parent().unwrap_or(Path::new(""));
        let removed = self
            .open_at(parent, OFlags::PATH | OFlags::DIRECTORY)
            .and_then(|parent| rustix::fs::unlinkat(&parent, name, AtFlags::empty()));
        match removed {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(Error::os(what(), e)),
        }
    }

    /// Mounts something on `path` below the root, which exists.
    pub fn mount(
        &self,
        source: &str,
        path: impl AsRef<Path>,
        fstype: &str,
        flags: MountFlags,
        data: &str,
    ) -> Result<()> {
        let path = path.as_ref();
        let what = || mount_text(source, &self.describe(path), fstype);
        let target = self.find(path).doing(what)?;
        mount_on(source, target.as_fd(), fstype, flags, data).doing(what)
    }
}

/// A short description of a mount for messages.
pub fn mount_text(source: &str, target: &str, fstype: &str) -> String {
    match fstype {
        "" | "none" => format!("mount {source} on {target}"),
        _ if source == fstype || source.is_empty() => format!("mount {fstype} on {target}"),
        _ => format!("mount {fstype} {source} on {target}"),
    }
}

/// mount(2) on what a descriptor names.
pub fn mount_on(
    source: &str,
    target: BorrowedFd<'_>,
    fstype: &str,
    flags: MountFlags,
    data: &str,
) -> lxc_sys::Result<()> {
    let data = if data.is_empty() { None } else { Some(CString::new(data).map_err(|_| Errno::INVAL)?) };
    let data: Option<&CStr> = data.as_deref();
    let fstype = if fstype.is_empty() { "none" } else { fstype };
    rustix::mount::mount(source, &*fd_path(target), fstype, flags, data)
}

/// Makes a file system of its own, mounts it on what a descriptor names, and returns the mount: what is done with it
/// does not depend on what the name leads to by then. `data`: options of the file system, with commas between them.
pub fn mount_new(
    fstype: &str,
    data: &str,
    attributes: MountAttrFlags,
    target: BorrowedFd<'_>,
) -> lxc_sys::Result<OwnedFd> {
    let fs = rustix::mount::fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(fs.as_fd(), "source", fstype)?;
    for option in data.split(',').filter(|o| !o.is_empty()) {
        match option.split_once('=') {
            Some((key, value)) => rustix::mount::fsconfig_set_string(fs.as_fd(), key, value)?,
            None => rustix::mount::fsconfig_set_flag(fs.as_fd(), option)?,
        }
    }
    rustix::mount::fsconfig_create(fs.as_fd())?;
    let mount = rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    attach_to(mount.as_fd(), target)?;
    Ok(mount)
}

/// A copy of the mount at what a descriptor names, attached nowhere yet.
pub fn copy_of(fd: BorrowedFd<'_>) -> lxc_sys::Result<OwnedFd> {
    use rustix::mount::OpenTreeFlags as F;
    rustix::mount::open_tree(fd, "", F::OPEN_TREE_CLONE | F::OPEN_TREE_CLOEXEC | F::AT_EMPTY_PATH)
}

/// Attaches a mount to what a descriptor names.
pub fn attach_to(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> lxc_sys::Result<()> {
    use rustix::mount::MoveMountFlags as F;
    let by_descriptor = F::MOVE_MOUNT_F_EMPTY_PATH | F::MOVE_MOUNT_T_EMPTY_PATH;
    match rustix::mount::move_mount(mount, "", target, "", by_descriptor) {
        // A directory on a file, or a file on a directory: mount(2) says so.
        Err(Errno::INVAL) if is_directory(mount) != is_directory(target) => Err(Errno::NOTDIR),
        attached => attached,
    }
}

fn is_directory(fd: BorrowedFd<'_>) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Binds what a descriptor names on what another does, with these flags instead of its own, and returns the new
/// mount. No name is looked up twice: somebody may rename directories meanwhile.
pub fn bind(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    flags: Option<MountFlags>,
) -> lxc_sys::Result<OwnedFd> {
    let mount = copy_of(source)?;
    attach_to(mount.as_fd(), target)?;
    if let Some(flags) = flags {
        rustix::mount::mount_remount(&*fd_path(mount.as_fd()), MountFlags::BIND | flags, "")?;
    }
    Ok(mount)
}

/// The flags of the mount behind a descriptor that a bind mount of it must keep: inside a user
/// namespace the kernel refuses to drop them.
pub fn locked_flags(fd: BorrowedFd<'_>) -> MountFlags {
    use rustix::fs::StatVfsMountFlags as S;
    let mut flags = MountFlags::empty();
    if let Ok(stat) = rustix::fs::fstatvfs(fd) {
        for (have, keep) in [
            (S::NOSUID, MountFlags::NOSUID),
            (S::NODEV, MountFlags::NODEV),
            (S::RDONLY, MountFlags::RDONLY),
            (S::NOEXEC, MountFlags::NOEXEC),
        ] {
            if stat.f_flag.contains(have) {
                flags |= keep;
            }
        }
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_do_not_lead_outside() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = Root::open(dir.path()).expect("the root");
        std::os::unix::fs::symlink("/etc", dir.path().join("out")).expect("a link");
        std::os::unix::fs::symlink("../../..", dir.path().join("up")).expect("a link");
        assert!(root.find("out/passwd").is_err());
        drop(root.make_dir("up/made", 0o755).expect("a directory"));
        assert!(dir.path().join("made").is_dir());
        root.write_file("a/b", 0o644, b"text").expect("a file");
        assert_eq!(std::fs::read(dir.path().join("a/b")).expect("the file"), b"text");
        assert!(root.make_dir("x/../../y", 0o755).is_err());
    }
}
