//! The order of a start: one list that drives both processes.
//!
//! The child walks its steps; at a meeting it announces itself, the monitor does its steps of that
//! meeting and answers. Steps and meetings that a plan does not need are left out by both, because
//! both ask the same predicate. The order is contract (spec: life cycle, sections 6 and 7); a test
//! prints it for a set of configurations.

use lxc_config::{HookType, NamespaceKind};

use super::child::{self, Child};
use super::parent::{self, Parent};
use crate::error::Result;
use crate::plan::Plan;

/// One thing that the child does.
pub struct ChildStep {
    /// Name, for messages.
    pub name: &'static str,
    /// Whether the plan asks for it.
    pub needed: fn(&Plan) -> bool,
    /// Does it.
    pub run: fn(&mut Child<'_>) -> Result<()>,
}

/// One thing that the monitor does while the child waits.
pub struct MonitorStep {
    /// Name, for messages.
    pub name: &'static str,
    /// Whether the plan asks for it.
    pub needed: fn(&Plan) -> bool,
    /// Does it.
    pub run: fn(&mut Parent<'_>) -> Result<()>,
}

/// An entry of the script.
pub enum Entry {
    /// The child's.
    Child(ChildStep),
    /// A meeting of both.
    Meeting(&'static str, &'static [MonitorStep]),
}

const fn step(name: &'static str, needed: fn(&Plan) -> bool, run: fn(&mut Child<'_>) -> Result<()>) -> Entry {
    Entry::Child(ChildStep { name, needed, run })
}

const fn monitor(
    name: &'static str,
    needed: fn(&Plan) -> bool,
    run: fn(&mut Parent<'_>) -> Result<()>,
) -> MonitorStep {
    MonitorStep { name, needed, run }
}

fn always(_: &Plan) -> bool {
    true
}

fn mapped(plan: &Plan) -> bool {
    plan.identity.is_mapped()
}

/// A root file system is only ever mounted in a mount namespace of the container's own; the plan
/// refuses it elsewhere, and so does this.
fn has_rootfs(plan: &Plan) -> bool {
    plan.rootfs.is_some() && new(plan, NamespaceKind::Mnt)
}

fn has_idmapped_entries(plan: &Plan) -> bool {
    plan.mounts.iter().any(|m| m.options.idmap.is_some())
}

fn new(plan: &Plan, kind: NamespaceKind) -> bool {
    plan.namespaces.has(kind)
}

fn hook(plan: &Plan, kind: HookType) -> bool {
    !plan.hooks(kind).is_empty()
}

/// Whether the filter asks somebody: init must not run before its questions are answered.
fn notifies(plan: &Plan) -> bool {
    plan.filter.as_ref().is_some_and(|f| f.notifies)
}

/// The whole start, from clone3 to exec.
pub static SCRIPT: &[Entry] = &[
    step("die with the monitor", always, child::die_with_monitor),
    step("join the v1 cgroups", always, child::join_cgroups),
    step("core scheduling", |p| p.values.sched_core, child::core_scheduling),
    Entry::Meeting(
        "identity",
        &[
            monitor("move to the cgroup", parent::has_helper, parent::move_to_cgroup),
            monitor("hold the namespaces", |p| mapped(p) || p.shows_namespaces(), parent::hold_namespaces),
            monitor("write the id maps", mapped, parent::write_id_maps),
            monitor("own the cgroups", mapped, parent::chown_cgroups),
            monitor(
                "id-map the root file system",
                |p| p.rootfs.as_ref().is_some_and(|r| r.idmap.is_some()),
                parent::idmap_rootfs,
            ),
            monitor("id-map mount entries", has_idmapped_entries, parent::idmap_entries),
        ],
    ),
    step("find the root file system", child::finds_rootfs, child::find_rootfs),
    step("become the container's root", mapped, child::become_root),
    step("new network namespace", |p| new(p, NamespaceKind::Net), child::enter_net),
    step("new cgroup namespace", |p| new(p, NamespaceKind::Cgroup), child::unshare_cgroup),
    step("new time namespace", |p| new(p, NamespaceKind::Time), child::unshare_time),
    Entry::Meeting(
        "configure",
        &[
            monitor("create the network", parent::has_devices, parent::create_network),
            monitor("lxc.proc", |p| !p.values.procs.is_empty(), parent::write_procs),
            monitor("lxc.prlimit", |p| !p.limits.is_empty(), parent::set_limits),
        ],
    ),
    step("open /proc", |p| !p.values.sysctls.is_empty(), child::open_proc),
    step("isolate the mounts", |p| new(p, NamespaceKind::Mnt), child::isolate_mounts),
    step("pre-mount hooks", |p| hook(p, HookType::PreMount), |c| c.run_hooks(HookType::PreMount)),
    step("mount rootfs", |p| has_rootfs(p) || p.rootfs.is_none(), child::mount_rootfs),
    step("hostname", child::has_hostname, child::set_hostname),
    step("session keyring", |p| !p.values.keyring_session, child::new_keyring),
    step("configure the network", |p| new(p, NamespaceKind::Net), child::configure_network),
    step("mount /dev", |p| p.values.autodev && has_rootfs(p), child::mount_dev),
    step("mount /proc", |p| p.values.mount_auto.proc.is_some(), child::mount_proc),
    step("mount /sys", |p| p.values.mount_auto.sys.is_some(), child::mount_sys),
    step("mount entries", |p| p.mounts.iter().any(|m| m.options.idmap.is_none()), child::mount_entries),
    step("id-mapped mount entries", has_idmapped_entries, child::mount_idmapped_entries),
    step("mount cgroups", |p| p.values.mount_auto.cgroup.is_some(), child::mount_cgroups),
    step("mount hooks", |p| hook(p, HookType::Mount), |c| c.run_hooks(HookType::Mount)),
    step("check for an overmounted root", has_rootfs, child::check_overmount),
    step(
        "autodev hooks",
        |p| p.values.autodev && hook(p, HookType::Autodev),
        |c| c.run_hooks(HookType::Autodev),
    ),
    step("populate /dev", |p| p.values.autodev && has_rootfs(p), child::populate_dev),
    step("start hooks exist", |p| hook(p, HookType::Start), child::check_start_hooks),
    step("terminals", always, child::set_up_terminals),
    step("boot id", |p| p.values.autodev && has_rootfs(p), child::boot_id),
    step("open the security label", |p| p.label.changes(), child::open_label),
    step("pivot", has_rootfs, child::pivot),
    step("personality", |p| p.values.arch.is_some(), child::personality),
    step("lxc.sysctl", |p| !p.values.sysctls.is_empty(), child::write_sysctls),
    step("capability bounding set", |p| !p.drop_capabilities.is_empty(), child::drop_bounding_set),
    step("security label", |p| p.label.changes(), child::change_label),
    step("no_new_privs", |p| p.values.no_new_privs, child::no_new_privs),
    step("seccomp", |p| p.filter.is_some(), child::set_filter),
    step("start hooks", |p| hook(p, HookType::Start), child::start_hooks),
    step("new session", always, child::new_session),
    step("working directory", |p| p.values.init.cwd.is_some(), child::change_directory),
    Entry::Meeting(
        "ready",
        &[
            monitor(
                "v1 device rules",
                |p| p.values.cgroup1_items.iter().any(|(k, _)| k.starts_with("devices.")),
                parent::v1_devices,
            ),
            monitor(
                "v2 device rules",
                |p| p.values.cgroup2_items.iter().any(|(k, _)| k.starts_with("devices.")),
                parent::v2_devices,
            ),
            monitor("start-host hooks", |p| hook(p, HookType::StartHost), parent::start_host_hooks),
            monitor("serve what the filter asks", notifies, parent::serve_filter),
        ],
    ),
    step("hand over", always, child::hand_over),
];

/// The monitor's steps of a meeting that the plan needs.
pub fn needed_steps<'a>(steps: &'a [MonitorStep], plan: &'a Plan) -> impl Iterator<Item = &'a MonitorStep> {
    steps.iter().filter(|s| (s.needed)(plan))
}

/// Meetings that the plan needs, with their numbers.
pub fn meetings(plan: &Plan) -> impl Iterator<Item = (u8, &'static str, &'static [MonitorStep])> {
    SCRIPT.iter().enumerate().filter_map(move |(i, entry)| match entry {
        Entry::Meeting(name, steps) if needed_steps(steps, plan).next().is_some() => {
            Some((i as u8, *name, *steps))
        }
        _ => None,
    })
}

/// Names of all steps of a plan in order, the monitor's indented: for tests and `--dry-run`.
pub fn describe(plan: &Plan) -> Vec<String> {
    let mut out = Vec::new();
    for entry in SCRIPT {
        match entry {
            Entry::Child(s) if (s.needed)(plan) => out.push(s.name.to_string()),
            Entry::Child(_) => {}
            Entry::Meeting(name, steps) => {
                let mut needed = needed_steps(steps, plan).peekable();
                if needed.peek().is_some() {
                    out.push(format!("-- {name}"));
                    out.extend(needed.map(|s| format!("   monitor: {}", s.name)));
                }
            }
        }
    }
    out
}
