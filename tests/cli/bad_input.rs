//! What goes wrong is named, in our first line on standard error, and leaves nothing behind.

use lxc_testkit::net::{HostDevices, device_name, sh};
use lxc_testkit::{Builder, Lxcpath, Output, Running, Suite, needs};

/// Checks a refusal of ours: the cause first, little else.
#[track_caller]
fn refused(output: &Output, cause: &[&str]) {
    assert_ne!(output.code, 0, "{output}");
    assert_eq!(output.stdout, "", "{output}");
    // Before it there may be what a hook said.
    let first = output.stderr.lines().find(|l| l.starts_with("lxc-")).unwrap_or_default();
    for word in cause {
        assert!(first.contains(word), "{word:?} is in the first line: {output}");
    }
    assert!(output.stderr.lines().count() <= 4, "the cause, and little else: {output}");
}

/// Starts a container that must not start.
#[track_caller]
fn start_refused(change: impl Fn(Builder<'_>) -> Builder<'_>, cause: &[&str]) {
    let suite = Suite::ours();
    let dir = Lxcpath::new();
    let name = change(dir.busybox("bad").quick()).build();
    let before = dir.listing();
    for mode in ["-d", "-F"] {
        refused(&dir.run(&suite, "lxc-start", &name, &[mode]), cause);
        dir.gone(&suite, &name);
        assert_eq!(dir.listing(), before);
    }
}

#[test]
fn an_unknown_key() {
    needs!(root, ours);
    start_refused(|b| b.line("lxc.net.0.tpye = veth"), &["lxc.net.0.tpye"]);
    start_refused(|b| b.line("lxc.bogus = 1"), &["lxc.bogus", "config:"]);
}

#[test]
fn a_value_that_is_none() {
    needs!(root, ours);
    start_refused(|b| b.line("lxc.tty.max = many"), &["lxc.tty.max"]);
    start_refused(|b| b.line("lxc.cap.drop = sys_bogus"), &["sys_bogus"]);
}

#[test]
fn a_missing_root_file_system() {
    needs!(root, ours);
    start_refused(|b| b.rootfs("/nonexistent/rootfs"), &["/nonexistent/rootfs", "No such file or directory"]);
}

#[test]
fn a_root_file_system_that_is_a_file() {
    needs!(root, ours);
    start_refused(|b| b.rootfs("/etc/passwd"), &["/etc/passwd"]);
}

#[test]
fn an_init_that_does_not_exist() {
    needs!(root, ours);
    start_refused(|b| b.init("/nonexistent/init"), &["/nonexistent/init", "No such file or directory"]);
}

#[test]
fn an_init_that_is_no_program() {
    needs!(root, ours);
    start_refused(|b| b.init("/etc/passwd"), &["/etc/passwd", "Permission denied"]);
}

#[test]
fn a_hook_that_fails() {
    needs!(root, ours);
    for hook in ["pre-start", "pre-mount", "mount", "autodev", "start-host", "start"] {
        start_refused(|b| b.line(format!("lxc.hook.{hook} = /bin/false")), &["/bin/false", hook]);
    }
    start_refused(|b| b.line("lxc.hook.pre-start = /nonexistent/hook"), &["/nonexistent/hook"]);
}

#[test]
fn a_mount_whose_source_is_missing() {
    needs!(root, ours);
    start_refused(|b| b.line("lxc.mount.entry = /nonexistent/src mnt none bind 0 0"), &["/nonexistent/src"]);
    start_refused(|b| b.line("lxc.mount.fstab = /nonexistent/fstab"), &["/nonexistent/fstab"]);
}

#[test]
fn a_mount_that_would_leave_the_root_file_system() {
    needs!(root, ours);
    let suite = Suite::ours();
    let dir = Lxcpath::new();
    let outside = dir.join("outside");
    std::fs::create_dir(&outside).unwrap();
    let name =
        dir.busybox("escape").quick().line("lxc.mount.entry = tmpfs link/dir tmpfs create=dir 0 0").build();
    // As a container could make it between two starts.
    std::os::unix::fs::symlink(&outside, dir.join(&name).join("rootfs/link")).unwrap();
    dir.run(&suite, "lxc-start", &name, &["-d"]);
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0, "nothing was made outside");
}

/// Each is refused with key, file and line before anything begins: without a cgroup, and without a device.
#[test]
fn networks_that_cannot_be() {
    needs!(root, ours, program "ip");
    let suite = Suite::ours();
    let (bridge, pair) = (HostDevices::bridge("bad", ""), HostDevices::pair("bad"));
    let port = HostDevices::bridge("bac", "");
    sh(&format!("ip link set {} master {}", pair.name(), port.name()));
    let on =
        |kind: &str, link: &str| vec![format!("lxc.net.1.type = {kind}"), format!("lxc.net.1.link = {link}")];
    let veth = |line: &str| [on("veth", bridge.name()), vec![line.to_string()]].concat();
    let macvlan = [on("macvlan", bridge.name()), vec!["lxc.net.1.mtu = 9000".into()]].concat();
    let address = "lxc.net.1.ipv6.address = fd00:76::2/64";
    for (lines, key, cause) in [
        (on("veth", "nobr0"), "lxc.net.1.link", "No such device"),
        (on("veth", pair.name()), "lxc.net.1.link", "neither a Linux bridge"),
        (on("veth", "much-too-long-for-a-name"), "lxc.net.1.link", "15"),
        (on("phys", "nodev0"), "lxc.net.1.link", "No such device"),
        (on("phys", pair.name()), "lxc.net.1.link", "port of another device"),
        (on("phys", "lo"), "lxc.net.1.link", "stays where it is"),
        (on("macvlan", "nodev0"), "lxc.net.1.link", "No such device"),
        (macvlan, "lxc.net.1.mtu", "has only 1500"),
        (veth("lxc.net.1.mtu = 67"), "lxc.net.1.mtu", "from 68"),
        (veth("lxc.net.1.mtu = 70000"), "lxc.net.1.mtu", "to 65535"),
        ([veth("lxc.net.1.mtu = 1000"), vec![address.into()]].concat(), "lxc.net.1.mtu", "1280"),
        (veth("lxc.net.1.hwaddr = 00:16:3e:00:00"), "lxc.net.1.hwaddr", "not an Ethernet address"),
        (veth("lxc.net.1.hwaddr = 01:16:3e:00:00:01"), "lxc.net.1.hwaddr", "one device"),
        (veth("lxc.net.1.ipv4.address = 10.0.3.300/24"), "lxc.net.1.ipv4.address", "not an address"),
        (veth("lxc.net.1.ipv4.address = 10.0.3.3/33"), "lxc.net.1.ipv4.address", "33"),
        (veth("lxc.net.1.ipv6.address = fd00::2/129"), "lxc.net.1.ipv6.address", "129"),
        (veth("lxc.net.1.name = much-too-long-for-a-name"), "lxc.net.1.name", "15"),
        (veth("lxc.net.1.name = a/b"), "lxc.net.1.name", "not a name"),
        (veth("lxc.net.1.name = lo"), "lxc.net.1.name", "loopback"),
        (veth(&format!("lxc.net.1.veth.pair = {}", bridge.name())), "lxc.net.1.veth.pair", "exists"),
        (veth("lxc.net.1.type = veth"), "lxc.net.1.type", "begins network 1 again"),
    ] {
        let dir = Lxcpath::new();
        let name = lines.iter().fold(dir.busybox("bad").quick(), |b, line| b.line(line)).build();
        let output = dir.run(&suite, "lxc-start", &name, &["-d"]);
        // One that the grammar does not know has the column and the line itself besides.
        let place = format!("{}:", dir.join(&name).join("config").display());
        assert!(output.code == 1 && !output.stderr.contains("create the network"), "{lines:?}: {output}");
        for word in [key, cause, &place] {
            assert!(output.stderr.contains(word), "{lines:?}: {word:?} is not in\n{output}");
        }
        dir.gone(&suite, &name);
    }
}

/// A pre-start hook may make what a network needs; what it does not make is missed later, with the same words.
#[test]
fn links_that_a_hook_makes() {
    needs!(root, ours, program "ip");
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let made = device_name("mk", "r");
        let script =
            dir.host_script("make", &format!("ip link add {made} type bridge; ip link set {made} up"));
        let name = dir
            .busybox("hook")
            .quick()
            .line(format!("lxc.hook.pre-start = {script}"))
            .line("lxc.net.1.type = veth")
            .line(format!("lxc.net.1.link = {made}"))
            .build();
        dir.start(suite, &name);
        dir.kill(suite, &name);
        sh(&format!("ip link del {made}"));
        dir.gone(suite, &name);
    });
    let (suite, dir) = (Suite::ours(), Lxcpath::new());
    let builder = dir.busybox("hook").quick().line("lxc.hook.pre-start = /bin/true");
    let name = builder.line("lxc.net.1.type = veth").line("lxc.net.1.link = nobr0").build();
    let output = dir.run(&suite, "lxc-start", &name, &["-d"]);
    let place = format!("{}:", dir.join(&name).join("config").display());
    refused(&output, &["lxc.net.1.link = nobr0", &place]);
}

/// What this version cannot do is refused with its key; a setting that confines is never ignored.
#[test]
fn storage_that_is_not_there() {
    needs!(root, ours);
    for kind in ["dir", "btrfs", "loop", "lvm", "nbd", "rbd"] {
        start_refused(
            |b| b.line(format!("lxc.rootfs.path = {kind}:/nothing")),
            &["lxc.rootfs.path", kind, "No such file or directory"],
        );
    }
    if !std::fs::read_to_string("/proc/filesystems").unwrap().contains("zfs") {
        start_refused(
            |b| b.line("lxc.rootfs.path = zfs:pool/x"),
            &["lxc.rootfs.path", "this kernel has no ZFS"],
        );
    }
}

#[test]
fn a_configuration_that_cannot_be_read() {
    needs!(root, ours);
    let suite = Suite::ours();
    let dir = Lxcpath::new();
    std::fs::create_dir_all(dir.join("x/config")).unwrap();
    for command in ["lxc-start", "lxc-info", "lxc-attach", "lxc-destroy"] {
        let output = dir.run(&suite, command, "x", &[]);
        assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{output}");
        assert!(!output.stderr.is_empty(), "{output}");
    }
    assert!(dir.join("x/config").is_dir());
}

#[test]
fn a_name_with_a_slash() {
    needs!(root, ours);
    let suite = Suite::ours();
    let dir = Lxcpath::new();
    for name in ["a/b", "../x", ".."] {
        for command in ["lxc-create", "lxc-start", "lxc-destroy"] {
            let more: &[&str] = if command == "lxc-create" { &["-t", "none"] } else { &[] };
            let output = dir.run(&suite, command, name, more);
            assert_ne!(output.code, 0, "{output}");
            assert!(dir.listing().is_empty(), "{output}");
        }
    }
}

#[test]
fn an_lxcpath_that_cannot_be_written() {
    needs!(root, ours);
    let output = Suite::ours().run("lxc-create", &["-P", "/proc/nonexistent", "-n", "x", "-t", "none"]);
    refused(&output, &["/proc/nonexistent"]);
    let output = Suite::ours().run("lxc-create", &["-P", "/etc/passwd", "-n", "x", "-t", "none"]);
    refused(&output, &["/etc/passwd"]);
}

#[test]
fn someone_who_is_not_root() {
    needs!(root, ours, program "setpriv");
    let suite = Suite::ours();
    let dir = Lxcpath::new();
    let name = dir.busybox("user").quick().build();
    dir.start(&suite, &name);
    let as_nobody = |command: &str, arguments: &[&str]| {
        let mut c = std::process::Command::new("setpriv");
        c.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(suite.path(command));
        c.args(["-P", dir.arg(), "-n", &name]).args(arguments).env("HOME", "/nonexistent").env("LC_ALL", "C");
        Running::spawn(c).wait()
    };
    for command in ["lxc-stop", "lxc-attach", "lxc-freeze", "lxc-destroy", "lxc-info", "lxc-console"] {
        let output = as_nobody(command, &[]);
        assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{output}");
        assert!(output.stderr.contains("privileges"), "{output}");
    }
    assert_eq!(dir.state(&suite, &name), "RUNNING");
    dir.kill(&suite, &name);
    assert_eq!(as_nobody("lxc-create", &["-t", "none"]).code, 1);
    refused(&as_nobody("lxc-start", &[]), &[]);
    dir.gone(&suite, &name);
}
