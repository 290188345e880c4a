//! The child's half of the script: what happens between clone3 and exec.
//!
//! The child is single-threaded and starts as a copy of the monitor, in the new namespaces that
//! clone3 made; the comment of each step says where it runs from then on. It has not executed
//! anything yet, so whatever fails here is reported with its cause and the container never was.

mod terminals;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use lxc_config::{HookType, NamespaceKind};
use lxc_sys::{Errno, process, signal};

use super::ahead::Ahead;
use super::channel::{Channel, Message, Role};
use super::finish;
use super::script::{Entry, SCRIPT, needed_steps};
use crate::cgroup::{Layout, group};
use crate::error::{Doing, Error, Kind, Result};
use crate::hooks::HookContext;
use crate::lsm;
use crate::mount::{automount, dev, entries, pivot as pivoting, tree};
use crate::network;
use crate::plan::{Plan, limits, namespaces};
use crate::rootfs::{Procfs, Root, enter_directory};
use crate::terminal::pty::Pty;
pub use terminals::{hand_over, set_up_terminals};

/// What the monitor prepared before clone3; the child has copies of the descriptors.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// The host's cgroup hierarchies.
    pub layout: &'a Layout,
    /// Path of the container's cgroup below each base.
    pub cgroup_path: String,
    /// Open `tasks` files of the v1 cgroups.
    pub v1_tasks: Vec<OwnedFd>,
    /// The root file system, mounted nowhere yet; made by the child where absent.
    pub rootfs_tree: Option<OwnedFd>,
    /// Console from the host's devpts.
    pub console: Option<Pty>,
    /// ttys from the host's devpts.
    pub ttys: Vec<Pty>,
    /// A network namespace that is being made.
    pub network: Option<Ahead>,
    /// Namespaces to join.
    pub share: Vec<(NamespaceKind, OwnedFd)>,
    /// Signal mask of whoever started the container.
    pub signal_mask: signal::SignalSet,
    /// The monitor: if it is not the child's parent any more, it died.
    pub monitor_pidfd: OwnedFd,
}

/// The child while it walks the script.
#[derive(Debug)]
pub struct Child<'a> {
    /// What is to be done.
    pub plan: &'a Plan,
    inputs: Inputs<'a>,
    channel: Channel,
    hooks: HookContext,
    root: Option<Root>,
    found: Option<tree::Found>,
    proc: Option<Procfs>,
    devpts: Option<OwnedFd>,
    console: Option<Pty>,
    console_is_hosts: bool,
    ttys: Vec<Pty>,
    late_namespaces: Vec<(Role, OwnedFd)>,
    /// Id-mapped mount entries in their order; nothing for an optional one without source.
    idmapped: Vec<Option<OwnedFd>>,
    label: Option<OwnedFd>,
    umask: rustix::fs::Mode,
}

/// Runs the script and executes init. Returns only when something failed.
pub fn run(plan: &Plan, inputs: Inputs<'_>, channel: Channel) -> i32 {
    let mut hooks = HookContext::new(plan);
    for (name, value) in &plan.environment.hooks {
        hooks.set(name, value);
    }
    let mut child = Child {
        plan,
        inputs,
        channel,
        hooks,
        root: None,
        found: None,
        proc: None,
        devpts: None,
        console: None,
        console_is_hosts: false,
        ttys: Vec::new(),
        late_namespaces: Vec::new(),
        idmapped: Vec::new(),
        label: None,
        // Modes are given exactly while the container is set up.
        umask: rustix::process::umask(rustix::fs::Mode::empty()),
    };
    let error = match child.walk() {
        Ok(()) => {
            finish::execute(child.plan, child.channel.fd(), child.console.as_ref(), &child.ttys, child.umask)
        }
        Err(e) => e,
    };
    log::trace!("child: {error}");
    // If the monitor is gone there is nobody to tell.
    let _ = child.channel.fail(&error);
    1
}

impl Child<'_> {
    fn walk(&mut self) -> Result<()> {
        let plan = self.plan;
        for (index, entry) in SCRIPT.iter().enumerate() {
            match entry {
                Entry::Child(step) if (step.needed)(plan) => {
                    log::trace!("child: {}", step.name);
                    (step.run)(self).map_err(|e| e.during(step.name))?;
                }
                Entry::Child(_) => {}
                Entry::Meeting(_, steps) => {
                    if needed_steps(steps, plan).next().is_some() {
                        self.meet(index as u8)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn meet(&mut self, number: u8) -> Result<()> {
        self.channel.arrive(number)?;
        loop {
            match self.channel.receive()? {
                Some(Message::Go(n)) if n == number => return Ok(()),
                Some(Message::Descriptors(list)) => {
                    for (role, fd) in list {
                        match role {
                            Role::Rootfs => self.inputs.rootfs_tree = Some(fd),
                            Role::Entry => self.idmapped.push(Some(fd)),
                            Role::NoEntry => self.idmapped.push(None),
                            _ => {
                                return Err(Error::new(
                                    Kind::Failed,
                                    "the monitor sent what nobody waits for",
                                ));
                            }
                        }
                    }
                }
                Some(Message::Failed(e)) => return Err(e),
                Some(_) => {
                    return Err(Error::new(Kind::Failed, "the monitor is at another point of the start"));
                }
                None => return Err(Error::new(Kind::Failed, "the monitor is gone")),
            }
        }
    }

    fn root(&self) -> Result<&Root> {
        self.root.as_ref().ok_or_else(|| Error::new(Kind::Failed, "the root file system is not mounted"))
    }

    /// Runs hooks of the child: in the container's namespaces, the host's root still `/`.
    pub fn run_hooks(&self, kind: HookType) -> Result<()> {
        self.with_callers_umask(|| self.hooks.run(kind, self.plan.hooks(kind), &[]))
    }

    /// Modes are exact while the container is set up; what others make gets the mask of the caller.
    fn with_callers_umask(&self, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let exact = rustix::process::umask(self.umask);
        let result = work();
        rustix::process::umask(exact);
        result
    }

    fn unshare(&mut self, kind: NamespaceKind, role: Role) -> Result<()> {
        let file = format!("/proc/self/ns/{}", kind.name());
        process::unshare(namespaces::flag(kind))
            .doing(|| format!("unshare the {} namespace", kind.name()))?;
        let path = if kind == NamespaceKind::Time { "/proc/self/ns/time_for_children" } else { &file };
        if kind == NamespaceKind::Time || self.plan.shows_namespaces() {
            self.late_namespaces.push((role, open_read(Path::new(path))?));
        }
        Ok(())
    }
}

fn open_read(path: &Path) -> Result<OwnedFd> {
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
    rustix::fs::open(path, flags, rustix::fs::Mode::empty()).doing(|| format!("open {}", path.display()))
}

/// A container that is half set up does not outlive its monitor.
pub fn die_with_monitor(child: &mut Child<'_>) -> Result<()> {
    arm_parent_death(child, libc::SIGKILL)?;
    signal::reset_dispositions();
    signal::set_blocked(&child.inputs.signal_mask).doing(|| "restore the signal mask")?;
    Ok(())
}

/// Sets the signal and makes sure that the monitor did not die before.
fn arm_parent_death(child: &Child<'_>, number: i32) -> Result<()> {
    signal::set_parent_death_signal(number).doing(|| "set the parent-death signal")?;
    let mut fds = [rustix::event::PollFd::new(&child.inputs.monitor_pidfd, rustix::event::PollFlags::IN)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    match rustix::event::poll(&mut fds, Some(&now)) {
        Ok(0) => Ok(()),
        Ok(_) => Err(Error::new(Kind::Failed, "the monitor is gone")),
        Err(e) => Err(Error::os("look at the monitor", e)),
    }
}

/// By the single-threaded process itself, through descriptors that the monitor opened.
pub fn join_cgroups(child: &mut Child<'_>) -> Result<()> {
    group::join(&std::mem::take(&mut child.inputs.v1_tasks))
}

/// A cookie of its own: init shares no core with strangers.
pub fn core_scheduling(_: &mut Child<'_>) -> Result<()> {
    use rustix::thread::CoreSchedulingScope as Scope;
    let own = rustix::process::getpid();
    match rustix::thread::create_core_scheduling_cookie(own, Scope::ThreadGroup) {
        // No simultaneous multi-threading: there is nothing to share.
        Ok(()) | Err(Errno::NODEV) => Ok(()),
        Err(Errno::INVAL) => Err(Error::unsupported(
            "lxc.sched.core = 1: this kernel has no core scheduling (5.14, CONFIG_SCHED_CORE)",
        )),
        Err(e) => Err(Error::os("create a core scheduling cookie", e)),
    }
}

/// Whether the child, still with the ids of whoever started it, has to look for the root file system: the path may lead
/// through directories that the container's root may not pass, and an ordinary user's monitor can clone no mount.
/// Pre-mount hooks have a say in what is found.
pub fn finds_rootfs(plan: &Plan) -> bool {
    plan.identity.is_mapped()
        && plan.rootfs.is_some()
        && plan.namespaces.has(NamespaceKind::Mnt)
        && plan.by_user
        && plan.hooks(HookType::PreMount).is_empty()
}

/// In the new mount namespace, with the ids of the caller: the mounts that are found can be cloned here.
pub fn find_rootfs(child: &mut Child<'_>) -> Result<()> {
    child.found = child.plan.rootfs.as_ref().map(tree::find).transpose()?;
    Ok(())
}

/// In the new user namespace, whose maps are written: from nobody to its root.
pub fn become_root(child: &mut Child<'_>) -> Result<()> {
    let identity = &child.plan.identity;
    finish::set_ids(identity.setup_uid, identity.setup_gid, Some(&[]))?;
    // The change of ids cleared both.
    arm_parent_death(child, libc::SIGKILL)?;
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable)
        .doing(|| "stay dumpable")
}

/// The one that was made ahead; else made only now, so that the container's user namespace owns it.
pub fn enter_net(child: &mut Child<'_>) -> Result<()> {
    let Some(namespace) = child.inputs.network.take().and_then(Ahead::take) else {
        return child.unshare(NamespaceKind::Net, Role::NetNamespace);
    };
    process::setns(namespace.as_fd(), namespaces::flag(NamespaceKind::Net))
        .doing(|| "join the network namespace")?;
    if child.plan.shows_namespaces() {
        child.late_namespaces.push((Role::NetNamespace, namespace));
    }
    Ok(())
}

/// Made only now: its root is the cgroup that the process is in.
pub fn unshare_cgroup(child: &mut Child<'_>) -> Result<()> {
    child.unshare(NamespaceKind::Cgroup, Role::CgroupNamespace)
}

/// Offsets can be written until a process is in the namespace; the process joins it afterwards.
pub fn unshare_time(child: &mut Child<'_>) -> Result<()> {
    child.unshare(NamespaceKind::Time, Role::TimeNamespace)?;
    let offsets = &child.plan.values.time_offset;
    let lines: String = [("boottime", offsets.boot), ("monotonic", offsets.monotonic)]
        .iter()
        .filter(|(_, o)| *o != (0, 0))
        .map(|(clock, (seconds, nanoseconds))| {
            // The kernel wants 0 <= nanoseconds < 10^9.
            let seconds = seconds + nanoseconds.div_euclid(1_000_000_000);
            format!("{clock} {seconds} {}\n", nanoseconds.rem_euclid(1_000_000_000))
        })
        .collect();
    std::fs::write("/proc/self/timens_offsets", &lines)
        .doing(|| format!("write {lines:?} to timens_offsets"))?;
    if let Some((_, namespace)) = child.late_namespaces.last() {
        process::setns(namespace.as_fd(), namespaces::flag(NamespaceKind::Time))
            .doing(|| "join the time namespace")?;
    }
    Ok(())
}

/// In the new mount namespace: what the host mounts still arrives, nothing goes back.
pub fn isolate_mounts(_: &mut Child<'_>) -> Result<()> {
    pivoting::isolate()
}

/// In the new mount namespace; the tree was made by the monitor, or is made here where pre-mount
/// hooks have a say in what is found.
pub fn mount_rootfs(child: &mut Child<'_>) -> Result<()> {
    let Some(plan) = &child.plan.rootfs else {
        child.root = Some(Root::open(Path::new("/"))?);
        return Ok(());
    };
    let tree = match child.inputs.rootfs_tree.take() {
        Some(tree) => tree,
        None => match child.found.take() {
            Some(found) => tree::make_of(plan, &found)?,
            None => tree::make(plan)?.tree,
        },
    };
    tree::attach(tree.as_fd(), &plan.mount)?;
    child.root = Some(Root::open(&plan.mount)?);
    Ok(())
}

/// Whether a host name is set.
pub fn has_hostname(plan: &Plan) -> bool {
    plan.values.uts_name.is_some() && plan.namespaces.has(NamespaceKind::Uts)
}

/// In the new UTS namespace.
pub fn set_hostname(child: &mut Child<'_>) -> Result<()> {
    let name = child.plan.values.uts_name.as_deref().unwrap_or_default();
    rustix::system::sethostname(name.as_bytes()).doing(|| format!("lxc.uts.name = {name}"))
}

/// The container does not see the keys of whoever started it.
pub fn new_keyring(child: &mut Child<'_>) -> Result<()> {
    let context = &child.plan.key_context;
    if let Some(context) = context {
        lsm::selinux::label_keys(Some(context))?;
    }
    let joined = join_keyring();
    if context.is_some() {
        lsm::selinux::label_keys(None)?;
    }
    joined
}

fn join_keyring() -> Result<()> {
    match process::join_new_session_keyring() {
        Ok(()) | Err(Errno::NOSYS | Errno::ACCESS | Errno::PERM) => Ok(()),
        Err(e) => {
            log::warn!("join a new session keyring: {e}");
            Ok(())
        }
    }
}

/// In the container's network namespace: the devices are there, made by the monitor.
pub fn configure_network(child: &mut Child<'_>) -> Result<()> {
    network::setup::configure_inside(&child.plan.values, child.plan.by_user)
}

/// A tmpfs that mount entries may add to before it is populated.
pub fn mount_dev(child: &mut Child<'_>) -> Result<()> {
    dev::mount_tmpfs(child.root()?, child.plan.values.autodev_tmpfs_size)
}

/// lxc.mount.auto = proc
pub fn mount_proc(child: &mut Child<'_>) -> Result<()> {
    const CAP_NET_ADMIN: u32 = 12;
    match child.plan.values.mount_auto.proc {
        Some(kind) => automount::proc(child.root()?, kind, keeps(child.plan, CAP_NET_ADMIN)),
        None => Ok(()),
    }
}

/// lxc.mount.auto = sys
pub fn mount_sys(child: &mut Child<'_>) -> Result<()> {
    child.plan.values.mount_auto.sys.map_or(Ok(()), |kind| automount::sys(child.root()?, kind))
}

fn keeps(plan: &Plan, capability: u32) -> bool {
    !plan.drop_capabilities.contains(&capability)
}

/// fstab and mount entries, in order.
pub fn mount_entries(child: &mut Child<'_>) -> Result<()> {
    let root = child.root()?;
    let plain = child.plan.mounts.iter().filter(|entry| entry.options.idmap.is_none());
    plain.into_iter().try_for_each(|entry| entries::mount(root, entry))
}

/// Mount entries with `idmap=`, after all others: the monitor made them.
pub fn mount_idmapped_entries(child: &mut Child<'_>) -> Result<()> {
    let trees = std::mem::take(&mut child.idmapped);
    let root = child.root()?;
    let mapped = child.plan.mounts.iter().filter(|entry| entry.options.idmap.is_some());
    mapped
        .zip(trees)
        .filter_map(|(entry, tree)| Some((entry, tree?)))
        .try_for_each(|(entry, tree)| entries::attach(root, entry, tree.as_fd()))
}

/// lxc.mount.auto = cgroup
pub fn mount_cgroups(child: &mut Child<'_>) -> Result<()> {
    const CAP_SYS_ADMIN: u32 = 21;
    let Some(wanted) = child.plan.values.mount_auto.cgroup else { return Ok(()) };
    let context = automount::CgroupContext {
        layout: child.inputs.layout,
        own_namespace: child.plan.namespaces.has(NamespaceKind::Cgroup),
        sys_admin: keeps(child.plan, CAP_SYS_ADMIN),
        path: &child.inputs.cgroup_path,
    };
    automount::cgroup(child.root()?, wanted, &context)
}

/// A mount entry or hook must not have replaced the root that everything was made in.
pub fn check_overmount(child: &mut Child<'_>) -> Result<()> {
    let root = child.root()?;
    let what = || format!("look at {}", root.path().display());
    let now = Root::open(root.path())?;
    let (a, b) = (rustix::fs::fstat(root.fd()).doing(what)?, rustix::fs::fstat(now.fd()).doing(what)?);
    if (a.st_dev, a.st_ino) != (b.st_dev, b.st_ino) {
        return Err(Error::invalid(format!(
            "{} was mounted over by a mount entry or hook",
            root.path().display()
        )));
    }
    Ok(())
}

/// Device nodes.
pub fn populate_dev(child: &mut Child<'_>) -> Result<()> {
    dev::make_nodes(child.root()?)
}

/// Start hooks run inside: their programs must be there. Only the first word is a path.
pub fn check_start_hooks(child: &mut Child<'_>) -> Result<()> {
    let root = child.root()?;
    for line in child.plan.hooks(HookType::Start) {
        let program = line.split_ascii_whitespace().next().unwrap_or_default();
        if program.starts_with('/') && !root.exists(program) {
            return Err(Error::os(
                format!("lxc.hook.start = {line}: find {program} in the container"),
                Errno::NOENT,
            ));
        }
    }
    Ok(())
}

/// From here on `/` is the container's.
pub fn pivot(child: &mut Child<'_>) -> Result<()> {
    pivoting::pivot(child.root()?)?;
    if let Some((_, inside)) = &child.plan.values.mount_auto.shmounts {
        let path = PathBuf::from("/").join(inside);
        let flags =
            rustix::mount::MountPropagationFlags::DOWNSTREAM | rustix::mount::MountPropagationFlags::REC;
        rustix::mount::mount_change(&path, flags)
            .doing(|| format!("make {} a slave mount", path.display()))?;
    }
    Ok(())
}

/// Best effort: programs take the id for that of the machine's boot.
pub fn boot_id(child: &mut Child<'_>) -> Result<()> {
    if let Err(e) = dev::fake_boot_id(child.root()?) {
        log::debug!("boot id: {e}");
    }
    Ok(())
}

/// lxc.arch
pub fn personality(child: &mut Child<'_>) -> Result<()> {
    const PER_LINUX32: u32 = 8;
    let Some(arch) = child.plan.values.arch else { return Ok(()) };
    let persona = if arch.is_32bit { PER_LINUX32 } else { 0 };
    process::set_personality(persona).doing(|| format!("lxc.arch = {}", arch.name))
}

/// While the host's is in sight: what is on /proc of the container may be anything.
pub fn open_proc(child: &mut Child<'_>) -> Result<()> {
    child.proc = Some(Procfs::open()?);
    Ok(())
}

/// Inside the container's namespaces, which say what the files are about, while all capabilities are there.
pub fn write_sysctls(child: &mut Child<'_>) -> Result<()> {
    let Some(proc) = child.proc.take() else { return Ok(()) };
    for (name, value) in &child.plan.values.sysctls {
        let path = Path::new("sys").join(limits::dotted_path(name)?);
        proc.write(&path, value)
            .doing(|| format!("lxc.sysctl.{name} = {value}: write /proc/{}", path.display()))?;
    }
    Ok(())
}

/// One write, as these files want it.
pub fn write_proc(path: &Path, value: &str, what: &str) -> Result<()> {
    use rustix::fs::{Mode, OFlags};
    let text = || format!("{what}: write {}", path.display());
    let fd = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).doing(text)?;
    rustix::io::write(&fd, value.as_bytes()).doing(text).map(drop)
}

/// What init can never gain.
pub fn drop_bounding_set(child: &mut Child<'_>) -> Result<()> {
    for &number in &child.plan.drop_capabilities {
        let Ok(capability) = capability(number) else { continue };
        rustix::thread::remove_capability_from_bounding_set(capability)
            .doing(|| format!("drop capability {number} from the bounding set"))?;
    }
    Ok(())
}

fn capability(number: u32) -> lxc_sys::Result<rustix::thread::CapabilitySet> {
    Ok(rustix::thread::CapabilitySet::from_bits_retain(1u64.checked_shl(number).ok_or(Errno::INVAL)?))
}

/// While the host's /proc is in sight, which is to be trusted; the container's need not be.
pub fn open_label(child: &mut Child<'_>) -> Result<()> {
    child.label = child.plan.label.label().map(|label| lsm::open_own(&label)).transpose()?;
    Ok(())
}

/// lxc.apparmor.profile: from here on the profile is in force, for the start hooks as well.
pub fn change_label(child: &mut Child<'_>) -> Result<()> {
    match (child.label.take(), child.plan.label.label()) {
        (Some(own), Some(label)) => lsm::change(&own, &label),
        _ => Ok(()),
    }
}

/// lxc.no_new_privs
pub fn no_new_privs(_: &mut Child<'_>) -> Result<()> {
    rustix::thread::set_no_new_privs(true).doing(|| "set no_new_privs")
}

/// lxc.seccomp.profile: from here on also for what this process does itself.
pub fn set_filter(child: &mut Child<'_>) -> Result<()> {
    let what = || "load the seccomp filter";
    match &child.plan.filter {
        Some(filter) if filter.notifies => {
            let listener = lxc_sys::seccomp::set_filter_with_listener(&filter.program).doing(what)?;
            // At once: what comes next may be asked about already.
            child.channel.send_descriptors(&[(Role::SeccompListener, listener.as_fd())])
        }
        Some(filter) => lxc_sys::seccomp::set_filter(&filter.program).doing(what),
        None => Ok(()),
    }
}

/// Inside the container's root: hooks of the container itself.
pub fn start_hooks(child: &mut Child<'_>) -> Result<()> {
    let ttys = finish::tty_names(&child.ttys);
    if !ttys.is_empty() {
        child.hooks.set("container_ttys", ttys.join(" "));
    }
    let hooks = child.hooks.clone().inside();
    child.with_callers_umask(|| hooks.run(HookType::Start, child.plan.hooks(HookType::Start), &[]))
}

/// init leads a session without a terminal.
pub fn new_session(_: &mut Child<'_>) -> Result<()> {
    match rustix::process::setsid() {
        Ok(_) | Err(Errno::PERM) => Ok(()),
        Err(e) => Err(Error::os("begin a session", e)),
    }
}

/// lxc.init.cwd, made where it is missing.
pub fn change_directory(child: &mut Child<'_>) -> Result<()> {
    let Some(dir) = &child.plan.values.init.cwd else { return Ok(()) };
    let what = || format!("lxc.init.cwd = {}", dir.display());
    if let Err(e) = enter_directory(dir) {
        if e != Errno::NOENT {
            return Err(Error::os(what(), e));
        }
        child.with_callers_umask(|| std::fs::create_dir_all(dir).doing(what))?;
        enter_directory(dir).doing(what)?;
    }
    Ok(())
}

/// Joins namespaces of other containers; in the process that makes the child, before clone3.
pub fn join_shared(share: &[(NamespaceKind, OwnedFd)]) -> Result<()> {
    share.iter().try_for_each(|(kind, fd)| {
        process::setns(fd.as_fd(), namespaces::flag(*kind))
            .doing(|| format!("lxc.namespace.share.{}: join it", kind.name()))
    })
}
