//! A directory of containers that lives as long as a test.

use std::cell::RefCell;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Builder, Output, Running, Suite, cleanup, process};

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A temporary lxcpath. When it is dropped its containers are killed, and their cgroups, mounts, locks and
/// files are removed.
#[derive(Debug)]
pub struct Lxcpath {
    path: PathBuf,
    names: RefCell<Vec<String>>,
}

impl Default for Lxcpath {
    fn default() -> Lxcpath {
        Lxcpath::new()
    }
}

impl Lxcpath {
    /// Makes an empty directory with a short name, so that the names of command sockets stay readable.
    pub fn new() -> Lxcpath {
        let path = PathBuf::from(format!("/tmp/lxt{}", unique()));
        std::fs::create_dir(&path).unwrap_or_else(|e| panic!("create {}: {e}", path.display()));
        // The root of an id-mapped container has to get through.
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("set the mode");
        Lxcpath { path, names: RefCell::default() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it is, as an argument.
    pub fn arg(&self) -> &str {
        self.path.to_str().expect("the path is ASCII")
    }

    /// A file or directory in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A container name that nothing else on this machine uses: cgroups are named after containers, wherever
    /// these are stored. What has this name is removed with the directory.
    pub fn name(&self, hint: &str) -> String {
        let name = format!("{hint}{}", unique());
        self.names.borrow_mut().push(name.clone());
        name
    }

    /// A container with a small busybox system; see [`Builder`].
    pub fn busybox(&self, hint: &str) -> Builder<'_> {
        Builder::new(self, self.name(hint))
    }

    /// Runs a command of a suite on a container here: `lxc-X -P LXCPATH -n NAME ARGUMENTS…`.
    #[track_caller]
    pub fn run(&self, suite: &Suite, command: &str, name: &str, arguments: &[&str]) -> Output {
        self.spawn(suite, command, name, arguments).wait()
    }

    /// As [`Lxcpath::run`], without waiting for its end.
    #[track_caller]
    pub fn spawn(&self, suite: &Suite, command: &str, name: &str, arguments: &[&str]) -> Running {
        let mut all = vec!["-P", self.arg(), "-n", name];
        all.extend(arguments);
        suite.spawn(command, &all)
    }

    /// Starts a container in the background; it must come up.
    #[track_caller]
    pub fn start(&self, suite: &Suite, name: &str) {
        self.run(suite, "lxc-start", name, &["-d"]).ok();
    }

    /// Kills a container; it must have been running.
    #[track_caller]
    pub fn kill(&self, suite: &Suite, name: &str) {
        self.run(suite, "lxc-stop", name, &["-k"]).ok();
    }

    /// Writes an executable shell script into the root file system of a container.
    pub fn script(&self, name: &str, path: &str, text: &str) {
        let file = self.join(name).join("rootfs").join(path);
        std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).expect("write a script");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).expect("set the mode of a script");
    }

    /// Writes an executable script for the host, and returns its path.
    pub fn host_script(&self, name: &str, text: &str) -> String {
        let file = self.join(name);
        std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).expect("write a script");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).expect("set the mode of a script");
        file.to_str().expect("the path is ASCII").to_string()
    }

    /// A file of a container's root file system, empty when it does not exist.
    pub fn file(&self, name: &str, path: &str) -> String {
        std::fs::read_to_string(self.join(name).join("rootfs").join(path)).unwrap_or_default()
    }

    /// Runs a shell script in a running container, and returns its output; it must succeed.
    #[track_caller]
    pub fn sh(&self, suite: &Suite, name: &str, script: &str) -> String {
        self.run(suite, "lxc-attach", name, &["--", "sh", "-c", script]).ok()
    }

    /// The state that `lxc-info` reports.
    #[track_caller]
    pub fn state(&self, suite: &Suite, name: &str) -> String {
        self.run(suite, "lxc-info", name, &["-sH"]).ok().trim().to_string()
    }

    /// The process id of a running container's init.
    #[track_caller]
    pub fn init_pid(&self, suite: &Suite, name: &str) -> u32 {
        let Some(pid) = self.init_pid_if_any(suite, name) else { panic!("{name} has no init") };
        pid
    }

    /// The process id of a container's init; none while it is stopped, or between the two lives of a reboot.
    #[track_caller]
    pub fn init_pid_if_any(&self, suite: &Suite, name: &str) -> Option<u32> {
        let text = self.run(suite, "lxc-info", name, &["-pH"]).ok();
        match text.trim() {
            "" => None,
            pid => Some(pid.parse().expect("lxc-info -pH prints a number")),
        }
    }

    /// The process id of a running container's monitor.
    pub fn monitor_pid(&self, name: &str) -> Option<u32> {
        process::monitors(&self.path).into_iter().find(|(_, n)| n == name).map(|(pid, _)| pid)
    }

    /// Everything that a stopped container must not have left: descriptions of what was found.
    pub fn leftovers(&self, name: &str) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        found.extend(self.monitor_pid(name).map(|pid| format!("monitor {pid}")));
        found.extend(process::cgroups_of(name).iter().map(|g| format!("cgroup {}", g.display())));
        let mounts = process::mounts_below(&self.join(name));
        found.extend(mounts.iter().map(|m| format!("mount {}", m.display())));
        let socket = format!("{}/{name}/command", self.path.display());
        found.extend(process::listens(&socket).then(|| format!("socket @{socket}")));
        if self.join(name).join("partial").exists() {
            found.push("partial".into());
        }
        found
    }

    /// Waits until a container that a suite ran has left nothing.
    ///
    /// # Panics
    /// When something is still there after some seconds; for the peer, whose starting command can keep a
    /// cgroup busy that its monitor wants to remove, when it is something else than a cgroup.
    #[track_caller]
    pub fn gone(&self, suite: &Suite, name: &str) {
        let left = || {
            let mut left = self.leftovers(name);
            left.retain(|l| suite.name == "ours" || !l.starts_with("cgroup "));
            left
        };
        if !process::within(crate::patience(std::time::Duration::from_secs(5)), || left().is_empty()) {
            panic!("{name} has left {:#?}", left());
        }
    }

    /// The files and directories directly below, sorted.
    pub fn listing(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.path).expect("read the lxcpath");
        let mut names: Vec<String> =
            entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Text in which the names of this test are replaced by `PATH` and `NAME`, to compare suites.
    pub fn normal(&self, text: &str, name: &str) -> String {
        text.replace(self.arg(), "PATH").replace(name, "NAME")
    }
}

impl Drop for Lxcpath {
    fn drop(&mut self) {
        cleanup::lxcpath(&self.path, &self.names.borrow());
        if std::env::var_os("LXC_TEST_KEEP").is_none() {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

fn unique() -> String {
    format!("{}x{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}
