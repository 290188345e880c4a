//! lxc-cgroup, and the cgroups that containers are in.

use lxc_testkit::{Lxcpath, Suite, needs, process};

#[test]
fn values_are_read_and_written() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let name = dir.busybox("cg").quick().build();
        dir.start(suite, &name);
        let all: [&[&str]; 11] = [
            &["pids.max"],
            &["pids.max", "77"],
            &["pids.max"],
            &["freezer.state"],
            &["devices.list"],
            &["bogus.key"],
            &["pids.bogus"],
            &["pids.max", "nonsense"],
            &[],
            &["pids.max", "max"],
            &["pids.max"],
        ];
        all.map(|arguments| {
            let output = dir.run(suite, "lxc-cgroup", &name, arguments);
            (
                arguments,
                output.code,
                output.stdout.clone(),
                output.messages().last().map(|m| dir.normal(m, &name)),
            )
        })
    });
}

#[test]
fn limits_of_the_configuration_are_in_force() {
    needs!(root, ours, cgroup_v1);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let name = dir
            .busybox("limit")
            .quick()
            .line("lxc.cgroup.pids.max = 50")
            .line("lxc.cgroup.devices.deny = a")
            .line("lxc.cgroup.devices.allow = c 1:3 rwm")
            .line("lxc.cgroup.devices.allow = c 5:* rwm")
            .build();
        dir.start(suite, &name);
        let script = "cat /dev/null && echo null; mknod /tmp/kmsg c 1 11; cat /tmp/kmsg";
        let output = dir.run(suite, "lxc-attach", &name, &["--", "sh", "-c", script]);
        (dir.run(suite, "lxc-cgroup", &name, &["devices.list"]).ok(), output.stdout, output.stderr)
    });
}

#[test]
fn a_limit_that_cannot_be_set_prevents_the_start() {
    needs!(root, ours, cgroup_v1);
    for suite in Suite::all() {
        for line in ["lxc.cgroup.pids.max = nonsense", "lxc.cgroup.bogus.key = 1"] {
            let dir = Lxcpath::new();
            let name = dir.busybox("limit").quick().line(line).build();
            dir.run(&suite, "lxc-start", &name, &[]).fails(1);
            dir.gone(&suite, &name);
        }
    }
}

#[test]
fn init_is_in_a_cgroup_named_after_the_container_in_every_hierarchy() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let name = dir.busybox("where").quick().build();
        dir.start(suite, &name);
        let init = dir.init_pid(suite, &name);
        let text = std::fs::read_to_string(format!("/proc/{init}/cgroup")).expect("read the cgroups of init");
        dir.normal(&text, &name)
    });
}

#[test]
fn cgroups_that_a_killed_monitor_left_are_used_again() {
    needs!(root, ours);
    let suite = Suite::ours();
    let dir = Lxcpath::new();
    let name = dir.busybox("again").quick().build();
    for _ in 0..3 {
        dir.start(&suite, &name);
        let groups: Vec<_> = process::cgroups_of(&name);
        assert!(groups.iter().all(|g| g.to_string_lossy().ends_with(&name)), "{groups:?}");
        let monitor = dir.monitor_pid(&name).expect("a monitor");
        process::kill(monitor, rustix::process::Signal::KILL);
        process::eventually("the monitor is dead", || !process::alive(monitor));
        process::eventually("it counts as stopped", || dir.state(&suite, &name) == "STOPPED");
    }
    dir.start(&suite, &name);
    dir.kill(&suite, &name);
    dir.gone(&suite, &name);
}

/// A container that makes cgroups of its own leaves them behind when it is killed: they go with its own.
#[test]
fn cgroups_made_inside_are_removed() {
    needs!(root, ours);
    let suite = Suite::ours();
    let dir = Lxcpath::new();
    let name = dir.busybox("inner").quick().line("lxc.mount.auto = cgroup:rw:force").build();
    dir.start(&suite, &name);
    let script = "for h in /sys/fs/cgroup/pids /sys/fs/cgroup/freezer /sys/fs/cgroup/unified /sys/fs/cgroup; do \
        mkdir -p $h/a/b/c 2>/dev/null && echo made; done";
    let made = dir.run(&suite, "lxc-attach", &name, &["--", "sh", "-c", script]).stdout;
    assert!(made.contains("made"), "no cgroup could be made inside");
    dir.kill(&suite, &name);
    dir.gone(&suite, &name);
}

#[test]
fn what_does_not_run_has_no_cgroups() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let name = dir.busybox("idle").build();
        let output = dir.run(suite, "lxc-cgroup", &name, &["pids.max"]);
        (output.code, output.messages().iter().map(|m| dir.normal(m, &name)).collect::<Vec<_>>())
    });
}
