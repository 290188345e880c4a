//! The plan: a configuration resolved against the host, validated, immutable, plain data.
//!
//! Everything that can be refused is refused here, before anything is created. Both processes of a
//! start work from the same plan: it is printed by `lxc-start --dry-run` and compared in tests.

pub mod advice;
pub mod cgroup;
pub mod environment;
pub mod host;
pub mod identity;
pub mod label;
pub mod limits;
pub mod mounts;
pub mod namespaces;
pub mod network;
pub mod storage;
pub mod subordinate;

use std::ffi::CString;
use std::path::{Path, PathBuf};

use lxc_config::{Caps, Config, HookType, MountAuto, NamespaceKind, Seccomp, Values};

use crate::error::{Doing, Error, Result};
use crate::seccomp::{self, Filter};
pub use cgroup::CgroupPlan;
pub use environment::Environment;
pub use host::Host;
pub use identity::Identity;
pub use label::LabelPlan;
pub use mounts::{MountPlan, RootfsPlan};
pub use namespaces::Namespaces;
pub use storage::{Storage, StorageKind};
pub use subordinate::Subordinate;

/// How the container is started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StartOptions {
    /// Command that replaces the configured one.
    pub command: Vec<String>,
    /// lxc-execute: a small init runs the command.
    pub execute: bool,
    /// The monitor becomes a daemon.
    pub daemonize: bool,
    /// File for the monitor's pid.
    pub pidfile: Option<PathBuf>,
    /// Close descriptors that the caller left open; implied by `daemonize`.
    pub close_all_fds: bool,
    /// Highest descriptor to pass to init (LISTEN_FDS); 2 for none.
    pub last_kept_fd: u32,
    /// The calling process ends when the container runs: a daemon may be its child, and it may be left in another network
    /// namespace. That saves a process between.
    pub caller_ends: bool,
}

impl StartOptions {
    /// The highest descriptor that init inherits; `None` for whatever the caller left open, which a
    /// start in the foreground passes on unless it is asked not to.
    pub fn last_fd_of_init(&self) -> Option<u32> {
        (self.daemonize || self.close_all_fds).then_some(self.last_kept_fd)
    }
}

/// A start, decided.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Name of the container.
    pub name: String,
    /// Directory of containers, as the caller wrote it.
    pub lxcpath: PathBuf,
    /// Directory of containers, from wherever it is looked at: the monitor works in another directory.
    pub home: PathBuf,
    /// The configuration file, for hooks.
    pub config_file: Option<PathBuf>,
    /// How it is started.
    pub options: StartOptions,
    /// What the configuration says, for what needs no resolving.
    pub values: Values,
    /// argv of init, or of what the small init runs.
    pub command: Vec<CString>,
    /// Whoever starts it is an ordinary user.
    pub by_user: bool,
    /// Namespaces.
    pub namespaces: Namespaces,
    /// Ids inside and outside.
    pub identity: Identity,
    /// Root file system; `None` is the host's own.
    pub rootfs: Option<RootfsPlan>,
    /// fstab and mount entries, in order.
    pub mounts: Vec<MountPlan>,
    /// Environments of hooks and init.
    pub environment: Environment,
    /// Names of the cgroups.
    pub cgroups: CgroupPlan,
    /// Capabilities to remove from the bounding set, ascending.
    pub drop_capabilities: Vec<u32>,
    /// Resource limits of init.
    pub limits: Vec<limits::ResourceLimit>,
    /// Whether the container has a console of its own.
    pub console: bool,
    /// The security label of init.
    pub label: LabelPlan,
    /// The SELinux context of keys that init's session makes.
    pub key_context: Option<String>,
    /// What the kernel lets init call; absent where nothing is said, or a filter of the host's is in force.
    pub filter: Option<Filter>,
}

impl Plan {
    /// Resolves a configuration.
    ///
    /// # Errors
    /// What is wrong, with its key; nothing was created.
    pub fn resolve(
        name: &str,
        lxcpath: &Path,
        config: &Config,
        options: StartOptions,
        host: &Host,
    ) -> Result<Plan> {
        check_name(name)?;
        let values = &config.values;
        let plan = || -> Result<Plan> {
            let identity = Identity::resolve(values)?;
            host.subordinate.as_ref().map_or(Ok(()), |ids| ids.check(&identity))?;
            let namespaces = Namespaces::resolve(values, lxcpath, host)?;
            let rootfs = RootfsPlan::resolve(values)?;
            let mounts = mounts::resolve(values, lxcpath, name, rootfs.as_ref())?;
            network::check(values)?;
            network::check_for_user(values, host)?;
            network::check_repetition(config)?;
            let mut resolved = values.clone();
            network::resolve_gateways(&mut resolved)?;
            require_mount_namespace(values, &namespaces)?;
            let command = command(values, &options)?;
            Ok(Plan {
                name: name.to_string(),
                lxcpath: lxcpath.to_path_buf(),
                home: crate::paths::absolute(lxcpath),
                config_file: config.file().map(Path::to_path_buf),
                command,
                by_user: !host.is_root(),
                namespaces,
                identity,
                mounts,
                environment: Environment::resolve(values),
                cgroups: CgroupPlan::resolve(values, name, host)?,
                drop_capabilities: drop_list(&values.caps, host.last_capability),
                limits: limits::resolve(values)?,
                console: values.console.path.as_deref() != Some(Path::new("none")),
                filter: filter(&values.seccomp)?,
                label: LabelPlan::resolve(values, lxcpath, name, host)?,
                key_context: label::key_context(values, host),
                rootfs,
                options,
                values: resolved,
            })
        };
        plan().map_err(|e| locate(e, config))
    }

    /// Directory of the container.
    pub fn directory(&self) -> PathBuf {
        self.lxcpath.join(&self.name)
    }

    /// Command lines of a hook.
    pub fn hooks(&self, kind: HookType) -> &[String] {
        self.values.hooks.get(&kind).map_or(&[], Vec::as_slice)
    }

    /// Whether hooks get to see the container's namespaces when it has ended.
    pub fn shows_namespaces(&self) -> bool {
        let down = self.values.networks.values().any(|n| n.script_down.is_some());
        down || [HookType::Stop, HookType::PostStop].iter().any(|&h| !self.hooks(h).is_empty())
    }

    /// Whether init is a container's own (lxc-start), not the small one of lxc-execute.
    pub fn boots(&self) -> bool {
        !self.options.execute
    }

    /// Whether init's stdio is the console.
    pub fn stdio_is_console(&self) -> bool {
        self.console && (self.options.daemonize || self.boots())
    }

    /// Whether the console comes from the host's devpts: the container has no instance of its own,
    /// or none with room for a console.
    pub fn console_is_hosts(&self) -> bool {
        self.values.pty_max <= 1 || self.rootfs.is_none()
    }

    /// How many ttys come from the host's devpts.
    pub fn host_ttys(&self) -> u32 {
        if self.values.pty_max == 0 || self.rootfs.is_none() { self.values.tty_max } else { 0 }
    }

    /// Most pseudo-terminals of the container's devpts instance; 0 for no instance.
    pub fn devpts_max(&self) -> u32 {
        self.values.pty_max.saturating_add(self.values.tty_max)
    }
}

/// Adds file and line of the key that an error names first.
pub(crate) fn locate(error: Error, config: &Config) -> Error {
    let text = error.to_string();
    let key = text.split([' ', ':', '=', ',']).find(|w| w.starts_with("lxc."));
    // What is missing is missing where the network begins.
    let network = |k: &str| {
        let number = k.strip_prefix("lxc.net.")?.split('.').next()?;
        config.origin(&format!("lxc.net.{number}.type"))
    };
    match key.and_then(|k| config.origin(k).or_else(|| network(k))) {
        Some((file, line)) => error.during(format!("{}:{line}", file.display())),
        None => error,
    }
}

/// Refuses names that are no single file name, or that no line of a configuration can hold.
pub fn check_name(name: &str) -> Result<()> {
    let bad = name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0', '\n', '\r']);
    if bad || name.len() > 255 {
        return Err(Error::invalid(format!("{name:?} is not a valid container name"))
            .with_hint("a name is one file name on one line: not empty, without slash, at most 255 bytes"));
    }
    Ok(())
}

/// argv as `lxc-start` and `lxc-execute` select it (spec: life cycle, section 3).
fn command(values: &Values, options: &StartOptions) -> Result<Vec<CString>> {
    let words = if !options.command.is_empty() {
        options.command.clone()
    } else {
        let (key, text) = if options.execute {
            ("lxc.execute.cmd", values.execute_cmd.as_deref())
        } else {
            ("lxc.init.cmd", values.init.cmd.as_deref())
        };
        match text {
            Some(text) => lxc_config::words::split_command(text)
                .map_err(|e| Error::invalid(format!("{key} = {text}: {e}")))?,
            None if options.execute => return Err(Error::invalid("Missing command to execute!")),
            None => vec!["/sbin/init".to_string()],
        }
    };
    if words.first().is_none_or(String::is_empty) {
        return Err(Error::invalid("the command to run is empty"));
    }
    words
        .into_iter()
        .map(|w| CString::new(w).map_err(|_| Error::invalid("the command to run contains a NUL")))
        .collect()
}

fn drop_list(caps: &Caps, last: u32) -> Vec<u32> {
    match caps {
        Caps::Unset => Vec::new(),
        Caps::Drop(list) => {
            let mut drop: Vec<u32> = list.iter().map(|c| c.number).filter(|&n| n <= last).collect();
            drop.sort_unstable();
            drop.dedup();
            drop
        }
        Caps::Keep(list) => (0..=last).filter(|n| !list.iter().any(|c| c.number == *n)).collect(),
    }
}

/// Without a mount namespace of the container's own every mount would be made on the host, and the
/// pivot would take the root away from all of it.
fn require_mount_namespace(values: &Values, namespaces: &Namespaces) -> Result<()> {
    if namespaces.has(NamespaceKind::Mnt) {
        return Ok(());
    }
    let inside = [HookType::PreMount, HookType::Mount, HookType::Autodev, HookType::Start];
    let wanted = [
        ("lxc.rootfs.path", values.rootfs.path.is_some()),
        ("lxc.mount.entry", !values.mount_entries.is_empty()),
        ("lxc.mount.fstab", values.mount_fstab.is_some()),
        ("lxc.mount.auto", values.mount_auto != MountAuto::default()),
        ("lxc.hook", inside.iter().any(|h| values.hooks.contains_key(h))),
    ];
    match wanted.iter().find(|(_, set)| *set) {
        None => Ok(()),
        Some((key, _)) => Err(Error::invalid(format!("{key} needs a mount namespace of the container's own"))
            .with_hint("do not keep or share mnt: see lxc.namespace.keep, lxc.namespace.clone and lxc.namespace.share.mnt")),
    }
}

/// The program of `lxc.seccomp.profile`.
pub fn filter(keys: &Seccomp) -> Result<Option<Filter>> {
    let Some(profile) = &keys.profile else { return Ok(None) };
    if !keys.allow_nesting && seccomp::is_confined() {
        log::warn!(
            "lxc.seccomp.profile is not in force: this process is under a filter already, and \
             lxc.seccomp.allow_nesting is not set"
        );
        return Ok(None);
    }
    let what = || format!("lxc.seccomp.profile = {}", profile.display());
    seccomp::load(profile).map(Some).doing(what)
}
