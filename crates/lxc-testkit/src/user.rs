//! An ordinary user with subordinate ids, on a machine that knows nothing of it.
//!
//! Its commands see /etc and /run/lxc of a mount namespace of their own, in which files of the test say who the user is
//! and what it may. Nothing of the machine's is changed.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{Output, Running};
use crate::{Lxcpath, Suite, skip};

/// User and group id; none that a distribution gives out.
pub const UID: u32 = 52_417;
/// The first of the user's 65536 subordinate ids, of users and of groups.
pub const FIRST: u32 = 3_000_000;
/// Name of the user.
pub const LOGIN: &str = "lxtester";
/// A supplementary group of it.
pub const GROUP: &str = "lxtesters";

/// The user, with a directory of containers of its own.
#[derive(Debug)]
pub struct OrdinaryUser {
    /// The directory of containers, which belongs to the user.
    pub dir: Lxcpath,
}

impl Default for OrdinaryUser {
    fn default() -> OrdinaryUser {
        OrdinaryUser::new()
    }
}

impl OrdinaryUser {
    /// A user with nothing but subordinate ids. New containers map them, and have no network.
    pub fn new() -> OrdinaryUser {
        let dir = Lxcpath::new();
        for name in ["etc/lxc", "work", "run", "home/.config/lxc", "home/.cache/lxc/run"] {
            std::fs::create_dir_all(dir.join(name)).expect("make a directory of the user's");
        }
        let read = |name: &str| std::fs::read_to_string(Path::new("/etc").join(name)).unwrap_or_default();
        let home = dir.join("home").display().to_string();
        let write = |name: &str, text: String| {
            std::fs::write(dir.join(name), text).expect("write a file of the user's")
        };
        write("etc/passwd", read("passwd") + &format!("{LOGIN}:x:{UID}:{UID}::{home}:/bin/sh\n"));
        write("etc/group", read("group") + &format!("{LOGIN}:x:{UID}:\n{GROUP}:x:{}:{LOGIN}\n", UID + 1));
        for file in ["etc/subuid", "etc/subgid"] {
            write(file, format!("{LOGIN}:{FIRST}:65536\n"));
        }
        write("etc/lxc/lxc-usernet", String::new());
        let user = OrdinaryUser { dir };
        user.defaults("lxc.net.0.type = empty");
        let own = |path: &Path| chown(path, Some(UID), Some(UID)).expect("give a file to the user");
        for name in [
            "",
            "home",
            "home/.config",
            "home/.config/lxc",
            "home/.cache",
            "home/.cache/lxc",
            "home/.cache/lxc/run",
        ] {
            own(&user.dir.join(name));
        }
        std::fs::set_permissions(user.dir.join("home"), PermissionsExt::from_mode(0o700))
            .expect("set a mode");
        user
    }

    /// The configuration of new containers: the map, and more lines.
    pub fn defaults(&self, lines: &str) {
        let text = format!("lxc.idmap = u 0 {FIRST} 65536\nlxc.idmap = g 0 {FIRST} 65536\n{lines}\n");
        let path = self.dir.join("home/.config/lxc/default.conf");
        std::fs::write(path, text).expect("write default.conf");
    }

    /// Lets the user have network devices: lines of lxc-usernet(5).
    pub fn allow(&self, lines: &str) {
        std::fs::write(self.dir.join("etc/lxc/lxc-usernet"), lines).expect("write lxc-usernet");
    }

    /// The devices that the helper has written down.
    pub fn nics(&self) -> String {
        std::fs::read_to_string(self.dir.join("run/nics")).unwrap_or_default()
    }

    /// A shell of the user's, in which a suite's commands come first.
    pub fn shell(&self, suite: &Suite, script: &str) -> Command {
        let mut command =
            self.roots_shell(suite, "exec setpriv --reuid=\"$U\" --regid=\"$U\" --init-groups sh -c \"$1\"");
        command.arg(script);
        command
    }

    /// A shell of root's that sees what the user sees. `$U` is the user's number.
    pub fn roots_shell(&self, suite: &Suite, script: &str) -> Command {
        const PREPARE: &str =
            "mount -t overlay -o \"lowerdir=/etc,upperdir=$D/etc,workdir=$D/work\" overlay /etc
            mkdir -p /run/lxc && mount --bind \"$D/run\" /run/lxc && cd \"$D/home\"\n";
        let mut command = suite.command("lxc-start");
        let clean: Vec<_> =
            command.get_envs().map(|(k, v)| (k.to_owned(), v.map(ToOwned::to_owned))).collect();
        command = Command::new("unshare");
        command.args(["-m", "--propagation", "slave", "sh", "-ec", &format!("{PREPARE}{script}"), "sh"]);
        for (key, value) in clean {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        let mut path = vec![suite.path("lxc-start").parent().map(PathBuf::from).unwrap_or_default()];
        path.extend(find_mappers());
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        command
            .env("PATH", std::env::join_paths(path).expect("a PATH"))
            .env("D", self.dir.path())
            .env("U", UID.to_string())
            .env("P", self.dir.path())
            .env("HOME", self.dir.join("home"))
            .env("USER", LOGIN)
            .env_remove("XDG_RUNTIME_DIR")
            .env_remove("DBUS_SESSION_BUS_ADDRESS");
        command
    }

    /// Runs a script as the user. `$P` is the directory of containers.
    #[track_caller]
    pub fn sh(&self, suite: &Suite, script: &str) -> Output {
        Running::spawn(self.shell(suite, script)).wait()
    }

    /// Runs a command of a suite on a container: `lxc-X -P LXCPATH -n NAME ARGUMENTS…`.
    #[track_caller]
    pub fn run(&self, suite: &Suite, command: &str, name: &str, arguments: &str) -> Output {
        self.sh(suite, &format!("{command} -P \"$P\" -n {name} {arguments}"))
    }
}

/// The directory of newuidmap: installed, or unpacked by `cargo xtask test`.
pub(crate) fn find_mappers() -> Option<PathBuf> {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/uidmap/usr/bin");
    let installed = || skip::in_path("newuidmap")?.parent().map(PathBuf::from);
    if unpacked.join("newuidmap").is_file() { Some(unpacked) } else { installed() }
}
