//! One container's whole run: phases of the monitor (spec: life cycle, section 4).

use std::borrow::Cow;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use lxc_config::{HookType, NamespaceKind};
use lxc_sys::process;
use lxc_sys::signal::{self, SignalSet};
use rustix::fs::{Mode, OFlags, Uid};
use rustix::process::{Pid, PidfdFlags};

use super::confine;
use super::console::Console;
use super::event_loop::{Clients, Running};
use super::states::Publisher;
use super::successor::leave_and_remove;
use super::{Begin, Exit, ReportEnd};
use crate::cgroup::{GroupSet, Layout, items};
use crate::error::{Doing, Error, Result};
use crate::hooks::HookContext;
use crate::lock;
use crate::log;
use crate::lsm::apparmor::Loaded;
use crate::mount::tree;
use crate::plan::namespaces::ShareSource;
use crate::plan::{Identity, Plan, Storage, locate};
use crate::protocol::Client;
use crate::spawn::ahead::Ahead;
use crate::spawn::child::Inputs;
use crate::spawn::isolated::with_ids_of;
use crate::spawn::{Spawned, spawn};
use crate::state::State;
use crate::storage::owned::Removal;
use crate::storage::{Connection, Mounted};
use crate::terminal::pty::Pty;

/// Signals that stay deliverable: faults, and the size of the user's terminal.
fn handled_signals() -> SignalSet {
    SignalSet::all().without(libc::SIGBUS).without(libc::SIGILL).without(libc::SIGSEGV)
}

/// What lasts over all turns of a container that reboots itself.
struct Monitor<'a> {
    plan: Box<Plan>,
    config: Cow<'a, lxc_config::Config>,
    layout: Layout,
    groups: GroupSet,
    publisher: Publisher,
    hooks: HookContext,
    signals: OwnedFd,
    mask_before: SignalSet,
    clients: Clients,
    network: Option<Ahead>,
    /// The profile made for this container; it stays loaded over a reboot.
    profile: Option<Loaded>,
    /// What the root file system needs as long as it is mounted.
    connection: Option<Connection>,
}

/// Supervises the container until it ends for good: a reboot from inside is another turn.
///
/// # Errors
/// The start failed; everything was taken down again and the report was sent.
pub fn run(begin: Begin<'_>) -> Result<Exit> {
    let Begin { plan, config, listener, layout, groups, network, report } = begin;
    let publisher = Publisher::new(&plan.lxcpath, &plan.name);
    let hooks = HookContext::new(&plan);
    let prepared = prepare(&plan);
    let mut listener = Some(listener);
    let mut report = report;
    let (signals, mask_before) = match prepared {
        Ok(p) => p,
        Err(e) => {
            leave_and_remove(&layout, &groups, &plan);
            return Err(fail(e, &mut report));
        }
    };
    let mut monitor = Monitor {
        plan,
        config,
        layout,
        groups,
        publisher,
        hooks,
        signals,
        mask_before,
        clients: Clients::default(),
        network,
        profile: None,
        connection: None,
    };
    let result = loop {
        match monitor.turn(&mut listener, &mut report) {
            Ok(Turn::Reboot) => {}
            Ok(Turn::End(exit)) => break Ok(exit),
            Err(e) => break Err(e),
        }
    };
    let result = result.map_err(|e| locate(e, &monitor.config));
    monitor.finish();
    // Whoever asked for the start learns of its failure when nothing is left of it.
    result.map_err(|e| fail(e, &mut report))
}

/// Tells the caller of the start, and the log, why it failed.
fn fail(error: Error, report: &mut Option<ReportEnd>) -> Error {
    // Below the level of stderr: whoever asked for the start prints it.
    ::log::warn!("{error}");
    let trace = log::take_ring();
    if let Some(report) = report.take() {
        report.failed(&error, &trace);
    }
    error
}

/// Signals; and a mount namespace for the monitor where it shall have one.
fn prepare(plan: &Plan) -> Result<(OwnedFd, SignalSet)> {
    if plan.values.monitor_unshare {
        process::unshare(libc::CLONE_NEWNS as u64)
            .doing(|| "lxc.monitor.unshare: unshare the mount namespace")?;
        crate::mount::pivot::isolate()?;
    }
    let handled = handled_signals();
    let before = signal::block(&handled).doing(|| "block signals")?;
    Ok((signal::signalfd(&handled).doing(|| "make a signalfd")?, before))
}

enum Turn {
    Reboot,
    End(Exit),
}

/// An open file keeps the container from making the host's file system read-only. Opened before the child is made, which
/// may not wait for anything.
fn pin_rootfs(plan: &Plan) -> Option<OwnedFd> {
    let rootfs = plan.rootfs.as_ref()?;
    match &rootfs.storage {
        Storage::Dir(dir) | Storage::Btrfs(dir) if !plan.identity.is_mapped() => {
            let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
            rustix::fs::open(dir, flags, Mode::from_raw_mode(0o600)).ok()
        }
        _ => None,
    }
}

/// Terminals of the host become the container's. Their group stays what devpts gave, that of terminals, unless it is an
/// ordinary user who gives them: in a user namespace only files can be given away whose ids are both mapped.
fn give_terminals<'a>(identity: &Identity, terminals: impl Iterator<Item = &'a Pty>) -> Result<()> {
    let what = || "own the console";
    let terminals: Vec<&Pty> = terminals.collect();
    if rustix::process::geteuid().is_root() || !identity.is_mapped() {
        let uid = Uid::from_raw(identity.host_owner().0);
        return terminals.iter().try_for_each(|t| rustix::fs::fchown(&t.pty, Some(uid), None).doing(what));
    }
    if terminals.is_empty() {
        return Ok(());
    }
    for terminal in &terminals {
        rustix::fs::fchown(&terminal.pty, None, Some(rustix::process::getegid())).doing(what)?;
    }
    with_ids_of(identity, || {
        let uid = Uid::from_raw(identity.setup_uid);
        terminals.iter().try_for_each(|t| rustix::fs::fchown(&t.pty, Some(uid), None).doing(what))
    })
}

impl Monitor<'_> {
    /// From STARTING to the end of init, and taking down.
    fn turn(&mut self, listener: &mut Option<OwnedFd>, report: &mut Option<ReportEnd>) -> Result<Turn> {
        // Nothing of an earlier turn is told to the hooks of this one.
        self.hooks = HookContext::new(&self.plan);
        self.publisher.state(State::Starting);
        self.clients.notify(&self.plan.name, State::Starting);
        let started = self.start();
        let (mut payload, mut spawned, console, pin) = match started {
            Ok(s) => s,
            Err(e) => {
                self.publisher.state(State::Aborting);
                self.clients.notify(&self.plan.name, State::Aborting);
                self.end(None, GroupSet::default(), listener, false);
                return Err(e);
            }
        };
        // What was generated is what a running container answers when it is asked.
        for (number, network) in &self.plan.values.networks {
            if let Some(name) = crate::network::setup::container_name(&self.plan.values, *number)
                && network.kind != Some(lxc_config::NetType::Empty)
                && let Some(told) = self.config.to_mut().values.networks.get_mut(number)
            {
                told.name = Some(name);
                let host = spawned.network.host_name(*number);
                told.veth_pair = host.map(String::from).or(told.veth_pair.take());
            }
        }
        let clients = std::mem::take(&mut self.clients);
        let served = Running::new(
            &self.plan,
            &self.config,
            &self.layout,
            &payload,
            &mut spawned,
            console,
            &self.publisher,
            clients,
        )
        .and_then(|mut running| {
            running.set_state(State::Running);
            if let Some(report) = report.take() {
                report.running();
            }
            // The trace is of no use any more.
            log::drop_ring();
            process::release_free_memory();
            match listener.as_ref() {
                Some(socket) => {
                    confine::serve(&self.plan, || running.serve(socket.as_fd(), self.signals.as_fd()))
                }
                None => Err(Error::invalid("the command socket is closed")),
            }
        });
        drop(pin);
        let (exit, clients) = match served {
            Ok(ended) => ended,
            Err(e) => {
                let _ = signal::send_to_pidfd(spawned.pidfd.as_fd(), libc::SIGKILL);
                let network = std::mem::take(&mut spawned.network);
                network.take_down(&self.plan.values, &self.hooks);
                self.end(Some(spawned), std::mem::take(&mut payload), listener, false);
                return Err(e);
            }
        };
        self.clients = clients;
        let reboot = self.is_reboot(exit);
        ::log::info!("init ended: {exit:?}");
        self.publisher.exit(exit.raw());
        std::mem::take(&mut spawned.network).take_down(&self.plan.values, &self.hooks);
        let again = self.end(Some(spawned), payload, listener, reboot);
        Ok(if again { Turn::Reboot } else { Turn::End(exit) })
    }

    /// The kernel turns reboot(2) in a pid namespace into these signals.
    fn is_reboot(&self, exit: Exit) -> bool {
        exit == Exit::Signal(libc::SIGHUP) && self.plan.namespaces.has(NamespaceKind::Pid)
    }

    /// Phases before the main loop.
    fn start(&mut self) -> Result<(GroupSet, Spawned, Console, Option<OwnedFd>)> {
        let plan = &self.plan;
        self.hooks
            .run(HookType::PreStart, plan.hooks(HookType::PreStart), &[])
            .doing(|| "pre-start hooks")?;
        if self.profile.is_none() {
            self.profile = Loaded::load(plan)?;
        }
        let foreground = !plan.options.daemonize;
        // The host's devpts serves where the container has none, or none for its console.
        let console = (plan.console && plan.console_is_hosts()).then(Pty::open_host).transpose()?;
        let ttys = (0..plan.host_ttys()).map(|_| Pty::open_host()).collect::<Result<Vec<_>>>()?;
        give_terminals(&plan.identity, console.iter().chain(&ttys))?;
        let share = self.shared_namespaces()?;
        let mut payload = GroupSet::create(&self.layout, &plan.cgroups.payload)?;
        let mut pin = None;
        let spawned = self.limit_and_spawn(&mut payload, console, ttys, share, &mut pin);
        let (spawned, console) = match spawned.and_then(|mut spawned| {
            let pty = spawned.console.take();
            match Console::new(&self.plan.values, pty, foreground) {
                Ok(console) => Ok((spawned, console)),
                Err(e) => {
                    let _ = signal::send_to_pidfd(spawned.pidfd.as_fd(), libc::SIGKILL);
                    let _ = rustix::process::waitid(
                        rustix::process::WaitId::PidFd(spawned.pidfd.as_fd()),
                        rustix::process::WaitIdOptions::EXITED,
                    );
                    Err(e)
                }
            }
        }) {
            Ok(s) => s,
            Err(e) => {
                self.remove_payload(&payload);
                return Err(e);
            }
        };
        Ok((payload, spawned, console, pin))
    }

    fn limit_and_spawn(
        &mut self,
        payload: &mut GroupSet,
        console: Option<Pty>,
        ttys: Vec<Pty>,
        share: Vec<(NamespaceKind, OwnedFd)>,
        pin: &mut Option<OwnedFd>,
    ) -> Result<Spawned> {
        let network = self.network.take();
        let rootfs = self.rootfs_tree()?;
        let (rootfs_tree, connection) = rootfs.map_or((None, None), |m| (Some(m.tree), m.connection));
        self.connection = connection;
        let plan = &self.plan;
        let values = &plan.values;
        if payload.inner.is_some() {
            items::apply_v1(&self.layout, payload, &values.cgroup1_items, true)?;
            payload.create_inner(&self.layout)?;
        }
        payload.enable_controllers(&self.layout)?;
        items::apply_v1(&self.layout, payload, &values.cgroup1_items, false)?;
        items::apply_v2(&self.layout, payload, &values.cgroup2_items)?;
        let own = rustix::process::getpid();
        let inputs = Inputs {
            layout: &self.layout,
            cgroup_path: payload.groups.first().map(|g| g.path.clone()).unwrap_or_default(),
            v1_tasks: payload.v1_tasks()?,
            rootfs_tree,
            console,
            ttys,
            network,
            share,
            signal_mask: self.mask_before,
            monitor_pidfd: rustix::process::pidfd_open(own, PidfdFlags::empty()).doing(|| "open a pidfd")?,
        };
        *pin = pin_rootfs(plan);
        spawn(plan, &self.layout, payload, &mut self.hooks, inputs)
    }

    /// The root file system as a mount that is attached nowhere: made here, where no id map stands
    /// in the way of its path, unless hooks of the child have a say in what is found.
    fn rootfs_tree(&self) -> Result<Option<Mounted>> {
        let Some(rootfs) = &self.plan.rootfs else { return Ok(None) };
        if let Storage::Overlay { upper, work, .. } = &rootfs.storage {
            for dir in [upper, work] {
                std::fs::create_dir_all(dir).doing(|| format!("create {}", dir.display()))?;
            }
            if rootfs.idmap.is_some() {
                // It is the root directory that the container sees.
                let (uid, gid) = self.plan.identity.host_owner();
                std::os::unix::fs::lchown(upper, Some(uid), Some(gid))
                    .doing(|| format!("own {}", upper.display()))?;
            }
        }
        if !std::path::Path::new(&rootfs.mount).is_dir() {
            std::fs::create_dir_all(&rootfs.mount)
                .doing(|| format!("lxc.rootfs.mount = {}", rootfs.mount.display()))?;
        }
        // Layers with an id map wait for the user namespace.
        let later = rootfs.idmap.is_some() && matches!(rootfs.storage, Storage::Overlay { .. });
        let privileged = rustix::process::geteuid().is_root();
        let hooks_first = !self.plan.hooks(HookType::PreMount).is_empty() && !rootfs.storage.needs_mounting();
        if later || !privileged || hooks_first {
            return Ok(None);
        }
        tree::make(rootfs).map(Some).map_err(|e| e.during("mount rootfs"))
    }

    fn shared_namespaces(&self) -> Result<Vec<(NamespaceKind, OwnedFd)>> {
        let open = |path: &Path| {
            rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .doing(|| format!("open {}", path.display()))
        };
        let one = |kind: NamespaceKind, source: &ShareSource| -> Result<OwnedFd> {
            let of = |pid: Pid| open(Path::new(&format!("/proc/{}/ns/{}", pid.as_raw_pid(), kind.name())));
            match source {
                ShareSource::File(path) => open(path),
                ShareSource::Process(pid) => {
                    of(Pid::from_raw(*pid).ok_or_else(|| Error::invalid("no such process"))?)
                }
                ShareSource::Container { lxcpath, name } => of(Client::new(lxcpath, name).init_pid()?),
            }
        };
        self.plan
            .namespaces
            .share
            .iter()
            .map(|(kind, source)| {
                let fd = one(*kind, source).doing(|| format!("lxc.namespace.share.{}", kind.name()))?;
                Ok((*kind, fd))
            })
            .collect()
    }

    /// An ordinary user may not remove what the container's root has made below its cgroups.
    fn remove_payload(&self, payload: &GroupSet) {
        let remove = || {
            payload.remove(&self.layout);
            Ok(())
        };
        if !payload.try_remove(&self.layout)
            && let Err(e) = with_ids_of(&self.plan.identity, remove)
        {
            ::log::warn!("remove the container's cgroups: {e}");
        }
    }

    /// The end phase (spec: life cycle, 4.1). Returns whether the container starts again.
    fn end(
        &mut self,
        spawned: Option<Spawned>,
        payload: GroupSet,
        listener: &mut Option<OwnedFd>,
        reboot: bool,
    ) -> bool {
        let name = self.plan.name.clone();
        self.publisher.state(State::Stopping);
        self.clients.notify(&name, State::Stopping);
        let mut hooks = self.hooks.clone();
        hooks.set("LXC_TARGET", if reboot { "reboot" } else { "stop" });
        let mut namespaces = Vec::new();
        if let Some(spawned) = &spawned {
            use std::os::fd::AsRawFd;
            for (kind, fd) in &spawned.namespaces {
                let path =
                    format!("/proc/{}/fd/{}", rustix::process::getpid().as_raw_nonzero(), fd.as_raw_fd());
                hooks.set(&format!("LXC_{}_NS", kind.name().to_uppercase()), path.clone());
                namespaces.push(format!("{}:{path}", kind.name()));
            }
        }
        let logged = |result: Result<()>| match result {
            Ok(()) => true,
            Err(e) => {
                ::log::error!("{e}");
                false
            }
        };
        logged(hooks.run(HookType::Stop, self.plan.hooks(HookType::Stop), &namespaces));
        self.remove_payload(&payload);
        self.connection = None;
        if reboot {
            self.publisher.state(State::Stopped);
            self.clients.notify(&name, State::Stopped);
        } else {
            leave_and_remove(&self.layout, &self.groups, &self.plan);
            self.groups = GroupSet::default();
            *listener = None;
            self.publisher.state(State::Stopped);
        }
        drop(spawned);
        let ok = logged(hooks.run(HookType::PostStop, self.plan.hooks(HookType::PostStop), &[]));
        let again = reboot && ok;
        if again {
            self.clients.retain_over_reboot();
        } else if reboot {
            leave_and_remove(&self.layout, &self.groups, &self.plan);
            self.groups = GroupSet::default();
            *listener = None;
        }
        again
    }

    /// The very end: what an ephemeral container leaves is removed, and everybody who waited learns
    /// of the end by the end of the connection.
    fn finish(self) {
        if let Some(profile) = self.profile {
            profile.remove();
        }
        if self.plan.values.ephemeral
            && let Err(e) = {
                let place = (self.plan.home.clone(), self.plan.name.clone());
                let rootfs = self.plan.rootfs.as_ref().filter(|_| self.plan.values.rootfs.managed);
                let storage = rootfs.map(|rootfs| &rootfs.storage);
                // Nobody makes a clone of it meanwhile.
                let _lock = lock::lock_container(&place.0, &place.1);
                Removal::of(&place, storage)
                    .and_then(|removal| with_ids_of(&self.plan.identity, || removal.run()))
            }
        {
            ::log::error!("remove the ephemeral container: {e}");
        }
        if let Some(path) = &self.plan.options.pidfile {
            let _ = std::fs::remove_file(path);
        }
        drop(self.clients);
        // Last of all: signals that came meanwhile are taken, not delivered.
        while let Ok(Some(_)) = signal::read_signal(self.signals.as_fd()) {}
        let _ = signal::set_blocked(&self.mask_before);
    }
}
