//! lxc-stop.

use std::time::{Duration, Instant};

use lxc_testkit::process::eventually;
use lxc_testkit::{Lxcpath, Suite, needs};

#[test]
fn a_clean_stop_asks_init() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("clean").init("/sbin/asked").build();
        dir.script(
            &name,
            "sbin/asked",
            "trap 'echo asked >/asked; exit 0' USR1; touch /ready; while :; do sleep 1000 & wait; done",
        );
        dir.start(&suite, &name);
        eventually("the trap is set", || dir.join(&name).join("rootfs/ready").exists());
        dir.run(&suite, "lxc-stop", &name, &[]).ok();
        assert_eq!(dir.file(&name, "asked"), "asked\n", "{suite}");
        assert_eq!(dir.state(&suite, &name), "STOPPED");
        dir.gone(&suite, &name);
    }
}

#[test]
fn busybox_halts() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("halt").build();
        dir.start(&suite, &name);
        let begin = Instant::now();
        dir.run(&suite, "lxc-stop", &name, &[]).ok();
        assert!(begin.elapsed() < Duration::from_secs(10), "{suite}: {:?}", begin.elapsed());
        dir.gone(&suite, &name);
    }
}

#[test]
fn what_does_not_stop_in_time_is_killed_unless_that_is_excluded() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("deaf").init("/bin/sleep 1000").build();
        dir.start(&suite, &name);
        let begin = Instant::now();
        dir.run(&suite, "lxc-stop", &name, &["-t", "1", "--nokill"]).exits(1);
        assert!(begin.elapsed() >= Duration::from_millis(900), "{suite}: {:?}", begin.elapsed());
        assert_eq!(dir.state(&suite, &name), "RUNNING", "{suite}");
        let begin = Instant::now();
        dir.run(&suite, "lxc-stop", &name, &["-t", "1"]).exits(0);
        let elapsed = begin.elapsed();
        assert!((900..5000).contains(&elapsed.as_millis()), "{suite}: {elapsed:?}");
        assert_eq!(dir.state(&suite, &name), "STOPPED", "{suite}");
        dir.gone(&suite, &name);
    }
}

#[test]
fn without_waiting_the_command_returns_at_once() {
    needs!(root, ours);
    for suite in Suite::all() {
        for option in [&["-W"][..], &["-t", "0"]] {
            let dir = Lxcpath::new();
            let name = dir.busybox("nowait").init("/bin/sleep 1000").build();
            dir.start(&suite, &name);
            let begin = Instant::now();
            dir.run(&suite, "lxc-stop", &name, option).exits(0);
            assert!(begin.elapsed() < Duration::from_secs(1), "{suite}: {option:?}");
            assert_eq!(dir.state(&suite, &name), "RUNNING", "{suite}: {option:?}");
        }
    }
}

#[test]
fn a_kill_waits_until_nothing_is_left() {
    needs!(root, ours);
    let suite = Suite::ours();
    let dir = Lxcpath::new();
    let name = dir.busybox("kill").build();
    for _ in 0..5 {
        dir.start(&suite, &name);
        dir.kill(&suite, &name);
        assert_eq!(dir.leftovers(&name).iter().filter(|l| l.starts_with("cgroup")).count(), 0);
        assert_eq!(dir.state(&suite, &name), "STOPPED");
    }
}

#[test]
fn a_frozen_container_can_be_killed_and_stopped() {
    needs!(root, ours);
    let suite = Suite::ours();
    for options in [&["-k"][..], &["-t", "10"]] {
        let dir = Lxcpath::new();
        let name = dir.busybox("frozen").quick().build();
        dir.start(&suite, &name);
        dir.run(&suite, "lxc-freeze", &name, &[]).ok();
        dir.run(&suite, "lxc-stop", &name, options).ok();
        dir.gone(&suite, &name);
    }
}

#[test]
fn what_does_not_run_has_a_status_of_its_own() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let name = dir.busybox("idle").build();
        [name.as_str(), "undefined"].map(|n| {
            let output = dir.run(suite, "lxc-stop", n, &[]);
            (output.code, output.messages().iter().map(|m| dir.normal(m, &name)).collect::<Vec<_>>())
        })
    });
}

#[test]
fn options_that_exclude_each_other_are_refused() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let name = dir.busybox("options").quick().build();
        dir.start(suite, &name);
        let all: [&[&str]; 4] = [&["-k", "-t", "5"], &["-k", "-r"], &["-k", "--nokill"], &["--nolock"]];
        all.map(|options| {
            let output = dir.run(suite, "lxc-stop", &name, options);
            (output.code, output.messages().iter().map(|m| dir.normal(m, &name)).collect::<Vec<_>>())
        })
    });
}

#[test]
fn a_reboot_is_another_init_under_the_same_monitor() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("reboot").build();
        dir.start(&suite, &name);
        let (monitor, init) = (dir.monitor_pid(&name), dir.init_pid(&suite, &name));
        dir.sh(&suite, &name, "echo kept >/kept; echo lost >/dev/shm/lost");
        dir.run(&suite, "lxc-stop", &name, &["-r", "-t", "20"]).ok();
        assert_eq!(dir.state(&suite, &name), "RUNNING", "{suite}");
        assert_eq!(dir.monitor_pid(&name), monitor, "{suite}: the monitor stays");
        assert_ne!(dir.init_pid(&suite, &name), init, "{suite}: init is another");
        assert_eq!(dir.sh(&suite, &name, "cat /kept; ls /dev/shm"), "kept\n", "{suite}");
        dir.kill(&suite, &name);
        dir.gone(&suite, &name);
    }
}

#[test]
fn a_reboot_from_inside_works_repeatedly() {
    needs!(root, ours);
    let suite = Suite::ours();
    let dir = Lxcpath::new();
    // reboot -f is the system call alone.
    let name = dir.busybox("again").init("/sbin/again").build();
    dir.script(
        &name,
        "sbin/again",
        "echo >>/boots; [ $(wc -l </boots) -ge 4 ] && exec sleep 1000; reboot -f",
    );
    dir.start(&suite, &name);
    eventually("it has started four times", || dir.file(&name, "boots").len() == 4);
    dir.kill(&suite, &name);
    dir.gone(&suite, &name);
}

#[test]
fn poweroff_from_inside_ends_the_container() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("off").init("/sbin/off").build();
        dir.script(&name, "sbin/off", "poweroff -f; sleep 1000");
        dir.run(&suite, "lxc-start", &name, &["-d"]).ok();
        // The peer complains when the monitor ends while it asks.
        dir.run(&suite, "lxc-wait", &name, &["-s", "STOPPED", "-t", "10"]).exits(0);
        dir.gone(&suite, &name);
    }
}

#[test]
fn a_reboot_that_does_not_come_fails_and_leaves_the_container() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("noreboot").init("/bin/sleep 1000").build();
        dir.start(&suite, &name);
        dir.run(&suite, "lxc-stop", &name, &["-r", "-t", "1"]).exits(1);
        assert_eq!(dir.state(&suite, &name), "RUNNING", "{suite}");
    }
}
