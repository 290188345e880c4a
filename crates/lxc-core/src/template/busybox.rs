//! A small system around one static busybox.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Request;
use crate::error::{Doing, Error, Result};
use crate::rootfs::Root;

/// Options of this template.
pub const HELP: &str = "Template options of busybox:
  --busybox-path=FILE  the busybox to use (default: the one in PATH)
";

const DIRECTORIES: &[&str] = &[
    "bin",
    "dev",
    "dev/pts",
    "etc",
    "etc/init.d",
    "home",
    "lib",
    "lib64",
    "mnt",
    "proc",
    "root",
    "sbin",
    "selinux",
    "sys",
    "usr/bin",
    "usr/lib",
    "usr/lib64",
    "usr/sbin",
    "usr/share/udhcpc",
    "var/log",
    "var/run",
];

const FILES: &[(&str, u32, &str)] = &[
    ("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\n"),
    ("etc/group", 0o644, "root:x:0:root\n"),
    ("etc/shadow", 0o640, "root::::::::\n"),
    ("etc/fstab", 0o644, ""),
    ("etc/init.d/rcS", 0o744, "#!/bin/sh\n/bin/syslogd\n/bin/mount -a\n/bin/udhcpc -b -q 2>/dev/null\n"),
    (
        "etc/inittab",
        0o644,
        "::sysinit:/etc/init.d/rcS\ntty1::respawn:/bin/getty -L tty1 115200 vt100\nconsole::askfirst:/bin/sh\n",
    ),
    (
        "usr/share/udhcpc/default.script",
        0o744,
        "#!/bin/sh
case \"$1\" in
deconfig)
\tip addr flush dev $interface
\t;;
bound|renew)
\tip addr flush dev $interface
\tip addr add $ip/$mask broadcast ${broadcast:-+} dev $interface
\tip link set up dev $interface
\tfor gateway in $router; do
\t\tip route replace default via $gateway dev $interface
\tdone
\t{ [ -z \"$domain\" ] || echo \"search $domain\"; for server in $dns; do echo \"nameserver $server\"; done; } >/etc/resolv.conf
\t;;
esac
exit 0
",
    ),
];

/// Directories of the host whose libraries programs of the container may use.
const LIBRARIES: [&str; 4] = ["lib", "usr/lib", "lib64", "usr/lib64"];

/// Fills the root file system; returns configuration lines.
pub fn run(request: &Request<'_>) -> Result<String> {
    let (busybox, program) = find(request.arguments)?;
    // The directory may have been a container's before, with links in it.
    let root = Root::open(request.rootfs)?;
    for dir in DIRECTORIES {
        root.make_dir(dir, 0o755)?;
    }
    root.make_dir("tmp", 0o1777)?;
    root.set_mode("tmp", 0o1777)?;
    for (name, mode, text) in FILES {
        root.write_file(name, *mode, text.as_bytes())?;
        root.set_mode(name, *mode)?;
    }
    root.write_file("bin/busybox", 0o755, &program)?;
    root.set_mode("bin/busybox", 0o755)?;
    for applet in applets(&busybox)? {
        root.symlink("busybox", Path::new("bin").join(applet))?;
    }
    // A hard link: programs that look at their own file find busybox itself.
    root.hard_link("bin/busybox", "sbin/init")?;
    Ok(config(request.name, request.rootfs))
}

/// The busybox to use, and what is in it: it must need no library.
fn find(arguments: &[String]) -> Result<(PathBuf, Vec<u8>)> {
    let mut given = None;
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        given = Some(match word.strip_prefix("--busybox-path=") {
            Some(path) => path.to_string(),
            None if word == "--busybox-path" => words.next().cloned().unwrap_or_default(),
            None => {
                return Err(
                    Error::invalid(format!("template busybox: unknown option {word}")).with_hint(HELP)
                );
            }
        });
    }
    let path = match given {
        Some(path) => PathBuf::from(path),
        None => in_path("busybox").ok_or_else(|| {
            Error::invalid("template busybox: there is no busybox in PATH")
                .with_hint("install busybox-static, or name one with --busybox-path=FILE")
        })?,
    };
    let bytes = std::fs::read(&path).doing(|| format!("template busybox: read {}", path.display()))?;
    if !is_static(&bytes) {
        return Err(Error::invalid(format!("template busybox: {} is not a static program", path.display()))
            .with_hint("install busybox-static"));
    }
    Ok((path, bytes))
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut all = std::env::split_paths(&path).chain(["/bin".into(), "/usr/bin".into(), "/sbin".into()]);
    all.find_map(|d| {
        let p = d.join(program);
        rustix::fs::access(&p, rustix::fs::Access::EXEC_OK).is_ok().then_some(p)
    })
}

/// An ELF file without a program interpreter (elf(5), PT_INTERP).
fn is_static(elf: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    if elf.len() < 64 || &elf[..4] != b"\x7fELF" || elf[5] != 1 {
        return false;
    }
    let number = |at: usize, size: usize| -> u64 {
        elf.get(at..at + size).map_or(0, |b| b.iter().rev().fold(0, |n, &x| n << 8 | u64::from(x)))
    };
    let is_64 = elf[4] == 2;
    let (offset, size, count) = if is_64 {
        (number(32, 8), number(54, 2), number(56, 2))
    } else {
        (number(28, 4), number(42, 2), number(44, 2))
    };
    (0..count).all(|i| {
        let at = usize::try_from(offset + i * size).unwrap_or(usize::MAX - 8);
        number(at, 4) as u32 != PT_INTERP
    })
}

fn applets(busybox: &Path) -> Result<Vec<String>> {
    let what = || format!("run {} --list", busybox.display());
    let output = Command::new(busybox).arg("--list").output().doing(what)?;
    let names: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|l| !l.contains('/'))
        .map(str::to_string)
        .collect();
    if names.is_empty() {
        return Err(Error::invalid(format!("{}: it has no applets", what())));
    }
    Ok(names)
}

fn config(name: &str, root: &Path) -> String {
    let mut text = format!(
        "lxc.signal.halt = SIGUSR1
lxc.signal.reboot = SIGTERM
lxc.uts.name = {name}
lxc.autodev = 1
lxc.tty.max = 5
lxc.pty.max = 1
lxc.cap.drop = sys_module mac_admin mac_override sys_time

lxc.mount.auto = cgroup:mixed proc:mixed sys:ro
lxc.mount.entry = shm dev/shm tmpfs defaults,create=dir 0 0
lxc.mount.entry = mqueue dev/mqueue mqueue defaults,optional,create=dir 0 0
"
    );
    for dir in LIBRARIES {
        if Path::new("/").join(dir).is_dir() && root.join(dir).is_dir() {
            text.push_str(&format!("lxc.mount.entry = /{dir} {dir} none ro,bind 0 0\n"));
        }
    }
    text.push_str("lxc.mount.entry = /sys/kernel/security sys/kernel/security none ro,bind,optional 0 0\n");
    text
}
