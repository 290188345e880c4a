//! From the process of a command to a monitor of its own.

use std::borrow::Cow;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use lxc_config::Config;
use lxc_sys::clone::{Cloned, Fork, SingleThreaded, clone3, exit_now, fork};
use lxc_sys::{process, title};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, WaitOptions, getpid};

use super::successor::leave_and_remove;
use super::{Begin, ReportEnd, ReportReader, StartFailure, report_pair, supervise};
use crate::cgroup::scope::{self, Scope};
use crate::cgroup::{GroupSet, Layout, group, layout};
use crate::error::{Doing, Error, Result};
use crate::log;
use crate::plan::Plan;
use crate::spawn::ahead;

/// The cgroups of a monitor, which the calling process has joined as far as it can cheaply: all v1
/// hierarchies. The v2 one is left to [`clone3`].
pub fn make_monitor_groups(plan: &Plan, only: Option<&str>) -> Result<(Layout, GroupSet)> {
    make_groups_in(layout::detect_in(own_scope(plan), plan.cgroups.relative, only)?, plan)
}

fn make_groups_in(layout: Layout, plan: &Plan) -> Result<(Layout, GroupSet)> {
    if layout.hierarchies.is_empty() {
        ::log::warn!(
            "no cgroup here is writable for this user: the container runs in the caller's, without limits"
        );
    }
    let groups = GroupSet::create(&layout, &plan.cgroups.monitor)?;
    match groups.enable_controllers(&layout).and_then(|()| group::join(&groups.v1_tasks()?)) {
        Ok(()) => Ok((layout, groups)),
        Err(e) => {
            // Some of them it may have joined already.
            group::leave(&layout, &groups, &plan.cgroups.pivot, false);
            groups.remove(&layout);
            Err(e)
        }
    }
}

/// An ordinary user's systemd gives a cgroup below which others can be made. Where there is none the caller's own may do,
/// or none.
fn own_scope(plan: &Plan) -> Option<Scope> {
    if plan.cgroups.relative || !scope::is_wanted() {
        return None;
    }
    match scope::enter(&plan.name) {
        Ok(scope) => Some(scope),
        Err(e) => {
            ::log::warn!("no scope of systemd for the container: {e}");
            None
        }
    }
}

/// The title of every monitor, by which others find it.
pub fn monitor_title(plan: &Plan) -> String {
    format!("[lxc monitor] {} {}", plan.lxcpath.display(), plan.name)
}

/// Starts the container in a daemon and waits for its report.
///
/// # Errors
/// Why the container does not run. Nothing of it is left then.
pub fn start(
    plan: Box<Plan>,
    config: &Config,
    listener: OwnedFd,
    cgroup_use: Option<&str>,
) -> std::result::Result<(), StartFailure> {
    let early = |error| StartFailure { error, trace: String::new() };
    // A thread of the caller's may be about to end: then it goes the other way.
    if plan.options.caller_ends
        && !scope::is_wanted()
        && let Ok(alone) = SingleThreaded::check()
    {
        let layout = layout::detect_in(None, plan.cgroups.relative, cgroup_use).map_err(early)?;
        // Cgroups of v1 the calling process would have to join, and leave again.
        if layout.is_unified() {
            return start_as_child(alone, plan, config, listener, layout);
        }
    }
    let (reader, report) = report_pair().map_err(early)?;
    match fork().doing(|| "fork the monitor").map_err(early)? {
        Fork::Child(alone) => {
            drop(reader);
            exit_now(transient(alone, plan, config, listener, report, cgroup_use))
        }
        Fork::Parent(pid) => {
            drop((report, listener));
            wait(pid, reader)
        }
    }
}

fn wait(transient: rustix::process::Pid, reader: ReportReader) -> std::result::Result<(), StartFailure> {
    let result = reader.wait();
    // It ended long ago; without this it would be a zombie of the caller's.
    let _ = rustix::process::waitpid(Some(transient), WaitOptions::empty());
    result
}

/// The same with a monitor that is a child of the calling process, until that ends.
fn start_as_child(
    alone: SingleThreaded,
    plan: Box<Plan>,
    config: &Config,
    listener: OwnedFd,
    layout: Layout,
) -> std::result::Result<(), StartFailure> {
    log::start_ring();
    let failed = |error: Error| StartFailure { error, trace: log::take_ring().concat() };
    let (reader, report) = report_pair().map_err(failed)?;
    let (layout, groups) = make_groups_in(layout, &plan).map_err(failed)?;
    let (maker, network) = ahead::pair(&plan).unzip();
    let cloned = clone3(alone, 0, groups.unified_dir().map(AsFd::as_fd)).doing(|| "clone the monitor");
    match cloned {
        Ok(Cloned::Parent(..)) => {
            drop((listener, report, groups, network));
            if let Some(maker) = maker {
                maker.make();
            }
            let result = reader.wait();
            // The caller ends. To free memory now would copy the pages that the monitor has still to read; and the
            // monitor goes on when this end of the report is closed.
            std::mem::forget((plan, reader));
            result
        }
        Ok(Cloned::Child(_)) => {
            drop((maker, reader));
            let mut keep: Vec<RawFd> = groups.descriptors().chain(layout.descriptors()).collect();
            keep.extend(network.as_ref().map(|network| network.fd().as_raw_fd()));
            if let Err(e) = detach(&plan, &listener, &report, keep) {
                leave_and_remove(&layout, &groups, &plan);
                report.failed(&e, &log::take_ring());
                exit_now(1);
            }
            let report = Some(report);
            let config = Cow::Borrowed(config);
            exit_now(monitor(Begin { plan, config, listener, layout, groups, network, report }))
        }
        Err(e) => {
            groups.remove(&layout);
            Err(failed(e))
        }
    }
}

/// The process between: it makes the monitor's cgroups, so that the monitor is born in them.
fn transient(
    alone: SingleThreaded,
    plan: Box<Plan>,
    config: &Config,
    listener: OwnedFd,
    report: ReportEnd,
    cgroup_use: Option<&str>,
) -> i32 {
    log::start_ring();
    if let Err(e) = detach(&plan, &listener, &report, Vec::new()) {
        report.failed(&e, &log::take_ring());
        return 1;
    }
    let (layout, groups) = match make_monitor_groups(&plan, cgroup_use) {
        Ok(made) => made,
        Err(e) => {
            report.failed(&e, &log::take_ring());
            return 1;
        }
    };
    let (maker, network) = ahead::pair(&plan).unzip();
    let made = clone3(alone, 0, groups.unified_dir().map(AsFd::as_fd));
    match made {
        Ok(Cloned::Parent(..)) => {
            // These are the monitor's now: when it lets go of them, they are gone.
            drop((listener, report, groups, network));
            if let Some(maker) = maker {
                maker.make();
            }
            0
        }
        Ok(Cloned::Child(_)) => {
            drop(maker);
            monitor(Begin {
                plan,
                config: Cow::Borrowed(config),
                listener,
                layout,
                groups,
                network,
                report: Some(report),
            })
        }
        Err(e) => {
            group::leave(&layout, &groups, &plan.cgroups.pivot, false);
            groups.remove(&layout);
            report.failed(&Error::os("clone the monitor", e), &log::take_ring());
            1
        }
    }
}

/// Leaves the caller's directory, descriptors but those to keep, and terminal.
fn detach(plan: &Plan, listener: &OwnedFd, report: &ReportEnd, mut keep: Vec<RawFd>) -> Result<()> {
    rustix::process::chdir("/").doing(|| "change to /")?;
    keep.extend([listener.as_raw_fd(), report.fd().as_raw_fd()]);
    keep.extend(log::descriptors());
    process::close_all_but(keep, plan.options.last_kept_fd).doing(|| "close descriptors")?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .doing(|| "open /dev/null")?;
    for number in 0..3 {
        process::dup_to(null.as_fd(), number).doing(|| "detach from the terminal")?;
    }
    log::silence_stderr();
    rustix::process::setsid().doing(|| "begin a session").map(drop)
}

/// The monitor's whole life.
fn monitor(begin: Begin<'_>) -> i32 {
    if let Err(e) = title::set(&monitor_title(&begin.plan)) {
        ::log::debug!("title: {e}");
    }
    let pidfile = begin.plan.options.pidfile.clone();
    if let Some(path) = &pidfile
        && let Err(e) = write_pidfile(path, getpid())
    {
        let Begin { layout, groups, report, plan, .. } = begin;
        leave_and_remove(&layout, &groups, &plan);
        if let Some(report) = report {
            report.failed(&e, &log::take_ring());
        }
        return 1;
    }
    i32::from(supervise::run(begin).is_err())
}

/// The monitor's pid, without a newline, readable by its user only.
pub fn write_pidfile(path: &Path, pid: Pid) -> Result<()> {
    let what = || format!("Failed to create '{}'", path.display());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o600)).doing(what)?;
    rustix::io::write(&file, pid.as_raw_nonzero().to_string().as_bytes()).doing(what).map(drop)
}
