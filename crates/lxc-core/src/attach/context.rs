//! What has to be known of a container before it is entered: asked of its monitor and of /proc, out here.

use std::os::fd::{AsFd, OwnedFd};

use lxc_config::{NamespaceKind, Seccomp};
use lxc_sys::{Errno, signal};
use rustix::process::Pid;

use super::Options;
use crate::cgroup::attach::AttachGroups;
use crate::container::Container;
use crate::error::{Doing, Error, Kind, Result};
use crate::lifecycle::stop::pid_of;
use crate::lsm;
use crate::plan::label::Label;
use crate::plan::namespaces::flag;
use crate::protocol::wire::Command;
use crate::protocol::{Client, Pending};
use crate::seccomp::Filter;
use crate::terminal::pty::Pty;

/// What was learned of the container before entering it.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) pidfd: OwnedFd,
    pub(super) namespaces: u64,
    pub(super) groups: AttachGroups,
    pub(super) personality: Option<bool>,
    pub(super) no_new_privs: bool,
    /// lxc.seccomp.profile, for a command that is confined like the container.
    pub(super) filter: Option<Filter>,
    /// Where the listener of a filter that asks goes: a request to the monitor that waits for it.
    pub(super) listener_line: Option<OwnedFd>,
    /// What to change the label to.
    pub(super) label: Option<Label>,
    pub(super) init: InitStatus,
    pub(super) environment: Vec<(String, String)>,
    pub(super) terminal: Option<Pty>,
    pub(super) signal_mask: signal::SignalSet,
}

/// Parts of /proc/PID/status of init.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct InitStatus {
    /// Bounding set; `None` where the kernel does not say.
    pub(super) bounding: Option<u64>,
    /// Uid and gid to set up with, inside, where a user namespace is joined.
    pub(super) setup: Option<(u32, u32)>,
}

impl Container {
    pub(super) fn attach_context(&self, options: &Options) -> Result<Context> {
        // All questions at once: the monitor is woken but once.
        let client = self.client();
        let flags = options.namespaces.is_none().then(|| client.begin(Command::GetCloneFlags, 0, &[]));
        let groups = options.move_to_cgroup.then(|| client.begin_cgroup_ctx());
        let arch = options.personality.is_none().then(|| client.begin_config_item("lxc.arch"));
        let seccomp = options.confine.then(|| client.begin_config_item("lxc.seccomp.profile"));
        let no_new_privs = client.begin_config_item("lxc.no_new_privs");
        let pidfd = self.init_pidfd()?;
        let pid = pid_of(&pidfd)?;
        let namespaces = match flags {
            None => options.namespaces.unwrap_or(0),
            Some(flags) => {
                let own = flags.flags()?;
                own | differing_namespaces(pid, own)
            }
        };
        let joins_user = namespaces & flag(NamespaceKind::User) != 0;
        let init = init_status(pid, joins_user)?;
        let label = label_to_take(pid, options);
        // The pid is still init's: what was read is about it.
        signal::send_to_pidfd(pidfd.as_fd(), 0)
            .doing(|| "look at init")
            .map_err(|e| e.with_kind(Kind::NotRunning))?;
        let groups = match groups {
            Some(asked) => attach_groups(&client, asked)?,
            None => AttachGroups::default(),
        };
        let personality = match arch {
            None => options.personality,
            Some(arch) => arch.item()?.map(|arch| arch == "i686"),
        };
        let filter = match seccomp {
            Some(profile) => match profile.item()? {
                Some(profile) if !profile.is_empty() => {
                    let keys = &self.config.values.seccomp;
                    crate::plan::filter(&Seccomp { profile: Some(profile.into()), ..keys.clone() })?
                }
                _ => None,
            },
            None => None,
        };
        let listener_line = listener_line(&client, filter.as_ref())?;
        if self.config.values.sched_core {
            let from = Pid::from_raw(pid).ok_or_else(|| Error::new(Kind::NotRunning, "init has no pid"))?;
            share_core_cookie(from)?;
        }
        let no_new_privs = no_new_privs.item()?.as_deref() == Some("1") || options.no_new_privs;
        let terminal = if options.terminal { Some(open_terminal(&client)?) } else { None };
        Ok(Context {
            pidfd,
            namespaces,
            groups,
            personality,
            no_new_privs,
            listener_line,
            filter,
            label,
            init,
            environment: crate::plan::Environment::resolve(&self.config.values).runtime,
            terminal,
            signal_mask: signal::block(&signal::SignalSet::empty()).doing(|| "look at the signal mask")?,
        })
    }
}

/// Where a filter that asks has a proxy: a request to the monitor. It is made out here: inside, the monitor's socket is
/// not to be found.
fn listener_line(client: &Client, filter: Option<&Filter>) -> Result<Option<OwnedFd>> {
    // What the container runs with counts, not what its file says now.
    let has_proxy =
        || client.config_item("lxc.seccomp.notify.proxy").map(|p| p.is_some_and(|p| !p.is_empty()));
    if !filter.is_some_and(|f| f.notifies) || !has_proxy()? {
        return Ok(None);
    }
    client.begin_add_listener().doing(|| "ask the monitor to take a listener").map(Some)
}

/// Shares cores with the container's init: what is run by this process inherits it.
fn share_core_cookie(init: Pid) -> Result<()> {
    match rustix::thread::pull_core_scheduling_cookie(init, rustix::thread::CoreSchedulingScope::Thread) {
        // No simultaneous multi-threading: there is nothing to share.
        Ok(()) | Err(Errno::NODEV | Errno::INVAL) => Ok(()),
        Err(e) => Err(Error::os("join the container's core scheduling group", e)),
    }
}

fn attach_groups(client: &Client, asked: Pending) -> Result<AttachGroups> {
    match asked.directories() {
        Ok(directories) => AttachGroups::from_directories(directories),
        // The container runs without cgroups of its own.
        Err(e) if e.errno() == Some(Errno::NOENT) => Ok(AttachGroups::default()),
        Err(e) if e.errno() == Some(Errno::NOSYS) => match client.cgroup2_fd() {
            Ok(dir) => AttachGroups::from_directories(vec![dir]),
            Err(_) => Err(e.with_hint("the container's monitor is too old: attach with -e CGROUP")),
        },
        Err(e) => Err(e.during("enter the container's cgroups")),
    }
}

/// Namespaces that init is in and we are not, though they are not its own: shared ones.
fn differing_namespaces(pid: i32, own: u64) -> u64 {
    let inode = |path: String| rustix::fs::stat(path).ok().map(|s| s.st_ino);
    let differs = |kind: &NamespaceKind| {
        let (ours, theirs) = (
            inode(format!("/proc/self/ns/{}", kind.name())),
            inode(format!("/proc/{pid}/ns/{}", kind.name())),
        );
        ours.is_some() && theirs.is_some() && ours != theirs
    };
    let shared = NamespaceKind::ALL.iter().filter(|k| own & flag(**k) == 0);
    shared.filter(|k| differs(k)).fold(0, |mask, k| mask | flag(*k))
}

fn init_status(pid: i32, joins_user: bool) -> Result<InitStatus> {
    let path = format!("/proc/{pid}/status");
    let text = crate::files::read_text(&path).doing(|| format!("read {path}"))?;
    let field = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)).map(str::trim);
    let mut status =
        InitStatus { bounding: field("CapBnd:").and_then(|b| u64::from_str_radix(b, 16).ok()), setup: None };
    if joins_user {
        let setup = |field_name: &str, map: &str| -> Result<u32> {
            let real =
                field(field_name).and_then(|f| f.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0);
            let path = format!("/proc/{pid}/{map}");
            let map = crate::files::read_text(&path).doing(|| format!("read {path}"))?;
            Ok(id_inside(&map, real))
        };
        status.setup = Some((setup("Uid:", "uid_map")?, setup("Gid:", "gid_map")?));
    }
    Ok(status)
}

/// 0 where the map has it, else what the host's id `real` is inside.
fn id_inside(map: &str, real: u64) -> u32 {
    let lines = map.lines().filter_map(|l| {
        let mut n = l.split_ascii_whitespace().map(|w| w.parse::<u64>().ok());
        Some((n.next()??, n.next()??, n.next()??))
    });
    let lines: Vec<(u64, u64, u64)> = lines.collect();
    if lines.iter().any(|(inside, ..)| *inside == 0) {
        return 0;
    }
    lines
        .iter()
        .find(|(_, host, count)| real >= *host && real - host < *count)
        .and_then(|(inside, host, _)| u32::try_from(inside + (real - host)).ok())
        .unwrap_or(0)
}

/// The label that the attached process must change to.
fn label_to_take(init: i32, options: &Options) -> Option<Label> {
    if !options.confine {
        return None;
    }
    let wanted = match &options.label {
        Some(label) => lsm::named(label),
        None => lsm::label_of(init),
    };
    wanted.filter(|label| Some(label) != lsm::label_of(rustix::process::getpid().as_raw_pid()).as_ref())
}

/// A terminal of the container's devpts; of the host's where it has none.
fn open_terminal(client: &Client) -> Result<Pty> {
    match client.devpts_fd() {
        Ok(devpts) => Pty::open_in(devpts.as_fd()),
        Err(_) => Pty::open_host(),
    }
}
