//! lxc-usernsexec.

use lxc_testkit::{Suite, needs};

const LOOK: &str =
    "id -u; id -g; id -G; cat /proc/self/uid_map /proc/self/gid_map; readlink /proc/self/ns/mnt >/dev/null";

#[test]
fn maps_and_ids_are_the_peers() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let say = |arguments: &[&str]| {
            let output = suite.run("lxc-usernsexec", arguments);
            (output.code, output.stdout)
        };
        vec![
            // Directly, for a map of the host's root; the peer asks newuidmap(1) for others.
            say(&["-m", "b:0:0:1", "--", "sh", "-c", LOOK]),
            say(&["-m", "u:0:0:10", "-m", "g:0:0:20", "--", "sh", "-c", LOOK]),
            say(&["-m", "b:0:0:1", "--", "sh", "-c", "exit 6"]),
            say(&["-m", "b:0:0:1", "--", "/nonexistent"]),
        ]
    });
}

#[test]
fn other_ids() {
    needs!(root, ours);
    let suite = Suite::ours();
    let run = |arguments: &[&str]| suite.run("lxc-usernsexec", arguments);
    let map = ["-m", "b:0:100000:65536"];
    let ids =
        run(&[&map[..], &["-u", "1000", "-g", "1001", "--", "sh", "-c", "id -u; id -g; id -G"]].concat());
    assert_eq!(ids.ok(), "1000\n1001\n1001\n");
    let own = run(&[&map[..], &["-s", "--", "cat", "/proc/self/uid_map"]].concat()).ok();
    let lines: Vec<String> =
        own.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lines, ["0 100000 65536", "65536 0 1"]);
    run(&[&map[..], &["--", "sh", "-c", "kill -9 $$"]].concat()).exits(137);
}

#[test]
fn what_cannot_be() {
    needs!(root, ours);
    let suite = Suite::ours();
    for (arguments, cause) in [
        (&["-m", "x:0:1:2", "--", "true"][..], "x:0:1:2"),
        (&["-m", "u:0:1", "--", "true"], "u:0:1"),
        (&["-m", "b:1:100000:10", "--", "true"], "group 0"),
        (&["-m", "b:0:100000:10", "--", "/nonexistent"], "/nonexistent"),
        (&["-m", "b:0:100000:0", "--", "true"], "map"),
    ] {
        let output = suite.run("lxc-usernsexec", arguments);
        assert!(output.code == 1 && output.stderr.contains(cause), "{arguments:?}: {output}");
    }
    let shown = suite.run("lxc-usernsexec", &["-h"]);
    assert!(shown.code == 0 && shown.stderr.contains("--map"), "{shown}");
}
