//! What /proc says about processes, mounts and cgroups.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

/// Sends a signal to a process that may have ended.
pub fn kill(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// All processes.
pub fn all() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("read /proc");
    entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()
}

/// The command line, its words separated by blanks; empty for what has ended.
pub fn command_line(pid: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim_end_matches('\0').replace('\0', " ")
}

/// Processes whose parent is `pid`.
pub fn children(pid: u32) -> Vec<u32> {
    all().into_iter().filter(|&p| parent(p) == Some(pid)).collect()
}

/// The parent of a process.
pub fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Whether it exists and is not a zombie.
pub fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// The monitors of the containers in one lxcpath: process and container name.
pub fn monitors(lxcpath: &Path) -> Vec<(u32, String)> {
    let title = format!("[lxc monitor] {} ", lxcpath.display());
    all()
        .into_iter()
        .filter_map(|pid| Some((pid, command_line(pid).strip_prefix(&title)?.to_string())))
        .collect()
}

/// A namespace of a process, such as `net:[4026531840]`.
pub fn namespace(pid: u32, kind: &str) -> PathBuf {
    std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap_or_default()
}

/// One line of /proc/PID/status, without its label.
pub fn status(pid: u32, label: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(label)?.strip_prefix(':'));
    line.unwrap_or_default().trim().to_string()
}

/// Mount points at or below a directory, in the order they were mounted.
pub fn mounts_below(directory: &Path) -> Vec<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").expect("read mountinfo");
    let points =
        table.lines().filter_map(|l| l.split(' ').nth(4)).map(|p| PathBuf::from(p.replace("\\040", " ")));
    points.filter(|p| p.starts_with(directory)).collect()
}

/// The cgroups on this machine whose own name is one of LXC's for this container, in all hierarchies.
pub fn cgroups_of(container: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for hierarchy in hierarchies() {
        find_cgroups(&hierarchy, container, 6, &mut found);
    }
    found
}

/// Where the cgroup hierarchies are mounted.
pub fn hierarchies() -> Vec<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mounts").expect("read mounts");
    let cgroups = table.lines().filter(|l| matches!(l.split(' ').nth(2), Some("cgroup" | "cgroup2")));
    let mut points: Vec<PathBuf> = cgroups.filter_map(|l| l.split(' ').nth(1)).map(PathBuf::from).collect();
    points.sort();
    points.dedup();
    points
}

fn find_cgroups(directory: &Path, container: &str, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let own = name.strip_prefix("lxc.payload.").or_else(|| name.strip_prefix("lxc.monitor."));
        // `-1` and so on is what is appended when the name is taken.
        if own
            .is_some_and(|n| n == container || n.strip_prefix(container).is_some_and(|n| n.starts_with('-')))
        {
            found.push(entry.path());
        } else if depth > 0 {
            find_cgroups(&entry.path(), container, depth - 1, found);
        }
    }
}

/// Whether a program listens on an abstract socket whose name starts so.
pub fn listens(prefix: &str) -> bool {
    let table = std::fs::read_to_string("/proc/net/unix").expect("read /proc/net/unix");
    table.lines().filter_map(|l| l.split_once(" @")).any(|(_, name)| name.starts_with(prefix))
}

/// Whether a process has exactly this command line.
pub fn runs(line: &str) -> bool {
    all().into_iter().any(|pid| command_line(pid) == line)
}

/// How many ends of sockets there are that the lxc-monitord of an lxcpath listens on or has accepted.
pub fn monitord_sockets(lxcpath: &Path) -> usize {
    let table = std::fs::read_to_string("/proc/net/unix").expect("read /proc/net/unix");
    let end = format!("/{}", lxcpath.display());
    table.lines().filter_map(|l| l.split_once(" @lxc/")).filter(|(_, name)| name.ends_with(&end)).count()
}

/// Waits until something holds, looking at short intervals.
///
/// # Panics
/// When it does not hold after ten seconds, or what that is on a slow machine.
#[track_caller]
pub fn eventually(what: &str, holds: impl FnMut() -> bool) {
    let limit = crate::patience(Duration::from_secs(10));
    assert!(within(limit, holds), "not after {limit:?}: {what}");
}

/// Whether something holds at some time within so long.
pub fn within(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
