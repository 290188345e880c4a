//! /dev: a tmpfs with the usual nodes, pseudo-terminals, console and ttys.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lxc_sys::Errno;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::mount::{MountAttrFlags, MountFlags, UnmountFlags};

use crate::error::{Doing, Error, Result};
use crate::files::fd_path;
use crate::rootfs::{self, Root, mount_on};
use crate::terminal::pty::Pty;

/// Nodes of a new /dev: name, major, minor.
const NODES: [(&str, u32, u32); 6] =
    [("full", 1, 7), ("null", 1, 3), ("random", 1, 8), ("tty", 5, 0), ("urandom", 1, 9), ("zero", 1, 5)];

/// Default size of the tmpfs in bytes.
const DEFAULT_SIZE: i32 = 500_000;

/// Mounts the tmpfs. Mount entries may then add to it.
pub fn mount_tmpfs(root: &Root, size: Option<i32>) -> Result<()> {
    drop(root.make_dir("dev", 0o755)?);
    let data = format!("mode=0755,size={}", size.filter(|&s| s > 0).unwrap_or(DEFAULT_SIZE));
    root.mount("none", "dev", "tmpfs", MountFlags::empty(), &data)?;
    root.make_dir("dev/pts", 0o755).map(drop)
}

/// Makes the nodes. Where the kernel refuses (in a user namespace), the host's are bound.
pub fn make_nodes(root: &Root) -> Result<()> {
    let dev = root.below("dev")?;
    // One tells for all: it is the file system or the user namespace that forbids them.
    let mut usable = None;
    for (name, major, minor) in NODES {
        let mode = Mode::from_raw_mode(0o666);
        let number = rustix::fs::makedev(major, minor);
        let made = rustix::fs::mknodat(dev.fd(), name, FileType::CharacterDevice, mode, number);
        let usable = match made {
            Ok(()) | Err(Errno::EXIST) => *usable.get_or_insert_with(|| can_open(dev.fd(), name)),
            Err(Errno::PERM) => false,
            Err(e) => return Err(Error::os(format!("create /dev/{name}"), e)),
        };
        if !usable {
            if made.is_ok() {
                rustix::fs::unlinkat(dev.fd(), name, AtFlags::empty())
                    .doing(|| format!("remove /dev/{name}"))?;
            }
            let target = dev.make_file(name, 0)?;
            let path = format!("/dev/{name}");
            mount_on(&path, target.as_fd(), "", MountFlags::BIND, "")
                .doing(|| format!("bind the host's {path}"))?;
        }
    }
    Ok(())
}

/// Whether device nodes work here.
fn can_open(dev: BorrowedFd<'_>, name: &str) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat(dev, name, flags, Mode::empty()).is_ok()
}

/// Mounts an instance of devpts of the container's own below its /dev and returns its root.
pub fn mount_devpts(dev: &Root, max: u32) -> Result<OwnedFd> {
    let target = dev.make_dir("pts", 0o755)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = |group: &str| {
        let data = format!("newinstance,ptmxmode=0666,mode=0620,{group}max={max}");
        rootfs::mount_new("devpts", &data, attributes, target.as_fd())
    };
    let mounted = match mount("gid=5,") {
        // Group 5 is not mapped into the container's user namespace.
        Err(Errno::INVAL) => mount(""),
        mounted => mounted,
    };
    let mounted = mounted.doing(|| format!("mount devpts on {}/pts", dev.path().display()))?;
    // Others open terminals from it.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let devpts =
        rustix::fs::openat(&mounted, ".", flags, Mode::empty()).doing(|| "open the container's devpts")?;
    // /dev/ptmx of the image, whatever it is, gives way to the instance's own.
    match rustix::fs::unlinkat(dev.fd(), "ptmx", AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        // A mount on it stays below the new one.
        Err(e) => log::debug!("remove /dev/ptmx: {e}"),
    }
    let target = dev.make_file("ptmx", 0)?;
    let ptmx = rustix::fs::openat2(
        &devpts,
        "ptmx",
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
    )
    .doing(|| "open ptmx of the container's devpts")?;
    bind(ptmx.as_fd(), target.as_fd()).doing(|| "bind /dev/ptmx")?;
    Ok(devpts)
}

fn bind(what: BorrowedFd<'_>, on: BorrowedFd<'_>) -> lxc_sys::Result<()> {
    mount_on(&fd_path(what), on, "", MountFlags::BIND, "")
}

/// A terminal of the host's as it can be bound here: by its path, verified to be the same device.
fn open_hosts(pty: &Pty) -> Result<OwnedFd> {
    let path = format!("/dev/pts/{}", pty.number()?);
    let what = || format!("open {path}");
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::open(&*path, flags, Mode::empty()).doing(what)?;
    let (a, b) = (rustix::fs::fstat(&fd).doing(what)?, rustix::fs::fstat(&pty.pty).doing(what)?);
    if (a.st_rdev, a.st_ino, a.st_dev) != (b.st_rdev, b.st_ino, b.st_dev) {
        return Err(Error::invalid(format!("{path} is not the terminal that was opened")));
    }
    Ok(fd)
}

fn bind_terminal(dev: &Root, pty: &Pty, from_host: bool, path: &str) -> Result<()> {
    let target = dev.make_file(path, 0)?;
    let held = if from_host {
        set_mode(pty)?;
        Some(open_hosts(pty)?)
    } else {
        None
    };
    let terminal = held.as_ref().unwrap_or(&pty.pty);
    bind(terminal.as_fd(), target.as_fd()).doing(|| format!("bind a terminal on /dev/{path}"))
}

/// Shows the console at /dev/console, and in `tty_dir` where one is configured.
pub fn bind_console(dev: &Root, pty: &Pty, from_host: bool, tty_dir: Option<&str>) -> Result<()> {
    // Consoles that were mounted there earlier, one upon the other.
    while let Ok(target) = dev.find("console") {
        if rustix::mount::unmount(&*fd_path(target.as_fd()), UnmountFlags::DETACH).is_err() {
            break;
        }
    }
    if let Some(dir) = tty_dir {
        bind_terminal(dev, pty, from_host, &format!("{dir}/console"))?;
    }
    bind_terminal(dev, pty, from_host, "console")
}

/// Shows terminal `number` at /dev/ttyN, or in `tty_dir` with a link to it.
pub fn bind_tty(dev: &Root, pty: &Pty, from_host: bool, number: usize, tty_dir: Option<&str>) -> Result<()> {
    let name = format!("tty{number}");
    match tty_dir {
        Some(dir) => {
            bind_terminal(dev, pty, from_host, &format!("{dir}/{name}"))?;
            // A node of the image gives way to the link.
            let _ = rustix::fs::unlinkat(dev.fd(), &*name, AtFlags::empty());
            dev.symlink(&format!("{dir}/{name}"), name)
        }
        None => bind_terminal(dev, pty, from_host, &name),
    }
}

/// Those of the container's own devpts have it by a mount option.
fn set_mode(pty: &Pty) -> Result<()> {
    match rustix::fs::fchmod(&pty.pty, Mode::from_raw_mode(0o620)) {
        // A terminal of the host's, seen from a user namespace.
        Ok(()) | Err(Errno::PERM) => Ok(()),
        Err(e) => Err(Error::os("set the mode of a terminal", e)),
    }
}

/// The links that programs expect in /dev.
pub fn make_links(dev: &Root) -> Result<()> {
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        match dev.symlink(target, name) {
            // A /dev of the image's own may be read-only.
            Err(e) if e.errno() == Some(Errno::ROFS) => log::info!("{e}"),
            result => result?,
        }
    }
    Ok(())
}

/// Gives the container a boot id of its own, with /dev and /proc in place: best effort.
pub fn fake_boot_id(root: &Root) -> Result<()> {
    const TARGET: &str = "proc/sys/kernel/random/boot_id";
    const FILE: &str = ".lxc-boot-id";
    let mut bytes = [0u8; 16];
    rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())
        .doing(|| "read random bytes")?;
    // RFC 9562: version 4, variant 10.
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let id = format!("{}-{}-{}-{}-{}\n", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(root.below("dev")?.fd(), FILE, flags, Mode::from_raw_mode(0o444))
        .doing(|| format!("create dev/{FILE}"))?;
    rustix::io::write(&file, id.as_bytes()).doing(|| format!("write dev/{FILE}"))?;
    let target = root.find(TARGET).doing(|| format!("find {TARGET}"))?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rootfs::bind(file.as_fd(), target.as_fd(), Some(flags))
        .doing(|| format!("bind dev/{FILE} read-only on {TARGET}"))
        .map(drop)
}
