//! What a configuration says, typed: one field per key, filled by the key table.
//!
//! Nothing here knows the host and nothing of a running container is kept here.

use std::collections::BTreeMap;
use std::path::PathBuf;

mod network;
pub use network::*;

/// Values of all keys of one container. `Values::default()` is what an empty file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Values {
    /// `lxc.arch`.
    pub arch: Option<Arch>,
    /// `lxc.apparmor.*`.
    pub apparmor: AppArmor,
    /// `lxc.autodev`; on unless switched off.
    pub autodev: bool,
    /// `lxc.autodev.tmpfs.size` in bytes; `None` when never set.
    pub autodev_tmpfs_size: Option<i32>,
    /// `lxc.cap.drop` and `lxc.cap.keep`, which share one list.
    pub caps: Caps,
    /// `lxc.cgroup.dir*` and `lxc.cgroup.relative`.
    pub cgroup: CgroupLayout,
    /// `lxc.cgroup.<file>`: limits of cgroup v1 hierarchies, in the order written.
    pub cgroup1_items: Vec<(String, String)>,
    /// `lxc.cgroup2.<file>`: limits of the unified hierarchy, in the order written.
    pub cgroup2_items: Vec<(String, String)>,
    /// `lxc.console.*`.
    pub console: Console,
    /// `lxc.sched.core`.
    pub sched_core: bool,
    /// `lxc.environment`, each `NAME=VALUE`.
    pub environment: Vec<String>,
    /// `lxc.environment.runtime`.
    pub environment_runtime: Vec<String>,
    /// `lxc.environment.hooks`.
    pub environment_hooks: Vec<String>,
    /// `lxc.ephemeral`.
    pub ephemeral: bool,
    /// `lxc.execute.cmd`.
    pub execute_cmd: Option<String>,
    /// `lxc.group`.
    pub groups: Vec<String>,
    /// `lxc.hook.<type>`: command lines in the order written.
    pub hooks: BTreeMap<HookType, Vec<String>>,
    /// `lxc.hook.version`: 0 or 1.
    pub hook_version: u32,
    /// `lxc.idmap`.
    pub idmap: Vec<IdMap>,
    /// `lxc.init.*`.
    pub init: Init,
    /// `lxc.keyring.session`: true keeps the caller's session keyring.
    pub keyring_session: bool,
    /// `lxc.log.*`.
    pub log: Log,
    /// `lxc.monitor.unshare`.
    pub monitor_unshare: bool,
    /// `lxc.monitor.signal.pdeath`; `None` when never set (SIGKILL), `Some(0)` for none.
    pub monitor_signal_pdeath: Option<i32>,
    /// `lxc.mount.auto`.
    pub mount_auto: MountAuto,
    /// `lxc.mount.entry`: lines of fstab(5).
    pub mount_entries: Vec<String>,
    /// `lxc.mount.fstab`.
    pub mount_fstab: Option<PathBuf>,
    /// `lxc.namespace.*`.
    pub namespace: NamespaceKeys,
    /// `lxc.time.offset.*`.
    pub time_offset: TimeOffsets,
    /// `lxc.net.<n>.*` by index.
    pub networks: BTreeMap<u32, Network>,
    /// `lxc.no_new_privs`.
    pub no_new_privs: bool,
    /// `lxc.prlimit.<resource>`.
    pub prlimits: Vec<(String, Limit)>,
    /// `lxc.proc.<file>`: name with dots, value.
    pub procs: Vec<(String, String)>,
    /// `lxc.pty.max`.
    pub pty_max: u32,
    /// `lxc.rootfs.*`.
    pub rootfs: Rootfs,
    /// `lxc.seccomp.*`.
    pub seccomp: Seccomp,
    /// `lxc.selinux.context`.
    pub selinux_context: Option<String>,
    /// `lxc.selinux.context.keyring`.
    pub selinux_keyring: Option<String>,
    /// `lxc.signal.*`; 0 means the built-in default.
    pub signals: Signals,
    /// `lxc.start.*`.
    pub start: Start,
    /// `lxc.sysctl.<name>`: name with dots, value.
    pub sysctls: Vec<(String, String)>,
    /// `lxc.tty.dir`, below /dev.
    pub tty_dir: Option<String>,
    /// `lxc.tty.max`.
    pub tty_max: u32,
    /// `lxc.uts.name`.
    pub uts_name: Option<String>,
}

impl Default for Values {
    fn default() -> Self {
        Values {
            arch: None,
            apparmor: AppArmor::default(),
            autodev: true,
            autodev_tmpfs_size: None,
            caps: Caps::default(),
            cgroup: CgroupLayout::default(),
            cgroup1_items: Vec::new(),
            cgroup2_items: Vec::new(),
            console: Console::default(),
            sched_core: false,
            environment: Vec::new(),
            environment_runtime: Vec::new(),
            environment_hooks: Vec::new(),
            ephemeral: false,
            execute_cmd: None,
            groups: Vec::new(),
            hooks: BTreeMap::new(),
            hook_version: 0,
            idmap: Vec::new(),
            init: Init::default(),
            keyring_session: false,
            log: Log::default(),
            monitor_unshare: false,
            monitor_signal_pdeath: None,
            mount_auto: MountAuto::default(),
            mount_entries: Vec::new(),
            mount_fstab: None,
            namespace: NamespaceKeys::default(),
            time_offset: TimeOffsets::default(),
            networks: BTreeMap::new(),
            no_new_privs: false,
            prlimits: Vec::new(),
            procs: Vec::new(),
            pty_max: 0,
            rootfs: Rootfs::default(),
            seccomp: Seccomp::default(),
            selinux_context: None,
            selinux_keyring: None,
            signals: Signals::default(),
            start: Start::default(),
            sysctls: Vec::new(),
            tty_dir: None,
            tty_max: 0,
            uts_name: None,
        }
    }
}

/// A name of `lxc.arch` and the personality that it selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arch {
    /// The name as written.
    pub name: &'static str,
    /// True for a 32-bit personality (PER_LINUX32), false for PER_LINUX.
    pub is_32bit: bool,
}

/// `lxc.apparmor.*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppArmor {
    /// Profile name, or `unconfined`, `unchanged`, `generated`.
    pub profile: Option<String>,
    /// Start although the kernel lacks mount mediation.
    pub allow_incomplete: bool,
    /// Rules for nested containers in the generated profile.
    pub allow_nesting: bool,
    /// Lines appended to the generated profile.
    pub raw: Vec<String>,
}

/// Which capabilities init's bounding set ends with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Caps {
    /// Nothing was said: nothing is dropped.
    #[default]
    Unset,
    /// `lxc.cap.drop`.
    Drop(Vec<CapWord>),
    /// `lxc.cap.keep`; empty keeps none.
    Keep(Vec<CapWord>),
}

/// A capability as written and its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapWord {
    /// The word of the file, e.g. `sys_admin` or `21`.
    pub word: String,
    /// Its number in linux/capability.h.
    pub number: u32,
}

/// Where the container's cgroups are placed, relative to the base cgroup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CgroupLayout {
    /// `lxc.cgroup.dir`.
    pub dir: Option<String>,
    /// `lxc.cgroup.dir.monitor`.
    pub dir_monitor: Option<String>,
    /// `lxc.cgroup.dir.monitor.pivot`.
    pub dir_monitor_pivot: Option<String>,
    /// `lxc.cgroup.dir.container`.
    pub dir_container: Option<String>,
    /// `lxc.cgroup.dir.container.inner`.
    pub dir_container_inner: Option<String>,
    /// `lxc.cgroup.relative`.
    pub relative: bool,
}

/// `lxc.console.*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Console {
    /// Size of the ring buffer in bytes, a power of two; 0 for none.
    pub buffer_size: u64,
    /// File that receives what is written to the console.
    pub logfile: Option<PathBuf>,
    /// Terminal to which the console is connected; `none` for no console.
    pub path: Option<PathBuf>,
    /// Keep one old log file.
    pub rotate: bool,
    /// Limit of the log file in bytes; 0 for none.
    pub size: u64,
}

/// Types of `lxc.hook.<type>`, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookType {
    /// Monitor, before anything is prepared.
    PreStart,
    /// Child, before the root file system is mounted.
    PreMount,
    /// Child, after the mounts.
    Mount,
    /// Child, before /dev is populated.
    Autodev,
    /// Monitor, when the child is set up.
    StartHost,
    /// Child, inside the container.
    Start,
    /// Monitor, after init died.
    Stop,
    /// Monitor, last of all.
    PostStop,
    /// The process that copies a container.
    Clone,
    /// The process that destroys a container.
    Destroy,
}

impl HookType {
    /// All types.
    pub const ALL: [HookType; 10] = [
        HookType::PreStart,
        HookType::PreMount,
        HookType::Mount,
        HookType::Autodev,
        HookType::StartHost,
        HookType::Start,
        HookType::Stop,
        HookType::PostStop,
        HookType::Clone,
        HookType::Destroy,
    ];

    /// The last part of the key, and `LXC_HOOK_TYPE`.
    pub fn name(self) -> &'static str {
        match self {
            HookType::PreStart => "pre-start",
            HookType::PreMount => "pre-mount",
            HookType::Mount => "mount",
            HookType::Autodev => "autodev",
            HookType::StartHost => "start-host",
            HookType::Start => "start",
            HookType::Stop => "stop",
            HookType::PostStop => "post-stop",
            HookType::Clone => "clone",
            HookType::Destroy => "destroy",
        }
    }
}

/// Which kind of id a map line maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdKind {
    /// `u`
    Uid,
    /// `g`
    Gid,
}

/// One line of `lxc.idmap`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMap {
    /// Users or groups.
    pub kind: IdKind,
    /// First id inside the container.
    pub ns_id: u64,
    /// First id on the host.
    pub host_id: u64,
    /// Number of ids.
    pub count: u64,
}

/// `lxc.init.*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Init {
    /// `lxc.init.cmd`.
    pub cmd: Option<String>,
    /// `lxc.init.uid`.
    pub uid: u32,
    /// `lxc.init.gid`.
    pub gid: u32,
    /// `lxc.init.groups`.
    pub groups: Vec<u32>,
    /// `lxc.init.cwd`.
    pub cwd: Option<PathBuf>,
}

/// `lxc.log.*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// Log file.
    pub file: Option<PathBuf>,
    /// Threshold; `None` is NOTSET.
    pub level: Option<LogLevel>,
    /// Syslog facility as written.
    pub syslog: Option<String>,
}

/// Log levels, low to high, numbered as in the file (0 to 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum LogLevel {
    /// 0
    Trace,
    /// 1
    Debug,
    /// 2
    Info,
    /// 3
    Notice,
    /// 4
    Warn,
    /// 5
    Error,
    /// 6
    Crit,
    /// 7
    Alert,
    /// 8
    Fatal,
}

/// `lxc.mount.auto`, one choice per class.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountAuto {
    /// /proc.
    pub proc: Option<ProcMount>,
    /// /sys.
    pub sys: Option<SysMount>,
    /// /sys/fs/cgroup.
    pub cgroup: Option<CgroupMount>,
    /// Shared directory for mount injection: host path, container path.
    pub shmounts: Option<(PathBuf, PathBuf)>,
}

/// Variants of `proc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcMount {
    /// /proc/sys and sysrq-trigger read-only.
    Mixed,
    /// Writable.
    Rw,
}

/// Variants of `sys`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SysMount {
    /// Read-only but for devices/virtual/net.
    Mixed,
    /// Read-only.
    Ro,
    /// Writable.
    Rw,
}

/// Variants of `cgroup`, `cgroup-full` and `cgroup2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CgroupMount {
    /// Which hierarchies and how much of them.
    pub kind: CgroupMountKind,
    /// Access; `None` depends on CAP_SYS_ADMIN.
    pub access: Option<CgroupAccess>,
    /// Mount even where init could do it itself.
    pub force: bool,
}

/// The word before the first colon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupMountKind {
    /// `cgroup`: the container's own part.
    Own,
    /// `cgroup-full`: the whole hierarchy.
    Full,
    /// `cgroup2`: the unified hierarchy.
    Unified,
}

/// The word after the first colon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupAccess {
    /// Own part writable, the rest read-only.
    Mixed,
    /// Read-only.
    Ro,
    /// Writable.
    Rw,
}

/// Namespaces in the order in which they are handled everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamespaceKind {
    /// user_namespaces(7)
    User,
    /// mount_namespaces(7)
    Mnt,
    /// pid_namespaces(7)
    Pid,
    /// uts_namespaces(7)
    Uts,
    /// ipc_namespaces(7)
    Ipc,
    /// network_namespaces(7)
    Net,
    /// cgroup_namespaces(7)
    Cgroup,
    /// time_namespaces(7)
    Time,
}

impl NamespaceKind {
    /// All, in order.
    pub const ALL: [NamespaceKind; 8] = [
        NamespaceKind::User,
        NamespaceKind::Mnt,
        NamespaceKind::Pid,
        NamespaceKind::Uts,
        NamespaceKind::Ipc,
        NamespaceKind::Net,
        NamespaceKind::Cgroup,
        NamespaceKind::Time,
    ];

    /// Name of the file in /proc/PID/ns.
    pub fn name(self) -> &'static str {
        match self {
            NamespaceKind::User => "user",
            NamespaceKind::Mnt => "mnt",
            NamespaceKind::Pid => "pid",
            NamespaceKind::Uts => "uts",
            NamespaceKind::Ipc => "ipc",
            NamespaceKind::Net => "net",
            NamespaceKind::Cgroup => "cgroup",
            NamespaceKind::Time => "time",
        }
    }
}

/// `lxc.namespace.*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamespaceKeys {
    /// `lxc.namespace.clone`; empty when unset.
    pub clone: Vec<NamespaceKind>,
    /// `lxc.namespace.keep`; empty when unset.
    pub keep: Vec<NamespaceKind>,
    /// `lxc.namespace.share.<ns>`: pid, path or container name.
    pub share: BTreeMap<NamespaceKind, String>,
}

/// `lxc.time.offset.*` in nanoseconds, as the unit was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimeOffsets {
    /// CLOCK_BOOTTIME: (seconds, nanoseconds).
    pub boot: (i64, i64),
    /// CLOCK_MONOTONIC: (seconds, nanoseconds).
    pub monotonic: (i64, i64),
}

impl TimeOffsets {
    /// Whether any offset is different from zero.
    pub fn any(&self) -> bool {
        *self != TimeOffsets::default()
    }
}

/// `lxc.prlimit.<resource>`; `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Soft limit.
    pub soft: Option<u64>,
    /// Hard limit.
    pub hard: Option<u64>,
}

/// `lxc.rootfs.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rootfs {
    /// The type before the first colon of the path.
    pub kind: Option<String>,
    /// The path without type.
    pub path: Option<String>,
    /// Where it is mounted; `None` is the built-in default.
    pub mount: Option<PathBuf>,
    /// Mount options as written.
    pub options: Option<String>,
    /// Create and destroy may touch the storage.
    pub managed: bool,
}

impl Default for Rootfs {
    fn default() -> Self {
        Rootfs { kind: None, path: None, mount: None, options: None, managed: true }
    }
}

/// `lxc.seccomp.*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seccomp {
    /// Policy file.
    pub profile: Option<PathBuf>,
    /// Load even if already confined.
    pub allow_nesting: bool,
    /// Sent to the proxy.
    pub notify_cookie: Option<String>,
    /// Address of the proxy as written, e.g. `unix:/run/proxy`.
    pub notify_proxy: Option<String>,
}

/// `lxc.signal.*`; 0 where nothing was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Signals {
    /// Clean shutdown.
    pub halt: i32,
    /// Reboot.
    pub reboot: i32,
    /// Kill.
    pub stop: i32,
}

/// `lxc.start.*`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Start {
    /// Started by lxc-autostart.
    pub auto: bool,
    /// Seconds to wait afterwards.
    pub delay: u32,
    /// Lower first.
    pub order: i32,
}
