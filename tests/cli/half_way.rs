//! SIGKILL at any instant of what changes a container's files: afterwards every container is the old or the new one, bit
//! for bit, and what else is left goes with `lxc gc`.
//!
//! LXC_TEST_KILLS says how many instants are tried (10).

use std::time::{Duration, Instant};

use rustix::process::Signal;

use lxc_testkit::filesystem::{difference, fingerprint, held_by_loops};
use lxc_testkit::{Disk, Lxcpath, Suite, needs, within};

use crate::kill::{instants, random};

/// A container in a known state, in a directory of its own.
struct Stage {
    disk: Disk,
    kind: &'static str,
    ours: Suite,
    name: String,
    other: String,
}

impl Stage {
    fn new(kind: &'static str, file_system: &str) -> Stage {
        let disk = Disk::new(file_system, 512);
        let (name, other) = (disk.dir.name("half"), disk.dir.name("way"));
        Stage { disk, kind, ours: Suite::ours(), name, other }
    }

    fn dir(&self) -> &Lxcpath {
        &self.disk.dir
    }

    /// The container, with a snapshot of an earlier state.
    fn set(&self) {
        let dir = self.dir();
        if dir.join(&self.other).exists() {
            dir.run(&self.ours, "lxc-destroy", &self.other, &["-s"]).ok();
        }
        if dir.join(&self.name).exists() {
            dir.run(&self.ours, "lxc-destroy", &self.name, &["-s"]).ok();
        }
        self.create(&self.name).wait().ok();
        dir.run(&self.ours, "lxc-snapshot", &self.name, &[]).ok();
        // What is in the configuration is easier to change than what is in an image.
        let config = dir.join(&self.name).join("config");
        let text = std::fs::read_to_string(&config).expect("the configuration");
        std::fs::write(&config, text + "lxc.environment = STATE=later\n").expect("change the configuration");
    }

    fn create(&self, name: &str) -> lxc_testkit::Running {
        let config = self.dir().path().join("default.conf");
        if !config.exists() {
            std::fs::write(&config, "lxc.net.0.type = empty\n").expect("write a configuration");
        }
        let size: &[&str] = if self.kind == "loop" { &["--fssize", "32M"] } else { &[] };
        let words = ["-f", config.to_str().expect("ASCII"), "-t", "busybox", "-B", self.kind];
        self.dir().spawn(&self.ours, "lxc-create", name, &[&words, size].concat())
    }

    /// All that can be seen of a container, without what is made anew by everybody who looks into an image.
    fn state(&self, name: &str) -> Option<Vec<String>> {
        let directory = self.dir().join(name);
        directory.exists().then(|| {
            let lines = fingerprint(&directory);
            lines
                .into_iter()
                .filter(|l| !l.starts_with("b'.' ") && !l.starts_with("b'overlay/work"))
                .collect()
        })
    }

    /// Kills a command at some instant. Nobody works on after that.
    fn interrupt(&self, running: lxc_testkit::Running, longest: Duration, round: u32) -> String {
        let delay = random(round, longest);
        std::thread::sleep(delay);
        running.signal(Signal::KILL);
        let output = running.wait();
        format!("{}: {output} killed after {delay:?}", self.kind)
    }

    /// What was left is removed, and only the two containers are there.
    fn tidy(&self, what: &str) {
        let dir = self.dir();
        let gc = || self.ours.run("lxc", &["gc", "-P", dir.arg()]);
        // A process of the command's own may take a moment to die with it.
        within(Duration::from_secs(5), || {
            let left = gc();
            left.code == 0 && self.leftovers().is_empty()
        });
        let left = self.leftovers();
        assert!(left.is_empty(), "{what}: left {left:#?}");
    }

    fn leftovers(&self) -> Vec<String> {
        let dir = self.dir();
        let mut left = Vec::new();
        for name in dir.listing() {
            if ![&*self.name, &*self.other, "default.conf", "lost+found"].contains(&&*name) {
                left.push(name);
            }
        }
        for name in [&self.name, &self.other] {
            let here = dir.join(name);
            if here.exists() && !here.join("config").exists() {
                left.push(format!("{name} without a configuration"));
            }
            for file in [".renamed", "partial"] {
                if here.join(file).exists() {
                    left.push(format!("{name}/{file}"));
                }
            }
            for snapshot in std::fs::read_dir(here.join("snaps")).into_iter().flatten().flatten() {
                if snapshot.path().join("partial").exists() || !snapshot.path().join("config").exists() {
                    left.push(snapshot.path().display().to_string());
                }
            }
            let temporary = std::fs::read_dir(&here).into_iter().flatten().flatten();
            left.extend(
                temporary
                    .map(|e| e.file_name().to_string_lossy().into_owned())
                    .filter(|n| n.starts_with('.')),
            );
        }
        left.extend(held_by_loops(dir.path()));
        let mounts = lxc_testkit::process::mounts_below(dir.path());
        left.extend(mounts.iter().filter(|m| *m != dir.path()).map(|m| format!("mount {}", m.display())));
        left
    }

    /// Tries one operation at many instants. `check` gets the states of both containers before and after.
    fn attempt(
        &self,
        operation: &str,
        run: impl Fn() -> lxc_testkit::Running,
        check: impl Fn(&States, &States) -> Result<(), String>,
    ) {
        self.set();
        let begin = Instant::now();
        run().wait().ok();
        // A bit longer than it takes.
        let longest = begin.elapsed() * 11 / 10;
        for round in 0..instants() {
            self.set();
            let before = self.states();
            let what = self.interrupt(run(), longest, round);
            let what = format!("{operation}: {what}");
            self.tidy(&what);
            if let Err(e) = check(&before, &self.states()) {
                panic!("{what}: {e}");
            }
        }
    }

    fn states(&self) -> States {
        States { own: self.state(&self.name), other: self.state(&self.other) }
    }
}

struct States {
    own: Option<Vec<String>>,
    other: Option<Vec<String>>,
}

fn same(what: &str, before: &Option<Vec<String>>, after: &Option<Vec<String>>) -> Result<(), String> {
    match (before, after) {
        (Some(before), Some(after)) if before != after => {
            Err(format!("{what}: {}", difference(before, after)))
        }
        (Some(_), None) => Err(format!("{what} is gone")),
        (None, Some(_)) => Err(format!("{what} is there")),
        _ => Ok(()),
    }
}

/// Names, modes, owners and sizes: of what is made anew the times are not the same.
fn shape(state: &[String]) -> Vec<String> {
    let line = |l: &String| {
        let name = l.split("' ").next().unwrap_or(l);
        let fields: Vec<&str> = l.rsplit("' [").next().unwrap_or(l).split(", ").collect();
        format!("{name} {:?}", &fields[..3.min(fields.len())])
    };
    state.iter().filter(|l| !l.starts_with("b'snaps") && !l.starts_with("b'lxc_")).map(line).collect()
}

/// Without the snapshots.
fn without_snapshots(state: &[String]) -> Vec<String> {
    state.iter().filter(|l| !l.starts_with("b'snaps")).cloned().collect()
}

fn whole_life(kind: &'static str, file_system: &str) {
    let stage = Stage::new(kind, file_system);
    let (dir, ours) = (stage.dir(), &stage.ours);
    let spawn = |command: &str, words: &[&str]| dir.spawn(ours, command, &stage.name, words);
    let complete = |before: &States, after: &States| {
        let (Some(own), Some(other)) = (&before.own, &after.other) else { return Ok(()) };
        let (own, other) = (shape(own), shape(other));
        if own == other { Ok(()) } else { Err(difference(&own, &other)) }
    };
    stage.attempt(
        "create",
        || stage.create(&stage.other),
        |before, after| same("the other container", &before.own, &after.own).and(complete(before, after)),
    );
    stage.attempt(
        "copy",
        || spawn("lxc-copy", &["-N", &stage.other]),
        |before, after| {
            // Only who builds on it is written into the source.
            let without = |s: &Option<Vec<String>>| {
                s.as_ref().map(|s| s.iter().filter(|l| !l.starts_with("b'lxc_snapshots'")).cloned().collect())
            };
            same("the source", &without(&before.own), &without(&after.own))
        },
    );
    stage.attempt(
        "snapshot",
        || spawn("lxc-snapshot", &[]),
        |before, after| {
            let without = |s: &Option<Vec<String>>| s.as_ref().map(|s| without_snapshots(s));
            same("the source", &without(&before.own), &without(&after.own))
        },
    );
    stage.attempt(
        "restore",
        || spawn("lxc-snapshot", &["-r", "snap0"]),
        |before, after| {
            let (Some(old), Some(new)) = (&before.own, &after.own) else { return Err("it is gone".into()) };
            if old == new {
                return Ok(());
            }
            let snapshots =
                |s: &[String]| s.iter().filter(|l| l.starts_with("b'snaps")).cloned().collect::<Vec<_>>();
            if snapshots(old) != snapshots(new) {
                return Err(difference(&snapshots(old), &snapshots(new)));
            }
            let text = std::fs::read_to_string(dir.join(&stage.name).join("config")).unwrap_or_default();
            if text.contains("STATE=later") {
                return Err(format!("neither the old nor the new one: {}", difference(old, new)));
            }
            Ok(())
        },
    );
    stage.attempt(
        "rename",
        || {
            dir.run(ours, "lxc-snapshot", &stage.name, &["-d", "ALL"]).ok();
            spawn("lxc-copy", &["-R", "-N", &stage.other])
        },
        |before, after| match (&after.own, &after.other) {
            (Some(_), None) => {
                let without = |s: &Option<Vec<String>>| s.as_ref().map(|s| without_snapshots(s));
                same("the old one", &without(&before.own), &without(&after.own))
            }
            (None, Some(other)) => {
                let own = before.own.as_ref().map(|s| shape(s)).unwrap_or_default();
                let other = shape(other);
                if own == other { Ok(()) } else { Err(difference(&own, &other)) }
            }
            (None, None) => Err("it is gone".into()),
            (Some(_), Some(_)) => Err("it is there twice".into()),
        },
    );
    stage.attempt(
        "destroy",
        || spawn("lxc-destroy", &["-s"]),
        |before, after| {
            let without = |s: &Option<Vec<String>>| s.as_ref().map(|s| without_snapshots(s));
            if after.own.is_none() { Ok(()) } else { same("it", &without(&before.own), &without(&after.own)) }
        },
    );
}

#[test]
fn dir() {
    needs!(root, ours, processor, program "busybox", program "python3", file_system "ext4");
    whole_life("dir", "ext4");
}

#[test]
fn overlay() {
    needs!(root, ours, processor, program "busybox", program "python3", file_system "ext4");
    whole_life("overlay", "ext4");
}

#[test]
fn btrfs() {
    needs!(root, ours, processor, program "busybox", program "python3", file_system "btrfs");
    whole_life("btrfs", "btrfs");
}

#[test]
fn loop_image() {
    needs!(root, ours, processor, program "busybox", program "python3", file_system "ext4");
    whole_life("loop", "ext4");
}
