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

/// With the user's own subordinate ids, and with no others.
#[test]
fn of_an_ordinary_user() {
    use lxc_testkit::user::{FIRST, UID};
    needs!(root, ours, userns, ordinary_user);
    let script = format!(
        "call() {{ lxc-usernsexec \"$@\"; echo \"= $?\"; }}; exec 2>/dev/null
         call -- sh -c 'id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map'
         call -m b:0:{FIRST}:10 -- sh -c 'cat /proc/self/uid_map; exit 9'
         call -m u:0:{UID}:1 -m g:0:{UID}:1 -- sh -c 'id -u; cat /proc/self/uid_map'
         call -m b:0:{FIRST}:10 -s -- cat /proc/self/uid_map
         mkdir open; chmod 777 . open; call -- sh -c 'touch open/f && chown 5:6 open/f'; stat -c '%u %g' open/f
         for map in b:0:100000:10 b:0:{FIRST}:65537 b:0:0:1; do call -m $map -- touch open/ran; done; ls open"
    );
    Suite::compare(|suite| {
        let user = lxc_testkit::OrdinaryUser::new();
        let text = user.sh(suite, &script).exits(0).stdout;
        let lines: Vec<_> =
            text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let own = |count: u32| format!("0 {FIRST} {count}");
        let (whole, ten, user_id) = (own(65536), own(10), format!("0 {UID} 1"));
        let (added, owner) = (format!("10 {UID} 1"), format!("{} {}", FIRST + 5, FIRST + 6));
        let mut expected = vec!["0", "0", &whole, &whole, "= 0", &ten, "= 9", "0", &user_id, "= 0"];
        expected.extend([&*ten, &added, "= 0", "= 0", &owner, "= 1", "= 1", "= 1", "f"]);
        assert_eq!(lines, expected, "{suite}");
    });
}
