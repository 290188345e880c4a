//! Skipping: what a machine cannot do is recorded, never silently passed over.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::Suite;

/// Names the file that skipped tests are recorded in, one `TEST<TAB>REASON` per line.
pub const FILE_VARIABLE: &str = "LXC_TEST_SKIPS";

/// Returns from the test, with a record, unless the machine has what the test needs:
///
/// * `needs!(root)`: the test runs as root;
/// * `needs!(ours)`: our commands are installed (`cargo xtask test` does that);
/// * `needs!(peer)`: the distribution's LXC is installed;
/// * `needs!(program "name")`: a program is in `PATH`;
/// * `needs!(file "/path")`: a file or directory exists;
/// * `needs!(cgroup_v1)`: a hierarchy of that kind is mounted;
/// * `needs!(cgroup2 "memory")`: the host has cgroup v2 alone, with that controller; `needs!(cgroup2 "")` with
///   any;
/// * `needs!(userns)`: user namespaces may be made;
/// * `needs!(peer_copies)`: the peer's lxc-copy, which calls rsync(1), works on this host;
/// * `needs!(peer_maps)`: the peer may map ids in root's containers;
/// * `needs!(user "name")`: the machine has a user of that name, whom the guest has for tests;
/// * `needs!(ordinary_user)`: ids can be mapped for an [`OrdinaryUser`](crate::OrdinaryUser);
/// * `needs!(apparmor)`: AppArmor is enabled;
/// * `needs!(selinux)`: a machine to be thrown away whose kernel has SELinux and no policy yet, as a guest that is
///   booted with `lsm=selinux`;
/// * `needs!(file_system "btrfs")`: the kernel has it, and there is a program that makes it;
/// * `needs!(landlock)`: the kernel confines by Landlock;
/// * `needs!(machine "x86_64")`: the tests are built for that architecture;
/// * `needs!(device_mapper)`: the kernel has the device mapper;
/// * `needs!(processor)`: the processor is a real one: what takes a minute on it takes ten where it is emulated;
/// * `needs!(nbd)`: the kernel has network block devices;
/// * `needs!(device "macvlan")`: the kernel makes network devices that `ip link add … type` knows by this.
///
/// Several may be given, separated by commas.
#[macro_export]
macro_rules! needs {
    ($($kind:ident $($name:literal)?),+ $(,)?) => {
        $(if let Err(reason) = $crate::skip::$kind($($name)?) {
            fn here() {}
            $crate::skip::record(std::any::type_name_of_val(&here), &reason);
            return;
        })+
    };
}

type Reason = Result<(), String>;

/// See [`needs!`].
pub fn root() -> Reason {
    rustix::process::geteuid().is_root().then_some(()).ok_or("needs root".into())
}

/// See [`needs!`].
pub fn ours() -> Reason {
    Suite::find_ours().map(drop)
}

/// See [`needs!`].
pub fn peer() -> Reason {
    Suite::find_peer().map(drop)
}

/// See [`needs!`].
pub fn program(name: &str) -> Reason {
    in_path(name).map(drop).ok_or(format!("needs the program {name}"))
}

/// See [`needs!`].
pub fn device(kind: &str) -> Reason {
    // In a network namespace of its own, on top of another device where that is needed.
    let script = format!(
        "ip link add name a type veth peer name b && {{ ip link add link a name c type {kind} || ip link add name c type {kind}; }}"
    );
    let result = std::process::Command::new("unshare").args(["-n", "sh", "-c", &script]).output();
    let made = result.is_ok_and(|o| o.status.success());
    made.then_some(()).ok_or(format!("needs a kernel with network devices of type {kind}"))
}

/// See [`needs!`].
pub fn file_system(kind: &str) -> Reason {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let known = known.lines().any(|l| l.split_whitespace().last() == Some(kind));
    let loaded =
        known || std::process::Command::new("modprobe").arg(kind).status().is_ok_and(|s| s.success());
    let makes = kind == "tmpfs" || in_path(&format!("mkfs.{kind}")).is_some();
    (loaded && makes).then_some(()).ok_or(format!("needs file systems of type {kind}, and mkfs.{kind}"))
}

/// See [`needs!`].
pub fn selinux() -> Reason {
    let has = Path::new("/sys/fs/selinux/load").exists();
    let label = std::fs::read_to_string("/proc/self/attr/current").unwrap_or_default();
    let fresh = has && label.trim_end_matches(['\0', '\n']) == "kernel";
    fresh.then_some(()).ok_or("needs a guest with SELinux and no policy (--kernel lsm=selinux)".into())
}

/// See [`needs!`].
pub fn landlock() -> Reason {
    use landlock::{ABI, Access, AccessFs, Ruleset, RulesetAttr};
    let rules = Ruleset::default().handle_access(AccessFs::from_all(ABI::V1)).and_then(Ruleset::create);
    // A kernel without it makes no descriptor of it.
    let made = rules.ok().and_then(Option::<std::os::fd::OwnedFd>::from);
    made.map(drop).ok_or("needs a kernel with Landlock".into())
}

/// See [`needs!`].
pub fn machine(name: &str) -> Reason {
    (std::env::consts::ARCH == name).then_some(()).ok_or(format!("needs a machine of type {name}"))
}

/// See [`needs!`].
pub fn device_mapper() -> Reason {
    Path::new("/dev/mapper/control").exists().then_some(()).ok_or("needs the device mapper".into())
}

/// See [`needs!`].
pub fn processor() -> Reason {
    let emulated = crate::patience(std::time::Duration::from_secs(1)) > std::time::Duration::from_secs(1);
    if emulated { Err("needs a processor that is not emulated".into()) } else { Ok(()) }
}

/// See [`needs!`].
pub fn nbd() -> Reason {
    let load = || std::process::Command::new("modprobe").args(["nbd", "max_part=8"]).output();
    let there = || Path::new("/sys/block/nbd0").exists();
    (there() || (load().is_ok() && there())).then_some(()).ok_or("needs network block devices".into())
}

/// See [`needs!`]. The kernel need not have both kinds.
pub fn iptables(program: &str) -> Reason {
    let listed = std::process::Command::new("unshare").args(["-n", program, "-S"]).output();
    listed
        .is_ok_and(|o| o.status.success())
        .then_some(())
        .ok_or(format!("needs a host on which {program} works"))
}

/// See [`needs!`]. One that is simulated: a real one belongs to somebody.
pub fn radio() -> Reason {
    let driver = std::fs::read_link("/sys/class/net/wlan0/device/driver").unwrap_or_default();
    driver.ends_with("mac80211_hwsim").then_some(()).ok_or("needs a radio of mac80211_hwsim, wlan0".into())
}

/// See [`needs!`].
pub fn file(path: &str) -> Reason {
    Path::new(path).exists().then_some(()).ok_or(format!("needs {path}"))
}

/// See [`needs!`].
pub fn cgroup_v1() -> Reason {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let found = mounts.lines().any(|l| l.split(' ').nth(2) == Some("cgroup"));
    found.then_some(()).ok_or("needs cgroup v1 hierarchies".into())
}

/// See [`needs!`].
pub fn cgroup2(controller: &str) -> Reason {
    let found = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers");
    let Ok(found) = found else { return Err("needs a host with cgroup v2 alone".into()) };
    let has = controller.is_empty() || found.split_whitespace().any(|c| c == controller);
    has.then_some(()).ok_or(format!("needs the controller {controller} of cgroup v2"))
}

/// See [`needs!`].
pub fn userns() -> Reason {
    let most = std::fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    (most.trim().parse::<u64>().unwrap_or(0) > 0).then_some(()).ok_or("needs user namespaces".into())
}

/// See [`needs!`].
pub fn peer_copies() -> Reason {
    let peer = Suite::find_peer()?;
    let dir = crate::Lxcpath::new();
    let (source, copy) = (dir.name("probe"), dir.name("copy"));
    let root = dir.join(&source).join("rootfs");
    let made = std::fs::create_dir_all(&root).and_then(|()| {
        std::fs::write(
            dir.join(&source).join("config"),
            format!("lxc.rootfs.path = dir:{}\n", root.display()),
        )
    });
    made.map_err(|e| e.to_string())?;
    let copied = dir.run(&peer, "lxc-copy", &source, &["-N", &copy]).code == 0;
    copied.then_some(()).ok_or("needs a peer whose lxc-copy works here".into())
}

/// See [`needs!`]. The peer asks newuidmap(1) for root's containers as well, where it is installed.
pub fn peer_maps() -> Reason {
    let given = std::fs::read_to_string("/etc/subuid").unwrap_or_default();
    let may = in_path("newuidmap").is_none() || given.lines().any(|l| l.starts_with("root:100000:"));
    may.then_some(()).ok_or("needs subordinate ids of root, from 100000, for newuidmap is installed".into())
}

/// See [`needs!`].
pub fn user(name: &str) -> Reason {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = users.lines().any(|l| l.split(':').next() == Some(name));
    found.then_some(()).ok_or(format!("needs the user {name}"))
}

/// See [`needs!`].
pub fn ordinary_user() -> Reason {
    crate::user::find_mappers().map(drop).ok_or("needs newuidmap (package uidmap)".into())
}

/// See [`needs!`].
pub fn apparmor() -> Reason {
    let enabled = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
    enabled.starts_with('Y').then_some(()).ok_or("needs a host with AppArmor".into())
}

/// Where in `PATH` a program is.
pub fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .chain([Path::new("/usr/sbin").into()])
        .map(|d| d.join(name))
        .find(|p| p.is_file())
}

/// Writes down that a test did not run. `here` is the type name of a function inside it.
pub fn record(here: &str, reason: &str) {
    let test = here.strip_suffix("::here").unwrap_or(here);
    let Some(file) = std::env::var_os(FILE_VARIABLE) else { return };
    let file = std::fs::OpenOptions::new().append(true).create(true).open(file);
    // One write: lines of tests that run at the same time do not mix.
    let written = file.and_then(|mut f| f.write_all(format!("{test}\t{reason}\n").as_bytes()));
    written.unwrap_or_else(|e| panic!("record the skip of {test}: {e}"));
}
