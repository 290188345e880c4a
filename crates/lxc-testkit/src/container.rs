//! Containers made by hand: a configuration file and a root file system around one static busybox.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::{Lxcpath, skip};

const DIRECTORIES: &[&str] = &[
    "bin",
    "dev",
    "etc/init.d",
    "mnt",
    "proc",
    "root",
    "run",
    "sbin",
    "sys",
    "tmp",
    "usr/bin",
    "var/log",
    "var/run",
];

/// What the scripts of the tests use.
const APPLETS: &str = "sh ash awk basename cat chmod chown cp cut date dd df dirname echo env false find free getty \
    grep halt head hostname id ifconfig init ip kill killall ln ls md5sum mkdir mknod mount mv nproc pidof ping \
    poweroff printenv printf ps pwd readlink reboot rm rmdir route sed seq setsid sleep sort stat stty sync tail \
    tee test timeout touch tr true tty umount uname uniq usleep wc which whoami xargs yes";

const INITTAB: &str = "::sysinit:/etc/init.d/rcS\ntty1::respawn:/bin/getty -n -l /bin/sh 115200 tty1 vt100\n\
    console::askfirst:/bin/sh\n";

const QUICK: &str = "#!/bin/sh\ntrap 'exit 0' USR1 PWR\ntrap 'echo >>/run/reboots' TERM\n\
    while :; do sleep 1000 & wait $!; done\n";

/// Writes a container's files; finish with [`Builder::build`].
///
/// The container has its own UTS name, five terminals, a private `/dev`, no network but `lo`, and busybox's
/// init, which halts on SIGUSR1 and reboots on SIGTERM. That is what upstream's busybox template makes.
#[derive(Debug)]
pub struct Builder<'a> {
    lxcpath: &'a Lxcpath,
    name: String,
    rootfs: Option<PathBuf>,
    init: Option<String>,
    network: bool,
    extra: String,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(lxcpath: &'a Lxcpath, name: String) -> Builder<'a> {
        Builder { lxcpath, name, rootfs: None, init: None, network: true, extra: String::new() }
    }

    /// Appends a line to the configuration.
    pub fn line(mut self, line: impl AsRef<str>) -> Self {
        self.extra.push_str(line.as_ref());
        self.extra.push('\n');
        self
    }

    /// Takes a root file system that exists instead of making one.
    pub fn rootfs(mut self, path: impl Into<PathBuf>) -> Self {
        self.rootfs = Some(path.into());
        self
    }

    /// The command line of init (`lxc.init.cmd`), split at blanks.
    pub fn init(mut self, command: &str) -> Self {
        self.init = Some(command.into());
        self
    }

    /// An init that waits, and ends at once when it is asked to: busybox takes two seconds to halt. It counts
    /// SIGTERM, the signal for a reboot, in /run/reboots.
    pub fn quick(self) -> Self {
        self.init("/sbin/quick")
    }

    /// No `lxc.net` lines: a test that is about them writes its own.
    pub fn no_network_lines(mut self) -> Self {
        self.network = false;
        self
    }

    /// Writes the files and returns the name of the container.
    ///
    /// # Panics
    /// When a file cannot be written, or there is no static busybox.
    pub fn build(self) -> String {
        let directory = self.lxcpath.join(&self.name);
        let rootfs = self.rootfs.clone().unwrap_or_else(|| {
            let rootfs = directory.join("rootfs");
            busybox_rootfs(&rootfs);
            rootfs
        });
        std::fs::create_dir_all(&directory).expect("create the container's directory");
        std::fs::write(directory.join("config"), self.config(&rootfs)).expect("write the configuration");
        self.name
    }

    fn config(&self, rootfs: &Path) -> String {
        let mut text = format!(
            "lxc.rootfs.path = dir:{}\n\
             lxc.apparmor.profile = unconfined\n\
             lxc.signal.halt = SIGUSR1\n\
             lxc.signal.reboot = SIGTERM\n\
             lxc.tty.max = 5\n\
             lxc.pty.max = 1024\n\
             lxc.cap.drop = sys_module mac_admin mac_override sys_time\n\
             lxc.mount.auto = cgroup:mixed proc:mixed sys:mixed\n\
             lxc.mount.entry = shm dev/shm tmpfs defaults,create=dir 0 0\n",
            rootfs.display()
        );
        // A host name has a limit that a container's name has not.
        if self.name.len() <= 64 {
            text.push_str(&format!("lxc.uts.name = {}\n", self.name));
        }
        if self.network {
            text.push_str("lxc.net.0.type = empty\n");
        }
        if let Some(init) = &self.init {
            text.push_str(&format!("lxc.init.cmd = {init}\n"));
        }
        text + &self.extra
    }
}

/// Fills a directory with a busybox system.
///
/// # Panics
/// When a file cannot be written, or there is no static busybox.
pub fn busybox_rootfs(root: &Path) {
    let busybox = skip::in_path("busybox").expect("the tests need busybox (package busybox-static)");
    for directory in DIRECTORIES {
        std::fs::create_dir_all(root.join(directory)).expect("create a directory of the root file system");
    }
    std::fs::set_permissions(root.join("tmp"), PermissionsExt::from_mode(0o1777))
        .expect("set the mode of /tmp");
    std::fs::copy(busybox, root.join("bin/busybox")).expect("copy busybox");
    for applet in APPLETS.split_whitespace() {
        symlink("busybox", root.join("bin").join(applet)).expect("link an applet");
    }
    symlink("../bin/busybox", root.join("sbin/init")).expect("link /sbin/init");
    let write =
        |name: &str, text: &str| std::fs::write(root.join(name), text).expect("write a file of the system");
    write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp:/bin/sh\n");
    write("etc/group", "root:x:0:\nuser:x:1000:\n");
    write("etc/inittab", INITTAB);
    write("etc/init.d/rcS", "#!/bin/sh\n: >/run/booted\n");
    write("sbin/quick", QUICK);
    for script in ["etc/init.d/rcS", "sbin/quick"] {
        std::fs::set_permissions(root.join(script), PermissionsExt::from_mode(0o755)).expect("set a mode");
    }
}
