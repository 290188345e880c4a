//! lxc-monitor.

use std::time::Duration;

use lxc_testkit::{Lxcpath, Running, Suite, eventually, needs};

/// Starts it, and waits until it listens: its daemon needs a moment.
fn monitor(suite: &Suite, dir: &Lxcpath, pattern: &str) -> Running {
    let running = suite.spawn("lxc-monitor", &["-P", dir.arg(), "-n", pattern]);
    eventually("it listens", || lxc_testkit::process::monitord_sockets(dir.path()) > 1);
    std::thread::sleep(Duration::from_millis(100));
    running
}

#[test]
fn changes_of_state_are_shown_alike() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let name = dir.busybox("watch").init("/sbin/end").build();
        dir.script(
            &name,
            "sbin/end",
            "trap 'exit 5' USR1; touch /ready; while :; do sleep 1000 & wait; done",
        );
        let mut watch = monitor(suite, &dir, &name);
        dir.start(suite, &name);
        eventually("its trap is set", || dir.join(&name).join("rootfs/ready").exists());
        dir.run(suite, "lxc-stop", &name, &[]).ok();
        eventually("the end is shown", || watch.stdout_so_far().contains("[STOPPED]"));
        dir.normal(&watch.stdout_so_far(), &name)
    });
}

#[test]
fn freezing_is_shown() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("watch").quick().build();
        let mut watch = monitor(&suite, &dir, ".*");
        dir.start(&suite, &name);
        dir.run(&suite, "lxc-freeze", &name, &[]).ok();
        dir.run(&suite, "lxc-unfreeze", &name, &[]).ok();
        dir.kill(&suite, &name);
        eventually("the end is shown", || watch.stdout_so_far().contains("[STOPPED]"));
        let text = watch.stdout_so_far();
        for state in ["STARTING", "RUNNING", "FREEZING", "FROZEN", "THAWED", "STOPPING", "STOPPED"] {
            assert!(
                text.contains(&format!("'{name}' changed state to [{state}]\n")),
                "{suite}: {state} in {text}"
            );
        }
    }
}

#[test]
fn only_names_that_match_are_shown() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let (one, two) = (dir.busybox("one").quick().build(), dir.busybox("two").quick().build());
        let mut watch = monitor(&suite, &dir, "tw.*");
        for name in [&one, &two] {
            dir.start(&suite, name);
            dir.kill(&suite, name);
        }
        eventually("the end is shown", || watch.stdout_so_far().contains("[STOPPED]"));
        assert!(!watch.stdout_so_far().contains(&one), "{suite}");
    }
}

#[test]
fn a_pattern_that_is_none_is_refused() {
    needs!(root, ours);
    for suite in Suite::all() {
        suite.run("lxc-monitor", &["-P", Lxcpath::new().arg(), "-n", "("]).fails(1);
    }
}
