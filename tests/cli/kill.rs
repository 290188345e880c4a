//! SIGKILL at any instant: of the monitor, of the command that starts, of the command that stops. Whatever is
//! left must not stand in the way of the next start, and is gone after the next stop.
//!
//! LXC_TEST_KILLS says how many instants are tried (10).

use std::time::{Duration, SystemTime};

use rustix::process::Signal;

use lxc_testkit::process::{self, eventually};
use lxc_testkit::{Lxcpath, Suite, needs};

pub fn instants() -> u32 {
    std::env::var("LXC_TEST_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(10)
}

/// Up to 20 ms, other ones in every run.
fn random_delay(round: u32) -> Duration {
    random(round, Duration::from_millis(20))
}

/// Some time up to a limit, another one in every run.
pub fn random(round: u32, longest: Duration) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("the clock is set");
    let mixed =
        (u64::from(now.subsec_nanos()) ^ (u64::from(round) << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Duration::from_micros((mixed >> 40) % u64::try_from(longest.as_micros()).unwrap_or(u64::MAX).max(1))
}

#[derive(Debug, Clone, Copy)]
enum Target {
    Monitor,
    Command,
}

/// Kills during `command`, then checks that the container can still be started and stopped.
fn kill_during(command: &str, target: Target) {
    let suite = Suite::ours();
    for round in 0..instants() {
        let dir = Lxcpath::new();
        let name = dir.busybox("kill").quick().build();
        let options: &[&str] = if command == "lxc-stop" {
            dir.start(&suite, &name);
            &["-t", "5"]
        } else {
            &["-d"]
        };
        let running = dir.spawn(&suite, command, &name, options);
        let delay = random_delay(round);
        std::thread::sleep(delay);
        let what = format!("{target:?} killed {delay:?} after the beginning of {command}");
        match target {
            Target::Command => running.signal(Signal::KILL),
            Target::Monitor => {
                // Before it has its title it is not found: then nothing is killed in this round.
                for (monitor, _) in process::monitors(dir.path()) {
                    process::kill(monitor, Signal::KILL);
                }
            }
        }
        running.wait();
        // A start that goes on without its command ends one way or the other; a stop leaves it running.
        eventually(&format!("{what}: a decided state"), || {
            ["RUNNING", "STOPPED"].contains(&dir.state(&suite, &name).as_str())
        });
        // The monitor of a start whose command died may be about to appear.
        std::thread::sleep(Duration::from_millis(50));
        let again = dir.run(&suite, "lxc-start", &name, &["-d"]);
        assert_eq!(again.code, 0, "{what}: {again}");
        assert_eq!(dir.state(&suite, &name), "RUNNING", "{what}");
        assert_eq!(dir.sh(&suite, &name, "hostname"), format!("{name}\n"), "{what}");
        assert_eq!(process::monitors(dir.path()).len(), 1, "{what}");
        let stop = dir.run(&suite, "lxc-stop", &name, &["-k"]);
        assert_eq!(stop.code, 0, "{what}: {stop}");
        if !process::within(Duration::from_secs(5), || dir.leftovers(&name).is_empty()) {
            panic!("{what}: left {:#?}", dir.leftovers(&name));
        }
        let destroy = dir.run(&suite, "lxc-destroy", &name, &[]);
        assert_eq!(destroy.code, 0, "{what}: {destroy}");
    }
}

#[test]
fn the_monitor_during_a_start() {
    needs!(root, ours);
    kill_during("lxc-start", Target::Monitor);
}

#[test]
fn the_command_during_a_start() {
    needs!(root, ours);
    kill_during("lxc-start", Target::Command);
}

#[test]
fn the_monitor_during_a_stop() {
    needs!(root, ours);
    kill_during("lxc-stop", Target::Monitor);
}

#[test]
fn the_command_during_a_stop() {
    needs!(root, ours);
    kill_during("lxc-stop", Target::Command);
}

/// No process of the container outlives its monitor.
#[test]
fn the_container_dies_with_its_monitor() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("orphan").build();
        dir.start(&suite, &name);
        let init = dir.init_pid(&suite, &name);
        let monitor = dir.monitor_pid(&name).expect("a monitor");
        process::kill(monitor, Signal::KILL);
        eventually("init is dead", || !process::alive(init));
        eventually("the commands say so", || dir.state(&suite, &name) == "STOPPED");
    }
}

/// A creation that is killed leaves what lxc-destroy removes, and what another creation replaces.
#[test]
fn the_command_during_a_creation() {
    needs!(root, ours);
    let suite = Suite::ours();
    for round in 0..instants() {
        let dir = Lxcpath::new();
        let name = dir.name("create");
        let config = dir.join("plain.conf");
        std::fs::write(&config, "lxc.net.0.type = empty\n").unwrap();
        let arguments = ["-t", "busybox", "-f", config.to_str().unwrap()];
        let creating = dir.spawn(&suite, "lxc-create", &name, &arguments);
        std::thread::sleep(random_delay(round));
        creating.signal(Signal::KILL);
        creating.wait();
        let directory = dir.join(&name);
        let done = directory.join("config").exists() && !directory.join("partial").exists();
        if done || round % 2 == 0 && directory.exists() {
            dir.run(&suite, "lxc-destroy", &name, &[]).ok();
            assert!(!directory.exists());
        }
        dir.run(&suite, "lxc-create", &name, &arguments).exits(0);
        dir.start(&suite, &name);
        dir.kill(&suite, &name);
        dir.run(&suite, "lxc-destroy", &name, &[]).exits(0);
    }
}
