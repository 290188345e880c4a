//! Ending what a test leaves behind, whoever's monitor runs it and whatever state it is in.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::process::{alive, cgroups_of, children, kill, monitors, mounts_below, within};

/// Ends the containers of an lxcpath and removes everything that knows their names.
pub(crate) fn lxcpath(directory: &Path, names: &[String]) {
    for (monitor, name) in monitors(directory) {
        end(monitor, &name);
    }
    for name in names {
        cgroups(name);
    }
    unmount_below(directory);
    for run in ["/run/lxc/lock", "/run/lxc"] {
        let _ = std::fs::remove_dir_all(format!("{run}/{}", directory.display()));
    }
}

/// Unmounts what is mounted below a directory.
pub(crate) fn unmount_below(directory: &Path) {
    for point in mounts_below(directory).iter().rev() {
        let _ = rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH);
    }
}

/// A monitor whose container is killed tidies up by itself; one that does not is killed too.
fn end(monitor: u32, name: &str) {
    for group in cgroups_of(name) {
        let _ = std::fs::write(group.join("freezer.state"), "THAWED");
        let _ = std::fs::write(group.join("cgroup.freeze"), "0");
    }
    for init in children(monitor) {
        kill(init, Signal::KILL);
    }
    if !within(Duration::from_secs(3), || !alive(monitor)) {
        kill(monitor, Signal::KILL);
        within(Duration::from_secs(1), || !alive(monitor));
    }
}

/// Kills what is in the cgroups of a container and removes them.
pub(crate) fn cgroups(name: &str) {
    within(Duration::from_secs(2), || {
        // All of them, also behind one that is still busy.
        let busy = cgroups_of(name).iter().filter(|group| !remove(group)).count();
        busy == 0
    });
}

fn remove(group: &Path) -> bool {
    let pids = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for pid in pids.lines().filter_map(|l| l.parse().ok()).filter(|&p: &u32| p > 1 && p != std::process::id())
    {
        kill(pid, Signal::KILL);
    }
    for entry in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove(&entry.path());
        }
    }
    std::fs::remove_dir(group).is_ok() || !group.exists()
}
