//! The monitor's half of the script.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use lxc_config::device_rule::DeviceEntry;
use lxc_config::mount_entry::IdMapSource;
use lxc_config::{HookType, NamespaceKind, NetType};
use lxc_sys::clone::{Cloned, Fork, SIBLING, SingleThreaded, clone3, exit_now, fork};
use lxc_sys::{Errno, signal, socket};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, Gid, Mode, OFlags};
use rustix::net::{RecvFlags, SocketType};
use rustix::process::{Pid, WaitId, WaitIdOptions};

use super::channel::{self, Channel, Message, Role};
use super::child::{self, Inputs, write_proc};
use super::id_maps::write_maps_of;
use super::isolated::with_ids_of;
use super::script::{meetings, needed_steps};
use crate::cgroup::devices::DeviceFilter;
use crate::cgroup::{GroupSet, Layout, Version, items, layout, layout::delegated_files};
use crate::error::{Doing, Error, Kind, Result};
use crate::hooks::HookContext;
use crate::mount::tree;
use crate::network::setup::Devices;
use crate::plan::{Plan, Storage, limits};
use crate::seccomp::notify::Notifier;
use crate::terminal::pty::Pty;

/// What a start leaves in the monitor's hands.
#[derive(Debug)]
pub struct Spawned {
    /// init, in the monitor's pid namespace.
    pub pid: Pid,
    /// init.
    pub pidfd: OwnedFd,
    /// The host's ends of network devices.
    pub network: Devices,
    /// Device filter of cgroup v2.
    pub filter: DeviceFilter,
    /// Root of the container's devpts.
    pub devpts: Option<OwnedFd>,
    /// Console.
    pub console: Option<Pty>,
    /// ttys, from 1.
    pub ttys: Vec<Pty>,
    /// What the seccomp filter asks.
    pub notifier: Option<Notifier>,
    /// Namespaces of the container, held for the stop hooks.
    pub namespaces: Vec<(NamespaceKind, OwnedFd)>,
}

/// The monitor while the child walks the script.
#[derive(Debug)]
pub struct Parent<'a> {
    plan: &'a Plan,
    layout: &'a Layout,
    payload: &'a GroupSet,
    hooks: &'a mut HookContext,
    channel: &'a Channel,
    rootfs_tree: Option<OwnedFd>,
    spawned: Spawned,
    received: Vec<(Role, OwnedFd)>,
}

/// Makes the child, walks the script with it and returns when init was executed. A child whose plan has no meeting
/// waits for nothing: what init must find is made before this, or a step of a meeting.
///
/// On failure the child is dead and reaped, and what was made for it is undone.
pub fn spawn(
    plan: &Plan,
    layout: &Layout,
    payload: &GroupSet,
    hooks: &mut HookContext,
    inputs: Inputs<'_>,
) -> Result<Spawned> {
    let (channel, childs_end) = channel::pair()?;
    let rootfs_tree = match &inputs.rootfs_tree {
        Some(tree) => Some(rustix::io::fcntl_dupfd_cloexec(tree, 3).doing(|| "copy a descriptor")?),
        None => None,
    };
    let cloned = match make_child(plan, &inputs.share, payload)? {
        Cloned::Child(_) => {
            drop(channel);
            exit_now(child::run(plan, inputs, childs_end))
        }
        Cloned::Parent(pid, pidfd) => (pid, pidfd),
    };
    drop((childs_end, inputs));
    let (pid, pidfd) = cloned;
    hooks.set("LXC_PID", pid.as_raw_pid().to_string());
    let mut parent = Parent {
        plan,
        layout,
        payload,
        hooks,
        channel: &channel,
        rootfs_tree,
        spawned: Spawned {
            pid,
            pidfd,
            network: Devices::default(),
            filter: DeviceFilter::default(),
            devpts: None,
            console: None,
            ttys: Vec::new(),
            notifier: None,
            namespaces: Vec::new(),
        },
        received: Vec::new(),
    };
    match parent.walk() {
        Ok(()) => Ok(parent.spawned),
        Err(e) => {
            std::mem::take(&mut parent.spawned.network).take_down(&plan.values, parent.hooks);
            // The child waits for us, or is init already; it reports nothing any more.
            let _ = signal::send_to_pidfd(parent.spawned.pidfd.as_fd(), libc::SIGKILL);
            let _ =
                rustix::process::waitid(WaitId::PidFd(parent.spawned.pidfd.as_fd()), WaitIdOptions::EXITED);
            Err(first_cause(e, &channel))
        }
    }
}

/// A step of ours may have failed because the child was gone already: what it said last is the cause.
fn first_cause(error: Error, channel: &Channel) -> Error {
    if !matches!(error.errno(), Some(Errno::NOENT | Errno::SRCH)) {
        return error;
    }
    // The child is dead: what is left to read ends.
    while let Ok(Some(message)) = channel.receive() {
        if let Message::Failed(cause) = message {
            return cause;
        }
    }
    error
}

/// clone3, in a helper that joined the shared namespaces where there are any.
fn make_child(plan: &Plan, share: &[(NamespaceKind, OwnedFd)], payload: &GroupSet) -> Result<Cloned> {
    let what = || "clone init";
    let flags = plan.namespaces.at_clone();
    let cgroup = payload.unified_dir();
    if share.is_empty() {
        return SingleThreaded::check()
            .and_then(|alone| clone3(alone, flags, cgroup.map(AsFd::as_fd)))
            .doing(what)
            .map_err(|e| explain_clone(e, plan));
    }
    let born_in = cgroup.filter(|_| !is_born_elsewhere(plan));
    let (ours, helpers) = socket::pair(SocketType::SEQPACKET).doing(what)?;
    match fork().doing(what)? {
        Fork::Child(alone) => {
            drop(ours);
            let made = child::join_shared(share)
                .and_then(|()| clone3(alone, flags | SIBLING, born_in.map(AsFd::as_fd)).doing(what));
            let (bytes, fd) = match made {
                Ok(Cloned::Child(alone)) => return Ok(Cloned::Child(alone)),
                Ok(Cloned::Parent(pid, pidfd)) => (pid.as_raw_pid().to_ne_bytes().to_vec(), Some(pidfd)),
                Err(e) => (e.to_bytes(), None),
            };
            let fds: Vec<BorrowedFd<'_>> = fd.iter().map(AsFd::as_fd).collect();
            let _ = socket::send(helpers.as_fd(), &bytes, &fds, false);
            exit_now(0)
        }
        Fork::Parent(helper) => {
            drop(helpers);
            let mut buffer = [0; 4096];
            let received = socket::receive(ours.as_fd(), &mut buffer, RecvFlags::empty()).doing(what);
            let _ = rustix::process::waitpid(Some(helper), rustix::process::WaitOptions::empty());
            let mut message = received?;
            let pid = buffer[..message.len].try_into().ok().map(i32::from_ne_bytes).and_then(Pid::from_raw);
            match (message.fds.pop(), pid) {
                (Some(pidfd), Some(pid)) => Ok(Cloned::Parent(pid, pidfd)),
                _ => Err(Error::from_bytes(&buffer[..message.len])),
            }
        }
    }
}

fn explain_clone(error: Error, plan: &Plan) -> Error {
    match error.errno() {
        Some(Errno::NOSPC | Errno::USERS) => {
            error.with_hint("a limit of /proc/sys/user/max_*_namespaces is reached")
        }
        Some(Errno::PERM) if plan.identity.is_mapped() => {
            error.with_hint("user namespaces may be switched off: see kernel.unprivileged_userns_clone")
        }
        Some(Errno::BUSY) => {
            error.with_hint("a container cannot be started from a process with several threads")
        }
        _ => error,
    }
}

impl Parent<'_> {
    fn namespace(&self, kind: NamespaceKind) -> Option<BorrowedFd<'_>> {
        self.spawned.namespaces.iter().find(|(k, _)| *k == kind).map(|(_, fd)| fd.as_fd())
    }

    fn walk(&mut self) -> Result<()> {
        let plan = self.plan;
        for (number, name, steps) in meetings(plan) {
            loop {
                match self.receive()? {
                    Some(Message::Arrived(n)) if n == number => break,
                    Some(Message::Descriptors(list)) => self.sort(list)?,
                    Some(Message::Failed(e)) => return Err(e),
                    Some(_) => {
                        return Err(Error::new(
                            Kind::Failed,
                            format!("the child is not at the meeting {name}"),
                        ));
                    }
                    None => return Err(self.death()),
                }
            }
            for step in needed_steps(steps, plan) {
                log::trace!("monitor: {}", step.name);
                (step.run)(self).map_err(|e| e.during(step.name))?;
            }
            self.channel.go(number)?;
        }
        loop {
            match self.receive()? {
                Some(Message::Descriptors(list)) => self.sort(list)?,
                Some(Message::Done(list)) => {
                    self.sort(list)?;
                    break;
                }
                Some(Message::Failed(e)) => return Err(e),
                Some(_) => return Err(out_of_order()),
                None => return Err(self.death()),
            }
        }
        self.take_descriptors().map_err(|e| e.during("take over the terminals"))?;
        match self.receive()? {
            None => Ok(()),
            Some(Message::Failed(e)) => Err(e),
            Some(_) => Err(out_of_order()),
        }
    }

    /// The child's next message. What its filter asks meanwhile is answered: it might never come otherwise.
    fn receive(&mut self) -> Result<Option<Message>> {
        while let Some(notifier) = &mut self.spawned.notifier {
            let (message, question) = {
                let channel = self.channel.fd();
                let ours = notifier.fd();
                let mut fds = [PollFd::new(&channel, PollFlags::IN), PollFd::new(&ours, PollFlags::IN)];
                let left = notifier.deadline().map(|d| d.saturating_duration_since(Instant::now()));
                let left = left.and_then(|left| Timespec::try_from(left).ok());
                match poll(&mut fds, left.as_ref()) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(e) => return Err(Error::os("wait for the child", e)),
                }
                (!fds[0].revents().is_empty(), !fds[1].revents().is_empty())
            };
            if message && !question {
                break;
            }
            notifier.turn();
            if message {
                break;
            }
        }
        self.channel.receive()
    }

    /// The listener of the seccomp filter is served from now on; the rest waits for the end.
    fn sort(&mut self, list: Vec<(Role, OwnedFd)>) -> Result<()> {
        for (role, fd) in list {
            if role == Role::SeccompListener {
                self.spawned.notifier = Some(Notifier::new(&self.plan.values.seccomp, self.spawned.pid, fd)?);
            } else {
                self.received.push((role, fd));
            }
        }
        Ok(())
    }

    /// Puts to its place what is kept for as long as the container runs.
    fn take_descriptors(&mut self) -> Result<()> {
        let mut pending: Option<OwnedFd> = None;
        let spawned = &mut self.spawned;
        for (role, fd) in std::mem::take(&mut self.received) {
            let kind = match role {
                Role::Rootfs | Role::Entry | Role::NoEntry | Role::SeccompListener => continue,
                Role::Devpts => {
                    spawned.devpts = Some(fd);
                    continue;
                }
                Role::ConsolePtx | Role::TtyPtx => {
                    pending = Some(fd);
                    continue;
                }
                Role::ConsolePty | Role::TtyPty => {
                    let ptx =
                        pending.take().ok_or_else(|| Error::new(Kind::Failed, "half of a terminal came"))?;
                    let pair = Pty { ptx, pty: fd };
                    if role == Role::ConsolePty {
                        spawned.console = Some(pair);
                    } else {
                        spawned.ttys.push(pair);
                    }
                    continue;
                }
                Role::NetNamespace => NamespaceKind::Net,
                Role::CgroupNamespace => NamespaceKind::Cgroup,
                Role::TimeNamespace => NamespaceKind::Time,
            };
            spawned.namespaces.push((kind, fd));
        }
        spawned.namespaces.sort_by_key(|(kind, _)| *kind);
        Ok(())
    }

    /// Why the child ended in the middle of the script.
    fn death(&self) -> Error {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let status =
            rustix::process::waitid(WaitId::PidFd(self.spawned.pidfd.as_fd()), options).ok().flatten();
        let how = match status.as_ref().and_then(|s| s.terminating_signal()) {
            Some(signal) => format!("was killed by signal {signal}"),
            None => "ended".to_string(),
        };
        Error::new(Kind::Failed, format!("the child {how} while the container was set up"))
    }
}

fn out_of_order() -> Error {
    Error::new(Kind::Failed, "the child sent a message out of order")
}

/// Whether the child cannot be born in its cgroup of v2: from inside a shared cgroup or user namespace it cannot be
/// named.
fn is_born_elsewhere(plan: &Plan) -> bool {
    let elsewhere = |kind: NamespaceKind| matches!(kind, NamespaceKind::Cgroup | NamespaceKind::User);
    plan.namespaces.share.iter().any(|(kind, _)| elsewhere(*kind))
}

/// Whether a helper makes the child: it goes on when the monitor knows of it.
pub fn has_helper(plan: &Plan) -> bool {
    !plan.namespaces.share.is_empty()
}

/// Before anything that depends on it: a cgroup namespace, which begins there, and init.
pub fn move_to_cgroup(parent: &mut Parent<'_>) -> Result<()> {
    match parent.payload.unified_dir().filter(|_| is_born_elsewhere(parent.plan)) {
        Some(dir) => {
            let pid = parent.spawned.pid.as_raw_pid().to_string();
            layout::write_at(dir.as_fd(), "cgroup.procs", &pid).doing(|| "move init to its cgroup")
        }
        None => Ok(()),
    }
}

/// Opens the namespaces that clone3 made, as far as somebody will ask for them; those made later come from the child.
pub fn hold_namespaces(parent: &mut Parent<'_>) -> Result<()> {
    let at_clone = parent.plan.namespaces.at_clone();
    let all = parent.plan.shows_namespaces();
    for kind in NamespaceKind::ALL {
        let wanted = all || kind == NamespaceKind::User;
        if wanted && at_clone & crate::plan::namespaces::flag(kind) != 0 {
            let path = format!("/proc/{}/ns/{}", parent.spawned.pid.as_raw_pid(), kind.name());
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let fd = rustix::fs::open(&*path, flags, Mode::empty()).doing(|| format!("open {path}"))?;
            parent.spawned.namespaces.push((kind, fd));
        }
    }
    Ok(())
}

/// /proc/PID/uid_map and gid_map: directly where the monitor may, else by newuidmap(1).
pub fn write_id_maps(parent: &mut Parent<'_>) -> Result<()> {
    write_maps_of(parent.spawned.pid, &parent.plan.identity)
}

/// The container may manage what is below its cgroups (spec: cgroups, section 5).
pub fn chown_cgroups(parent: &mut Parent<'_>) -> Result<()> {
    let identity = &parent.plan.identity;
    if parent.payload.groups.is_empty() {
        return Ok(());
    }
    let ordinary = !rustix::process::geteuid().is_root();
    let gid = if ordinary { identity.setup_gid } else { identity.host_owner().1 };
    with_ids_of(identity, || {
        own_groups(parent.payload, Gid::from_raw(gid));
        Ok(())
    })
}

/// The owner stays whoever started the container. Files differ with the kernel; what is missing needs no owner.
fn own_groups(payload: &GroupSet, gid: Gid) {
    let delegated = delegated_files();
    for group in &payload.groups {
        for dir in std::iter::once(&group.limit_dir).chain(&group.inner_dir) {
            let own = |file: &str, mode: u32| {
                let _ = rustix::fs::chownat(dir, file, None, Some(gid), AtFlags::empty());
                let _ = rustix::fs::chmodat(dir, file, Mode::from_raw_mode(mode), AtFlags::empty());
            };
            own(".", 0o775);
            match group.version {
                Version::V1 => ["cgroup.procs", "tasks"].iter().for_each(|f| own(f, 0o664)),
                Version::V2 => delegated.lines().for_each(|f| own(f, 0o664)),
            }
        }
    }
}

/// The user namespace that `idmap=` takes the map from.
fn map_of(parent: &Parent<'_>, source: &IdMapSource) -> Result<OwnedFd> {
    match source {
        IdMapSource::Container => {
            let namespace = parent.namespace(NamespaceKind::User);
            let namespace = namespace.ok_or_else(|| Error::invalid("idmap=container needs lxc.idmap"))?;
            namespace.try_clone_to_owned().doing(|| "copy a descriptor")
        }
        IdMapSource::File(file) => rustix::fs::open(&**file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .doing(|| format!("idmap={}: open the user namespace", file.display())),
    }
}

/// lxc.rootfs.options = idmap=. A directory's tree is still attached nowhere and only gets its map; an overlay is
/// made now, of layers that have theirs, and sent to the child.
pub fn idmap_rootfs(parent: &mut Parent<'_>) -> Result<()> {
    let Some(rootfs) = &parent.plan.rootfs else { return Ok(()) };
    let Some(source) = &rootfs.idmap else { return Ok(()) };
    let namespace = map_of(parent, source)?;
    if matches!(rootfs.storage, Storage::Overlay { .. }) {
        let tree = tree::idmapped_overlay(rootfs, namespace.as_fd())?;
        return parent.channel.send_descriptors(&[(Role::Rootfs, tree.as_fd())]);
    }
    let tree = parent.rootfs_tree.as_ref().ok_or_else(|| {
        Error::unsupported(
            "lxc.rootfs.options: idmap= needs root and cannot be combined with pre-mount hooks",
        )
    })?;
    tree::set_idmap(tree.as_fd(), namespace.as_fd())
}

/// Mount entries with `idmap=`: only in the host's user namespace can they be made.
pub fn idmap_entries(parent: &mut Parent<'_>) -> Result<()> {
    for entry in &parent.plan.mounts {
        let Some(source) = &entry.options.idmap else { continue };
        match map_of(parent, source).and_then(|namespace| tree::entry(entry, namespace.as_fd())) {
            Ok(tree) => parent.channel.send_descriptors(&[(Role::Entry, tree.as_fd())])?,
            Err(e) if entry.options.optional => {
                log::info!("optional mount entry {:?}: {e}", entry.text);
                let nothing = parent.spawned.pidfd.as_fd();
                parent.channel.send_descriptors(&[(Role::NoEntry, nothing)])?;
            }
            Err(e) => return Err(e.during(format!("mount entry {:?}", entry.text))),
        }
    }
    Ok(())
}

/// Whether the plan has devices to make.
pub fn has_devices(plan: &Plan) -> bool {
    plan.namespaces.has(NamespaceKind::Net)
        && plan
            .values
            .networks
            .values()
            .any(|n| n.kind.is_some_and(NetType::has_device) || n.script_up.is_some())
}

/// On the host; the other ends are made in the container's network namespace.
pub fn create_network(parent: &mut Parent<'_>) -> Result<()> {
    let path = format!("/proc/{}/ns/net", parent.spawned.pid.as_raw_pid());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let namespace = rustix::fs::open(&*path, flags, Mode::empty()).doing(|| format!("open {path}"))?;
    parent.spawned.network =
        Devices::create(&parent.plan.values, (namespace.as_fd(), parent.spawned.pid), parent.hooks)?;
    Ok(())
}

/// lxc.proc.*: files of /proc/PID of init.
pub fn write_procs(parent: &mut Parent<'_>) -> Result<()> {
    for (name, value) in &parent.plan.values.procs {
        let path = format!("/proc/{}/{}", parent.spawned.pid.as_raw_pid(), limits::dotted_path(name)?);
        write_proc(Path::new(&path), value, &format!("lxc.proc.{name} = {value}"))?;
    }
    Ok(())
}

/// lxc.prlimit.*
pub fn set_limits(parent: &mut Parent<'_>) -> Result<()> {
    apply_limits(&parent.plan.limits, parent.spawned.pid)
}

/// Sets resource limits of a process.
pub fn apply_limits(list: &[limits::ResourceLimit], pid: Pid) -> Result<()> {
    for limit in list {
        let Some(resource) = limit.resource() else { continue };
        let value = rustix::process::Rlimit { current: limit.soft, maximum: limit.hard };
        rustix::process::prlimit(Some(pid), resource, value)
            .doing(|| format!("lxc.prlimit.{}: set it", limit.name))?;
    }
    Ok(())
}

/// lxc.cgroup.devices.*: late, since setting up needed devices.
pub fn v1_devices(parent: &mut Parent<'_>) -> Result<()> {
    if parent.payload.inner.is_some() {
        // Written before the inner cgroup was made: the kernel refuses them now.
        return Ok(());
    }
    items::apply_v1(parent.layout, parent.payload, &parent.plan.values.cgroup1_items, true)
}

/// lxc.cgroup2.devices.*
pub fn v2_devices(parent: &mut Parent<'_>) -> Result<()> {
    if !parent.layout.is_unified() {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        // It takes CAP_BPF on the host. A container of an ordinary user makes no devices, and opens none that the
        // user may not.
        log::info!("lxc.cgroup2.devices.* has no effect in containers of ordinary users");
        return Ok(());
    }
    let mut rules = Vec::new();
    for (item, value) in &parent.plan.values.cgroup2_items {
        let allow = match item.as_str() {
            "devices.allow" => true,
            "devices.deny" => false,
            _ => continue,
        };
        rules.push(parse_rule(value, allow).map_err(|e| e.during(format!("lxc.cgroup2.{item} = {value}")))?);
    }
    match parent.payload.groups.iter().find(|g| g.version == Version::V2) {
        Some(group) => parent.spawned.filter.update(group.limit_dir.as_fd(), &rules),
        None => Ok(()),
    }
}

/// A device rule, with a path of the host resolved.
pub fn parse_rule(value: &str, allow: bool) -> Result<DeviceEntry> {
    let value = items::device_value(value)?;
    DeviceEntry::parse(&value, allow).map_err(|e| Error::invalid(e.to_string()))
}

/// On the host: the container is set up and waits.
pub fn start_host_hooks(parent: &mut Parent<'_>) -> Result<()> {
    parent.hooks.run(HookType::StartHost, parent.plan.hooks(HookType::StartHost), &[])
}

/// Done when the listener came: whoever answers is connected. Init waits for that, since this is a step.
pub fn serve_filter(parent: &mut Parent<'_>) -> Result<()> {
    match parent.spawned.notifier {
        Some(_) => Ok(()),
        None => Err(Error::new(Kind::Failed, "the child sent no descriptor of its seccomp filter")),
    }
}
