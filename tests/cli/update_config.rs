//! lxc-update-config.

use lxc_testkit::{Lxcpath, Suite, needs};

const OLD: &str = "# comment\nlxc.rootfs = /var/lib/lxc/a/rootfs\nlxc.utsname = a\n  lxc.tty = 4\n#lxc.pts = 1024\n\
    lxc.network.type = veth\nlxc.network.link = br0\nlxc.network.ipv4 = 10.0.0.2/24\nlxc.network.type = macvlan\n\
    lxc.network.flags=up\nlxc.id_map = u 0 100000 65536\nlxc.kmsg = 0\nlxc.pivotdir = x\n\nlxc.aa_profile = unconfined\n\
    lxc.mount = /x/fstab\nlxc.mount.entry = proc proc proc\nlxc.cgroup.devices.deny = a\nlxc.console = none\n\
    lxc.seccomp = /x\nlxc.haltsignal = SIGUSR1\nlxc.devttydir = lxc\nlxc.se_context = x\nlxc.init_cmd = /bin/x\n";

#[test]
fn names_are_those_of_the_peer() {
    needs!(ours, peer);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let file = dir.join("config");
        std::fs::write(&file, OLD).unwrap();
        let code = suite.run("lxc-update-config", &["-c", file.to_str().unwrap()]).code;
        let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
        (code, read("config"), read("config.backup"))
    });
}

#[test]
fn usage_and_errors_are_those_of_the_peer() {
    needs!(ours, peer);
    Suite::compare(|suite| {
        let all: [&[&str]; 4] = [&[], &["-h"], &["--help"], &["-c", "/nonexistent"]];
        let program = suite.path("lxc-update-config").display().to_string();
        all.map(|a| {
            let output = suite.run("lxc-update-config", a);
            (a, output.code, output.stdout.replace(&program, "PROGRAM"))
        })
    });
}

#[test]
fn what_changes_is_shown_and_nothing_twice() {
    needs!(ours);
    let (suite, dir) = (Suite::ours(), Lxcpath::new());
    let file = dir.join("config");
    let path = file.to_str().unwrap();
    std::fs::write(&file, "lxc.tty = 4\nlxc.kmsg = 1\nlxc.uts.name = x\n").unwrap();
    let diff = suite.run("lxc-update-config", &["--dry-run", "-c", path]).ok();
    assert!(
        diff.contains("@@ -1 +1 @@\n-lxc.tty = 4\n+lxc.tty.max = 4\n@@ -2 +1,0 @@\n-lxc.kmsg = 1\n"),
        "{diff}"
    );
    assert!(!dir.join("config.backup").exists());
    suite.run("lxc-update-config", &["-c", path]).exits(0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "lxc.tty.max = 4\nlxc.uts.name = x\n");
    assert_eq!(suite.run("lxc-update-config", &["-c", path]).ok(), "");
}
