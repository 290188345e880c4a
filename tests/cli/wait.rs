//! lxc-wait.

use std::time::{Duration, Instant};

use lxc_testkit::{Lxcpath, Suite, needs};

#[test]
fn a_state_that_holds_is_not_waited_for() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("wait").quick().build();
        dir.run(&suite, "lxc-wait", &name, &["-s", "STOPPED"]).ok();
        dir.run(&suite, "lxc-wait", "undefined", &["-s", "STOPPED"]).ok();
        dir.start(&suite, &name);
        dir.run(&suite, "lxc-wait", &name, &["-s", "RUNNING"]).ok();
        dir.run(&suite, "lxc-wait", &name, &["-s", "STOPPED|RUNNING"]).ok();
        dir.run(&suite, "lxc-freeze", &name, &[]).ok();
        dir.run(&suite, "lxc-wait", &name, &["-s", "FROZEN"]).ok();
    }
}

#[test]
fn a_state_that_comes_is_waited_for() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("wait").quick().build();
        // One that is stopped is asked again every second.
        let running = dir.spawn(&suite, "lxc-wait", &name, &["-s", "RUNNING", "-t", "10"]);
        dir.start(&suite, &name);
        running.wait().ok();
        let mut frozen = dir.spawn(&suite, "lxc-wait", &name, &["-s", "FROZEN"]);
        let mut stopped = dir.spawn(&suite, "lxc-wait", &name, &["-s", "STOPPED"]);
        std::thread::sleep(Duration::from_millis(100));
        assert!(!frozen.ended() && !stopped.ended(), "{suite}");
        dir.run(&suite, "lxc-freeze", &name, &[]).ok();
        frozen.wait().ok();
        assert!(!stopped.ended(), "{suite}");
        dir.run(&suite, "lxc-unfreeze", &name, &[]).ok();
        dir.kill(&suite, &name);
        stopped.wait().exits(0);
    }
}

#[test]
fn the_time_limit_is_kept() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("limit").quick().build();
        let check = |state: &str| {
            let begin = Instant::now();
            let output = dir.run(&suite, "lxc-wait", &name, &["-s", state, "-t", "1"]).exits(1);
            let elapsed = begin.elapsed().as_millis();
            // The peer gives up at once on one that is stopped.
            let least = if state == "RUNNING" { 0 } else { 900 };
            assert!((least..3000).contains(&elapsed), "{suite} {state}: {elapsed} ms");
            output
        };
        check("RUNNING");
        dir.start(&suite, &name);
        check("STOPPED");
        check("FROZEN");
    }
}

/// The peer waits for ever here.
#[test]
fn a_limit_of_zero_only_looks() {
    needs!(root, ours);
    let suite = Suite::ours();
    let dir = Lxcpath::new();
    let name = dir.busybox("zero").quick().build();
    dir.run(&suite, "lxc-wait", &name, &["-s", "RUNNING", "-t", "0"]).exits(1);
    dir.start(&suite, &name);
    dir.run(&suite, "lxc-wait", &name, &["-s", "STOPPED", "-t", "0"]).exits(1);
    dir.run(&suite, "lxc-wait", &name, &["-s", "RUNNING", "-t", "0"]).ok();
}

#[test]
fn states_that_do_not_exist_are_refused() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let name = dir.busybox("states").build();
        ["BOGUS", "running", "RUNNING|BOGUS"].map(|state| {
            let output = dir.run(suite, "lxc-wait", &name, &["-s", state, "-t", "1"]);
            (output.code, output.messages().iter().map(|m| dir.normal(m, &name)).collect::<Vec<_>>())
        })
    });
    Suite::compare(|suite| suite.run("lxc-wait", &["-n", "x"]).code);
}
