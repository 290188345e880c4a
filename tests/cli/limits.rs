//! Limits of cgroup v2, each seen at work, on hosts that have it alone.

use lxc_testkit::{Lxcpath, Suite, needs};

/// A running container with these lines.
fn container(dir: &Lxcpath, suite: &Suite, lines: &[&str]) -> String {
    let name = lines.iter().fold(dir.busybox("limit").quick(), |b, line| b.line(*line)).build();
    dir.start(suite, &name);
    name
}

/// A value of `KEY VALUE` in a file of the container's cgroup.
fn counter(dir: &Lxcpath, suite: &Suite, name: &str, file: &str, key: &str) -> u64 {
    let text = dir.run(suite, "lxc-cgroup", name, &[file]).ok();
    let value = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("{file} has no {key}: {text}"))
}

fn inside(dir: &Lxcpath, suite: &Suite, name: &str, script: &str) -> (i32, String) {
    let output = dir.run(suite, "lxc-attach", name, &["--", "sh", "-c", script]);
    (output.code, output.stdout)
}

#[test]
fn memory_max_kills_what_takes_more() {
    needs!(root, ours, cgroup2 "memory");
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let name = container(&dir, suite, &["lxc.cgroup2.memory.max = 32M"]);
        let take = |size: &str| {
            // The buffer is touched as a whole: it is read into.
            inside(&dir, suite, &name, &format!("dd if=/dev/zero of=/dev/null bs={size} count=1 2>/dev/null"))
                .0
        };
        let statuses = (take("8M"), take("64M"));
        assert!(counter(&dir, suite, &name, "memory.events", "oom_kill") > 0);
        assert_eq!(statuses, (0, 137));
        (statuses, dir.run(suite, "lxc-cgroup", &name, &["memory.max"]).ok(), dir.state(suite, &name))
    });
}

#[test]
fn pids_max_ends_forking() {
    needs!(root, ours, cgroup2 "pids");
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let name = container(&dir, suite, &["lxc.cgroup2.pids.max = 12"]);
        let fork = "for i in $(seq 30); do sleep 60 >/dev/null 2>&1 & done; echo all";
        let (_, output) = inside(&dir, suite, &name, fork);
        assert!(counter(&dir, suite, &name, "pids.events", "max") > 0, "{suite}");
        let current = dir.run(suite, "lxc-cgroup", &name, &["pids.current"]).ok();
        assert!(current.trim().parse::<u32>().unwrap() <= 12, "{suite}: {current}");
        output
    });
}

#[test]
fn cpu_max_throttles() {
    needs!(root, ours, cgroup2 "cpu");
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = container(&dir, &suite, &["lxc.cgroup2.cpu.max = 10000 100000"]);
        let used = || counter(&dir, &suite, &name, "cpu.stat", "usage_usec");
        let (before, begin) = (used(), std::time::Instant::now());
        inside(&dir, &suite, &name, "timeout 3 sh -c 'while :; do :; done'");
        let (used, wall) = (used() - before, begin.elapsed().as_micros() as u64);
        assert!(counter(&dir, &suite, &name, "cpu.stat", "nr_throttled") > 5, "{suite}");
        // A tenth is allowed; two processors may each finish a slice of their own.
        assert!(used * 4 < wall, "{suite}: {used} of {wall} us");
    }
}

#[test]
fn cpuset_names_the_processors() {
    needs!(root, ours, cgroup2 "cpuset");
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let name = container(&dir, suite, &["lxc.cgroup2.cpuset.cpus = 0"]);
        inside(&dir, suite, &name, "nproc; grep Cpus_allowed_list /proc/1/status")
    });
}

#[test]
fn limits_hold_below_a_directory_of_ones_own() {
    needs!(root, ours, cgroup2 "pids");
    let lines = [
        vec!["lxc.cgroup.dir = lxt-dir/sub"],
        vec![
            "lxc.cgroup.dir.monitor = lxt-mon",
            "lxc.cgroup.dir.container = lxt-con",
            "lxc.cgroup.dir.container.inner = in",
        ],
    ];
    for layout in lines {
        Suite::compare(|suite| {
            let dir = Lxcpath::new();
            // Names that are given exactly are those of one container at a time.
            let own: Vec<String> =
                layout.iter().map(|l| l.replace("lxt-", &format!("{}-", dir.name("d")))).collect();
            let mut lines: Vec<&str> = own.iter().map(String::as_str).collect();
            lines.push("lxc.cgroup2.pids.max = 50");
            let name = container(&dir, suite, &lines);
            // lxc-cgroup of the peer looks at the inner one.
            let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", dir.init_pid(suite, &name)));
            let group =
                groups.unwrap().trim_start_matches("0::/").trim_end().trim_end_matches("/in").to_string();
            let limit = std::fs::read_to_string(format!("/sys/fs/cgroup/{group}/pids.max")).unwrap();
            let seen = (limit, inside(&dir, suite, &name, "cat /proc/1/cgroup"));
            dir.kill(suite, &name);
            dir.gone(suite, &name);
            for parent in ["lxt-dir/sub/lxc.pivot", "lxt-dir/sub", "lxt-dir", "lxt-mon", "lxt-con"] {
                let path = parent.replace("lxt-", &own[0][own[0].find("= ").unwrap() + 2..][..]);
                let _ = std::fs::remove_dir(format!("/sys/fs/cgroup/{path}"));
            }
            seen
        });
    }
}

#[test]
fn a_limit_that_cannot_be_set_prevents_the_start() {
    needs!(root, ours, cgroup2 "pids");
    for suite in Suite::all() {
        for line in ["lxc.cgroup2.pids.max = nonsense", "lxc.cgroup2.bogus.key = 1"] {
            let dir = Lxcpath::new();
            let name = dir.busybox("limit").quick().line(line).build();
            let text = dir.run(&suite, "lxc-start", &name, &[]).fails(1);
            dir.gone(&suite, &name);
            if suite.name == "ours" {
                assert!(text.contains(line), "{text}");
            }
        }
    }
}

/// Root of an id-mapped container manages what is below its cgroup.
#[test]
fn controllers_are_delegated() {
    needs!(root, ours, userns, cgroup2 "pids");
    let lines = [
        "lxc.idmap = u 0 100000 65536",
        "lxc.idmap = g 0 100000 65536",
        "lxc.rootfs.options = idmap=container",
        "lxc.mount.auto =",
        "lxc.mount.auto = proc sys cgroup:rw:force",
    ];
    let script = "cd /sys/fs/cgroup && mkdir init sub && \
        for p in $(cat cgroup.procs); do echo $p >init/cgroup.procs || exit; done; \
        echo +pids +memory >cgroup.subtree_control && echo 7 >sub/pids.max && \
        cat sub/pids.max && head -n 1 init/cgroup.procs; \
        echo 9 >pids.max; ls -ld . cgroup.procs pids.max | awk '{ print $1, $3, $4 }'";
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let name = container(&dir, suite, &lines);
        let seen = inside(&dir, suite, &name, script);
        assert!(seen.1.starts_with("7\n1\n"), "{suite}: {seen:?}");
        seen
    });
}

/// Which of four devices can be opened how, and whether nodes can be made.
const DEVICES: &str = r"
for d in null zero urandom full; do
  (: </dev/$d) 2>&- && echo $d r
  (: >/dev/$d) 2>&- && echo $d w
  (: <>/dev/$d) 2>&- && echo $d rw
done
mknod /tmp/node c 1 11 2>&- && echo mknod; rm -f /tmp/node
true";

fn devices(dir: &Lxcpath, suite: &Suite, name: &str) -> Vec<String> {
    inside(dir, suite, name, DEVICES).1.lines().map(str::to_string).collect()
}

#[test]
fn devices_are_filtered_alike() {
    needs!(root, ours, cgroup2 "");
    let lists: [&[&str]; 5] = [
        &["deny = a", "allow = c 1:3 rwm", "allow = c 1:5 r", "allow = c *:* m"],
        &["deny = a", "allow = /dev/zero rw", "allow = c 1:9 w"],
        &["allow = a", "deny = c 1:9 rw", "deny = c 1:7 rwm"],
        &["allow = c 1:* rw"],
        &["deny = a", "allow = a"],
    ];
    for list in lists {
        let lines: Vec<String> = list.iter().map(|l| format!("lxc.cgroup2.devices.{l}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        Suite::compare(|suite| {
            let dir = Lxcpath::new();
            let name = container(&dir, suite, &lines);
            (list, devices(&dir, suite, &name))
        });
    }
}

/// With the peer a rule against one kind of access is passed by asking for two, and a lone `deny = a` does
/// nothing.
#[test]
fn devices_that_are_denied_stay_denied() {
    needs!(root, ours, cgroup2 "");
    let suite = Suite::ours();
    let all = ["null r", "null w", "null rw", "zero r", "zero w", "zero rw"].map(str::to_string);
    let cases: [(&[&str], &[&str]); 3] = [
        (&["allow = a", "deny = c 1:9 r", "deny = c 1:7 w", "deny = c 1:11 m"], &["urandom w", "full r"]),
        (&["deny = a"], &["-"]),
        (&["deny = a", "allow = c 1:* rwm", "deny = c 1:9 rwm", "deny = c 1:7 rw"], &["mknod"]),
    ];
    for (list, expected) in cases {
        let lines: Vec<String> = list.iter().map(|l| format!("lxc.cgroup2.devices.{l}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let dir = Lxcpath::new();
        let name = container(&dir, &suite, &lines);
        let expected: Vec<String> = match expected {
            ["-"] => Vec::new(),
            more => all.iter().cloned().chain(more.iter().map(|m| (*m).to_string())).collect(),
        };
        assert_eq!(devices(&dir, &suite, &name), expected, "{list:?}");
    }
}

#[test]
fn device_rules_change_while_it_runs() {
    needs!(root, ours, cgroup2 "");
    let lines = ["lxc.cgroup2.devices.deny = a", "lxc.cgroup2.devices.allow = c 1:3 rwm"];
    let set = |dir: &Lxcpath, suite: &Suite, name: &str, item: &str, rule: &str| {
        dir.run(suite, "lxc-cgroup", name, &[item, rule]).code
    };
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let name = container(&dir, suite, &lines);
        let before = devices(&dir, suite, &name);
        let codes = [
            set(&dir, suite, &name, "devices.allow", "c 1:5 rw"),
            set(&dir, suite, &name, "devices.allow", "nonsense"),
            set(&dir, suite, &name, "devices.deny", "c 1:3 rwm"),
        ];
        (before, codes, devices(&dir, suite, &name))
    });
    // One kind of access of what is allowed: the peer ignores it.
    let (suite, dir) = (Suite::ours(), Lxcpath::new());
    let name = container(&dir, &suite, &lines);
    assert_eq!(set(&dir, &suite, &name, "devices.deny", "c 1:3 w"), 0);
    assert_eq!(devices(&dir, &suite, &name), ["null r"]);
}

/// Keys of the other kind of host are accepted, and have no effect.
#[test]
fn keys_of_v1_are_ignored() {
    needs!(root, ours, cgroup2 "");
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let name = container(&dir, suite, &["lxc.cgroup.pids.max = 3", "lxc.cgroup.devices.deny = a"]);
        (dir.run(suite, "lxc-cgroup", &name, &["pids.max"]).ok(), devices(&dir, suite, &name))
    });
}
