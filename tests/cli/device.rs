//! lxc-device.

use std::path::Path;
use std::process::Command;

use lxc_testkit::{Lxcpath, Suite, needs};

/// A container that may use no device but what it is given.
fn container(dir: &Lxcpath, suite: &Suite) -> String {
    let lines = [
        "lxc.cgroup.devices.deny = a",
        "lxc.cgroup.devices.allow = c 1:3 rwm",
        "lxc.cgroup2.devices.deny = a",
        "lxc.cgroup2.devices.allow = c 1:3 rwm",
    ];
    let name = lines.iter().fold(dir.busybox("device").quick(), |b, l| b.line(*l)).build();
    dir.start(suite, &name);
    name
}

#[test]
fn nodes() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let name = container(&dir, suite);
        // Its permissions are below: the peer loses some to the umask.
        let look = "ls -l /dev/zero | cut -c1; head -c 3 /dev/zero 2>/dev/null | wc -c";
        let mut seen = vec![dir.sh(suite, &name, look)];
        dir.run(suite, "lxc-device", &name, &["add", "/dev/zero"]).exits(0);
        seen.push(dir.sh(suite, &name, look));
        dir.run(suite, "lxc-device", &name, &["a", "/dev/zero"]).exits(0);
        dir.run(suite, "lxc-device", &name, &["del", "/dev/zero"]).exits(0);
        seen.push(dir.sh(suite, &name, "ls /dev/zero 2>/dev/null || echo none"));
        dir.run(suite, "lxc-device", &name, &["del", "/dev/zero"]).exits(0);
        for bad in [&["add", "/etc/passwd"], &["add", "/dev/nothere"], &["frob", "/dev/zero"]] {
            dir.run(suite, "lxc-device", &name, bad).exits(1);
        }
        dir.run(suite, "lxc-device", &name, &["add"]).exits(1);
        dir.kill(suite, &name);
        dir.gone(suite, &name);
        dir.run(suite, "lxc-device", &name, &["add", "/dev/zero"]).exits(1);
        seen
    });
}

#[test]
fn a_node_of_another_name() {
    needs!(root, ours);
    let (suite, dir) = (Suite::ours(), Lxcpath::new());
    let name = container(&dir, &suite);
    dir.run(&suite, "lxc-device", &name, &["add", "/dev/zero", "/some/where/nil"]).ok();
    assert_eq!(dir.sh(&suite, &name, "head -c 3 /some/where/nil | wc -c"), "3\n");
    assert_eq!(dir.sh(&suite, &name, "stat -c %a /some/where/nil"), "666\n");
    dir.run(&suite, "lxc-device", &name, &["del", "/dev/zero", "/some/where/nil"]).ok();
    assert_eq!(dir.sh(&suite, &name, "ls /some/where"), "");
    dir.run(&suite, "lxc-device", &name, &["del", "/dev/zero", "/not/there"]).ok();
    assert_eq!(dir.sh(&suite, &name, "ls -d /not 2>/dev/null || echo none"), "none\n");
    // What was allowed is forbidden again.
    let output = dir.sh(&suite, &name, "mknod /z c 1 5 2>&1 || cat /z 2>&1; true");
    assert!(output.contains("not permitted"), "{output}");
}

/// Links of the container lead nowhere but into the container.
#[test]
fn a_node_stays_below_the_root() {
    needs!(root, ours);
    let (suite, dir) = (Suite::ours(), Lxcpath::new());
    let name = container(&dir, &suite);
    let outside = dir.join("outside");
    std::fs::create_dir(&outside).unwrap();
    dir.sh(&suite, &name, &format!("ln -s {} /evil; ln -s /proc/1/root/../../../.. /up", outside.display()));
    for path in ["/evil/node", "/up/node", "/../node"] {
        let output = dir.run(&suite, "lxc-device", &name, &["add", "/dev/zero", path]);
        assert!(output.code == 0 || output.code == 1, "{output}");
    }
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    assert!(!Path::new("/node").exists());
}

#[test]
fn interfaces() {
    needs!(root, ours, program "ip");
    let (suite, dir) = (Suite::ours(), Lxcpath::new());
    let name = container(&dir, &suite);
    let id = std::process::id() & 0xff_ffff;
    let (a, b) = (format!("lx{id:x}a"), format!("lx{id:x}b"));
    let ip = |args: &str| {
        let output = Command::new("ip").args(args.split(' ')).output().expect("run ip");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    struct Gone(String);
    impl Drop for Gone {
        fn drop(&mut self) {
            let _ = Command::new("ip").args(["link", "del", &self.0]).status();
        }
    }
    assert!(ip(&format!("link add {a} type veth peer name {b}")).0);
    let _gone = Gone(b.clone());
    let device = |args: &[&str]| dir.run(&suite, "lxc-device", &name, args);
    let inside =
        || dir.sh(&suite, &name, "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | sort | tr '\\n' ' '");
    device(&["add", &a, "eth5"]).ok();
    assert_eq!(inside(), "eth5 lo ");
    assert!(!ip(&format!("link show {a}")).0);
    // A name that is taken: it stays where it is.
    let output = device(&["add", &b, "eth5"]);
    assert!(output.code == 1 && output.stderr.contains("File exists"), "{output}");
    assert!(ip(&format!("link show {b}")).0);
    let output = device(&["del", "eth5", &b]);
    assert!(output.code == 1 && output.stderr.contains("File exists"), "{output}");
    assert_eq!(inside(), "eth5 lo ");
    let output = device(&["add", &b, "a/b"]);
    assert!(output.code == 1 && output.stderr.contains("a/b"), "{output}");
    device(&["del", "eth5", &a]).ok();
    assert_eq!(inside(), "lo ");
    assert!(ip(&format!("link show {a}")).0);
    // Without another name it keeps its own.
    device(&["add", &a]).ok();
    assert_eq!(inside(), format!("lo {a} ").split(' ').collect::<Vec<_>>().join(" "));
    device(&["del", &a]).ok();
    assert!(ip(&format!("link show {a}")).0);
    device(&["del", "eth9"]).exits(1);
}
