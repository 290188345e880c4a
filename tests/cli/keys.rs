//! What each key does, seen on a running container: those that no other file of tests is about.

use std::path::Path;

use lxc_testkit::{Lxcpath, Suite, eventually, needs, process};

/// A running container with these lines, in which PATH is the lxcpath.
fn container(dir: &Lxcpath, suite: &Suite, hint: &str, lines: &[&str]) -> String {
    let builder = lines.iter().fold(dir.busybox(hint).quick(), |b, l| b.line(l.replace("PATH", dir.arg())));
    let name = builder.build();
    dir.start(suite, &name);
    name
}

/// Ours, and the peer where it is not confined itself: its own profile keeps it from much of /tmp.
fn unconfined() -> Vec<Suite> {
    if lxc_testkit::skip::apparmor().is_ok() { vec![Suite::ours()] } else { Suite::all() }
}

/// Keys that no test of this directory names, and why.
const UNSEEN: &[(&str, &str)] = &[
    ("lxc.apparmor.allow_incomplete", "has an effect where the kernel's AppArmor does not mediate mounts"),
    ("lxc.log.syslog", "goes to the log of the system, which tests leave alone"),
];

/// Every key of the table is in some test, or there is a reason why not.
#[test]
fn every_key_is_seen() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli");
    if !sources.is_dir() {
        fn here() {}
        return lxc_testkit::skip::record(std::any::type_name_of_val(&here), "needs the sources");
    }
    let mut text = String::new();
    for entry in std::fs::read_dir(&sources).expect("read tests/cli").flatten() {
        // The list above is no test.
        let source = std::fs::read_to_string(entry.path()).expect("read a source");
        text += source.split("const UNSEEN").next().unwrap_or_default();
        text += source.split_once("];\n\n/// Every key").map_or("", |(_, rest)| rest);
    }
    // What every container of the tests has.
    let kit = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/lxc-testkit/src/container.rs");
    text += &std::fs::read_to_string(kit).expect("read the builder of containers");
    let hooks = ["autodev", "mount", "post-stop", "pre-mount", "pre-start", "start-host", "start", "stop"];
    let is_named = |key: &str| {
        let own = |rest: &str| text.contains(rest) || text.contains(&rest.replace(".0.", ".{n}."));
        own(&key.replace("<n>", "0")) || hooks.iter().any(|hook| key == format!("lxc.hook.{hook}"))
    };
    let keys: Vec<String> =
        lxc_testkit::manual_keys().iter().map(|k| k.split(".<").next().unwrap_or(k).to_string()).collect();
    assert!(keys.len() > 80, "{keys:?}");
    let full = |key: &String| if key == "lxc.net" { "lxc.net.0.type".to_string() } else { key.clone() };
    let unseen: Vec<_> = keys.iter().filter(|k| !is_named(&full(k))).cloned().collect();
    let expected: Vec<_> = UNSEEN.iter().map(|(key, _)| (*key).to_string()).collect();
    let missing: Vec<_> = unseen.iter().filter(|k| !expected.contains(k)).collect();
    assert!(missing.is_empty(), "no test sees {missing:?}");
    let seen: Vec<_> = expected.iter().filter(|k| !unseen.contains(k)).collect();
    assert!(seen.is_empty(), "some test sees {seen:?}");
}

#[test]
fn environments_of_hooks_and_of_init() {
    needs!(root, ours);
    let (suite, dir) = (Suite::ours(), Lxcpath::new());
    let hook = dir.host_script("hook", &format!("env | grep '^[ERH]=' >{}/seen", dir.arg()));
    let lines = [
        "lxc.environment = E=all",
        "lxc.environment.runtime = R=init",
        "lxc.environment.hooks = H=hooks",
        &format!("lxc.hook.pre-mount = {hook}"),
    ];
    let name = container(&dir, &suite, "env", &lines);
    let hooks = std::fs::read_to_string(dir.join("seen")).expect("the hook wrote a file");
    let mut hooks: Vec<&str> = hooks.lines().collect();
    hooks.sort_unstable();
    assert_eq!(hooks, ["E=all", "H=hooks"]);
    assert_eq!(
        dir.sh(&suite, &name, "tr '\\0' '\\n' </proc/1/environ | grep '^[ERH]=' | sort"),
        "E=all\nR=init\n"
    );
}

#[test]
fn groups_of_init() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let lines =
            ["lxc.init.uid = 1000", "lxc.init.gid = 1001", "lxc.init.groups = 5,6", "lxc.init.groups = 7"];
        let name = container(&dir, suite, "groups", &lines);
        dir.sh(suite, &name, "grep -E '^(Uid|Gid|Groups)' /proc/1/status")
    });
}

/// keyctl(2), KEYCTL_GET_KEYRING_ID of the session, by perl of the host.
#[test]
fn the_session_keyring_is_new() {
    needs!(root, ours, program "perl", machine "x86_64");
    let ask = ["-e", "print syscall(250, 0, -3, 0)"];
    let own = std::process::Command::new("perl").args(ask).output().expect("run perl").stdout;
    let own = String::from_utf8_lossy(&own).into_owned();
    assert!(own.parse::<u32>().is_ok(), "{own}");
    for suite in unconfined() {
        for (value, is_new) in [("0", true), ("1", false)] {
            let dir = Lxcpath::new();
            let name = dir.name("keys");
            std::fs::create_dir(dir.join(&name)).unwrap();
            let config = format!(
                "lxc.rootfs.path = dir:/\nlxc.autodev = 0\nlxc.apparmor.profile = unconfined\n\
                 lxc.keyring.session = {value}\n"
            );
            std::fs::write(dir.join(&name).join("config"), config).unwrap();
            let command = [&["--", "/usr/bin/perl"][..], &ask].concat();
            let inside = dir.run(&suite, "lxc-execute", &name, &command).exits(0).stdout;
            assert_eq!(
                inside != own,
                is_new,
                "{suite}: lxc.keyring.session = {value}: {inside}, outside {own}"
            );
        }
    }
}

#[test]
fn the_monitor_leaves_the_mount_namespace() {
    needs!(root, ours);
    for suite in Suite::all() {
        for (value, leaves) in [("0", false), ("1", true)] {
            let dir = Lxcpath::new();
            let name = container(&dir, &suite, "unshare", &[&format!("lxc.monitor.unshare = {value}")]);
            let monitor = dir.monitor_pid(&name).expect("a monitor");
            let same = process::namespace(monitor, "mnt") == process::namespace(std::process::id(), "mnt");
            assert_eq!(same, !leaves, "{suite}");
        }
    }
}

#[test]
fn the_signal_when_the_monitor_dies() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let builder = dir.busybox("pdeath").init("/sbin/trap").line("lxc.monitor.signal.pdeath = SIGUSR2");
        let name = builder.build();
        dir.script(
            &name,
            "sbin/trap",
            "trap 'echo got >/got' USR2\n: >/ready\nwhile :; do sleep 1 & wait $!; done",
        );
        dir.start(&suite, &name);
        let exists = |file: &str| dir.join(&name).join("rootfs").join(file).exists();
        eventually("init is ready", || exists("ready"));
        process::kill(dir.monitor_pid(&name).expect("a monitor"), rustix::process::Signal::KILL);
        eventually("init gets the signal", || exists("got"));
    }
}

#[test]
fn clocks_are_set_off() {
    needs!(root, ours, file "/proc/self/ns/time");
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let lines =
            ["lxc.time.offset.boot = 300d", "lxc.time.offset.boot = 7200h", "lxc.time.offset.monotonic = 1h"];
        let name = container(&dir, &suite, "time", &lines[1..]);
        let text = dir.sh(&suite, &name, "cat /proc/uptime /proc/self/timens_offsets");
        let uptime: f64 = text.split(['.', ' ']).next().and_then(|n| n.parse().ok()).expect("a number");
        assert!(uptime > 7200.0 * 3600.0, "{suite}: {text}");
        assert!(text.contains("boottime") && text.contains("3600"), "{suite}: {text}");
    }
}

#[test]
fn namespaces_are_kept_and_shared() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        // Without `user` the peer makes a user namespace that has no maps.
        let lines = ["lxc.namespace.keep = net ipc user", "lxc.net ="];
        let name = container(&dir, &suite, "keep", &lines);
        let init = dir.init_pid(&suite, &name);
        for kind in ["net", "ipc", "uts", "mnt", "pid"] {
            let same = process::namespace(init, kind) == process::namespace(std::process::id(), kind);
            assert_eq!(same, ["net", "ipc"].contains(&kind), "{suite}: {kind}");
        }
        let first = container(&dir, &suite, "first", &[]);
        let by_name = format!("lxc.namespace.share.ipc = {first}");
        let by_file = format!("lxc.namespace.share.net = /proc/{}/ns/net", dir.init_pid(&suite, &first));
        let second = container(&dir, &suite, "second", &[&by_name, &by_file]);
        for kind in ["net", "ipc", "uts"] {
            let same = process::namespace(dir.init_pid(&suite, &second), kind)
                == process::namespace(dir.init_pid(&suite, &first), kind);
            assert_eq!(same, kind != "uts", "{suite}: {kind}");
        }
    }
}

/// Namespaces that are made belong to the user namespace that is joined.
#[test]
fn a_user_namespace_is_shared() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let maps = ["lxc.idmap = u 0 100000 65536", "lxc.idmap = g 0 100000 65536"];
        let lines = [&maps[..], &["lxc.rootfs.options = idmap=container"]].concat();
        let first = container(&dir, &suite, "first", &lines);
        let by_name = format!("lxc.namespace.share.user = {first}");
        // Nothing on disk is that root's, nor may it mount a tmpfs whose root directory is the host's.
        let lines = [&by_name, "lxc.autodev = 0", "lxc.pty.max = 0", "lxc.mount.auto =", "lxc.mount.entry ="];
        let second = container(&dir, &suite, "second", &lines);
        let [a, b] = [&first, &second].map(|name| dir.init_pid(&suite, name));
        assert_eq!(process::namespace(a, "user"), process::namespace(b, "user"), "{suite}");
        let own_cgroups = |pid: u32, name: &str| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
            text.lines().map(|l| l.contains(name)).collect::<Vec<_>>()
        };
        assert_eq!(own_cgroups(a, &first), own_cgroups(b, &second), "{suite}");
        assert_ne!(process::namespace(a, "net"), process::namespace(b, "net"), "{suite}");
        assert_ne!(process::namespace(std::process::id(), "net"), process::namespace(b, "net"), "{suite}");
    }
}

/// Where the kernel has none, that is said.
#[test]
fn core_scheduling_is_no_hindrance() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let name = dir.busybox("core").quick().line("lxc.sched.core = 1").build();
        let output = dir.run(suite, "lxc-start", &name, &["-d"]);
        if suite.name == "ours" && output.code != 0 {
            assert!(output.stderr.contains("this kernel has no core scheduling"), "{output}");
        }
        output.code
    });
}

#[test]
fn cgroups_below_that_of_the_caller() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let name = container(&dir, suite, "rel", &["lxc.cgroup.relative = 1"]);
        let read =
            |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("read the cgroups");
        let own = read(std::process::id());
        // In the order of the kernel's, as ours are.
        let below = |(own, init): (&str, &str)| {
            let base = own.rsplit(':').next().unwrap_or_default().trim_end_matches('/').to_string();
            dir.normal(init.rsplit(':').next().unwrap_or_default(), &name)
                .strip_prefix(&base)
                .map(str::to_string)
        };
        own.lines().zip(read(dir.init_pid(suite, &name)).lines()).map(below).collect::<Vec<_>>()
    });
}

#[test]
fn the_pivot_is_where_it_is_wanted() {
    needs!(root, ours);
    let (suite, dir) = (Suite::ours(), Lxcpath::new());
    let pivot = dir.name("pivot");
    let name = container(&dir, &suite, "pivot", &[&format!("lxc.cgroup.dir.monitor.pivot = {pivot}")]);
    dir.kill(&suite, &name);
    dir.gone(&suite, &name);
    let v2 = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(|base| Path::new(base).join(&pivot));
    let found: Vec<_> = v2.iter().filter(|p| p.join("lxc.pivot").is_dir()).collect();
    assert_eq!(found.len(), 1, "{v2:?}");
    eventually("the monitor has ended", || std::fs::remove_dir(found[0].join("lxc.pivot")).is_ok());
    std::fs::remove_dir(found[0]).expect("remove the parent");
}

#[test]
fn the_log_goes_to_a_file() {
    needs!(root, ours);
    for suite in unconfined() {
        let dir = Lxcpath::new();
        container(&dir, &suite, "log", &["lxc.log.file = PATH/log", "lxc.log.level = TRACE"]);
        let log = std::fs::read_to_string(dir.join("log")).expect("a log");
        assert!(log.lines().any(|l| l.contains(" TRACE ")), "{suite}: {log}");
        assert!(log.lines().all(|l| l.split(' ').nth(2).is_some_and(|t| t.len() == 18)), "{suite}: {log}");
    }
}

#[test]
fn the_console_log_is_rotated() {
    needs!(root, ours);
    let (suite, dir) = (Suite::ours(), Lxcpath::new());
    let lines = [
        "lxc.console.logfile = PATH/console",
        "lxc.console.size = 4096",
        "lxc.console.rotate = 1",
        "lxc.console.buffer.size = auto",
    ];
    let builder = lines
        .iter()
        .fold(dir.busybox("rotate").init("/sbin/talk"), |b, l| b.line(l.replace("PATH", dir.arg())));
    let name = builder.build();
    dir.script(&name, "sbin/talk", "for i in $(seq 1000); do echo line $i; done; exec /sbin/quick");
    dir.start(&suite, &name);
    let read = |file: &str| std::fs::read_to_string(dir.join(file)).unwrap_or_default();
    eventually("all is logged", || read("console").contains("line 1000\r\n"));
    assert!(read("console").len() <= 4096 && read("console.1").len() <= 4096);
    assert!(!read("console.1").is_empty());
}

#[test]
fn an_included_file_is_part_of_it() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        std::fs::create_dir(dir.join("conf.d")).unwrap();
        std::fs::write(dir.join("conf.d/a.conf"), "lxc.environment = A=directory\n").unwrap();
        std::fs::write(dir.join("conf.d/b.other"), "nonsense that is not read\nlxc.bogus = 1\n").unwrap();
        std::fs::write(dir.join("part"), "lxc.environment = B=file\n").unwrap();
        let name =
            container(&dir, &suite, "include", &["lxc.include = PATH/conf.d", "lxc.include = PATH/part"]);
        let text = dir.sh(&suite, &name, "tr '\\0' '\\n' </proc/1/environ | grep '^[AB]=' | sort");
        assert_eq!(text, "A=directory\nB=file\n", "{suite}");
    }
}

#[test]
fn storage_that_is_not_managed_stays() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("managed").quick().line("lxc.rootfs.managed = 0").build();
        dir.run(&suite, "lxc-destroy", &name, &[]).exits(0);
        assert!(dir.join(&name).join("rootfs/bin/busybox").exists(), "{suite}");
    }
}

#[test]
fn the_root_is_mounted_where_it_is_wanted() {
    needs!(root, ours);
    for suite in unconfined() {
        let dir = Lxcpath::new();
        let hook = dir.host_script(
            "hook",
            &format!("echo $LXC_ROOTFS_MOUNT; ls $LXC_ROOTFS_MOUNT/bin/busybox) >{}/seen 2>&1", dir.arg())
                .replacen("echo", "(echo", 1),
        );
        std::fs::create_dir(dir.join("mnt")).unwrap();
        container(
            &dir,
            &suite,
            "rootfs",
            &["lxc.rootfs.mount = PATH/mnt", &format!("lxc.hook.mount = {hook}")],
        );
        let seen = std::fs::read_to_string(dir.join("seen")).expect("the hook wrote a file");
        assert_eq!(seen, format!("{0}/mnt\n{0}/mnt/bin/busybox\n", dir.arg()), "{suite}");
    }
}

#[test]
fn the_signal_that_stops() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("sig").init("/sbin/trap").line("lxc.signal.stop = SIGUSR2").build();
        dir.script(
            &name,
            "sbin/trap",
            "trap 'echo got >/got; exit' USR2\n: >/ready\nwhile :; do sleep 1 & wait $!; done",
        );
        dir.start(&suite, &name);
        let exists = |file: &str| dir.join(&name).join("rootfs").join(file).exists();
        eventually("init is ready", || exists("ready"));
        dir.run(&suite, "lxc-stop", &name, &["-k"]).exits(0);
        assert!(exists("got"), "{suite}");
    }
}

/// A pair of devices with everything that can be said of one.
#[test]
fn a_veth_device_is_as_configured() {
    needs!(root, ours, program "ip");
    let look = "ip -o link show dev net0 | sed 's/^.*mtu/mtu/; s/qlen.*link/link/'; ip -o addr show dev net0 | \
                awk '{ print $3, $4, $5, $6 }' | grep -v ' fe80'; ip route; ip -6 route | grep default; ls /sys/class/net/net0/queues | sort; \
                cat /sys/class/net/lo/operstate /sys/class/net/lo/carrier";
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let script = dir.host_script("script", &format!("echo \"$@\" $LXC_NET_TYPE >>{}/scripts", dir.arg()));
        let pair = format!("lxt{:x}", std::process::id() % 0xffff);
        let lines = [
            "lxc.net.0.type = veth",
            "lxc.net.0.flags = up",
            "lxc.net.0.name = net0",
            "lxc.net.0.mtu = 1400",
            "lxc.net.0.hwaddr = 10:66:6a:00:00:07",
            "lxc.net.0.ipv4.address = 10.77.0.2/24",
            "lxc.net.0.ipv4.gateway = 10.77.0.1",
            "lxc.net.0.ipv6.address = fc77::2/64",
            "lxc.net.0.ipv6.gateway = fc77::1",
            "lxc.net.0.veth.n_rxqueues = 2",
            "lxc.net.0.veth.n_txqueues = 3",
            &format!("lxc.net.0.veth.pair = {pair}"),
            &format!("lxc.net.0.script.up = {script}"),
            &format!("lxc.net.0.script.down = {script}"),
        ];
        let builder = lines.iter().fold(dir.busybox("veth").quick().no_network_lines(), |b, l| b.line(*l));
        let name = builder.build();
        dir.start(suite, &name);
        let host = Path::new("/sys/class/net").join(&pair);
        assert!(host.is_dir(), "{suite}: the host has no {pair}");
        let ip = lxc_testkit::skip::in_path("ip").expect("checked above");
        let init = dir.init_pid(suite, &name).to_string();
        // With the host's ip(8) in the container's network: sysfs of the host shows the wrong devices.
        let seen = std::process::Command::new("nsenter")
            .args(["-t", &init, "-n", "-m", "--", "/bin/sh", "-c", "true"])
            .output()
            .map(|_| {
                let look = look
                    .replace("ip -", &format!("{} -", ip.display()))
                    .replace("ip route", &format!("{} route", ip.display()));
                let parts: Vec<&str> = look.split("; ls ").collect();
                let outside = std::process::Command::new("nsenter")
                    .args(["-t", &init, "-n", "sh", "-c", parts[0]])
                    .output()
                    .expect("run nsenter");
                let inside = dir.sh(suite, &name, &format!("ls {}", parts[1]));
                format!("{}{inside}", String::from_utf8_lossy(&outside.stdout))
            })
            .expect("run nsenter");
        assert!(seen.contains("10.77.0.2/24") && seen.contains("mtu 1400"), "{suite}: {seen}");
        dir.kill(suite, &name);
        dir.gone(suite, &name);
        eventually("the device is gone", || !host.exists());
        let scripts = std::fs::read_to_string(dir.join("scripts")).unwrap_or_default();
        // The peer counts the bits of the prefix from the wrong end.
        let seen = seen.replace("brd 0.0.0.255", "brd 10.77.0.255");
        (dir.normal(&seen, &name).replace(&pair, "PAIR"), dir.normal(&scripts, &name).replace(&pair, "PAIR"))
    });
}

/// Files of the host belong in the container to whom they belong outside.
#[test]
fn mount_entries_with_an_id_map() {
    needs!(root, ours, userns, peer_maps);
    let lines = [
        "lxc.idmap = u 0 100000 65536",
        "lxc.idmap = g 0 100000 65536",
        "lxc.rootfs.options = idmap=container",
        "lxc.mount.entry = PATH/src mnt none bind,idmap=container,nosuid 0 0",
        "lxc.mount.entry = PATH/src opt none bind,create=dir 0 0",
    ];
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        std::fs::create_dir(dir.join("src")).unwrap();
        for (file, owner) in [("root", 0), ("user", 1000)] {
            std::fs::write(dir.join("src").join(file), "").unwrap();
            std::os::unix::fs::chown(dir.join("src").join(file), Some(owner), Some(owner)).unwrap();
        }
        let name = container(&dir, suite, "idmap", &lines);
        dir.sh(
            suite,
            &name,
            "stat -c '%n %u:%g' /mnt/root /mnt/user /opt/root; touch /mnt/new; stat -c %u /mnt/new; \
                              grep -c ' /mnt .*nosuid.*idmapped' /proc/self/mountinfo",
        )
    });
}

/// Flags of a bind mount with an id map and without: there the kernel keeps the host's choice of access times. And a
/// directory is not shown on a file.
#[test]
fn mount_entries_and_access_times() {
    needs!(root, ours, userns);
    let (ours, dir) = (Suite::ours(), Lxcpath::new());
    std::fs::create_dir(dir.join("src")).unwrap();
    let entry = |target: &str, options: &str| {
        format!("lxc.mount.entry = PATH/src {target} none bind,create=dir,{options} 0 0")
    };
    let (plain, mapped) = (entry("plain", "ro,nodev"), entry("mapped", "noatime,ro,idmap=container"));
    let lines = ["lxc.idmap = u 0 100000 65536", "lxc.idmap = g 0 100000 65536"];
    let rest = ["lxc.rootfs.options = idmap=container", &plain, &mapped];
    let name = container(&dir, &ours, "times", &[&lines[..], &rest].concat());
    let look = "grep -E ' /plain ro,[^ ]*nodev| /mapped ro,[^ ]*noatime' /proc/self/mountinfo | wc -l";
    assert_eq!(dir.sh(&ours, &name, look), "2\n");
    dir.kill(&ours, &name);
    let line = "lxc.mount.entry = PATH/src file none bind,create=file 0 0".replace("PATH", dir.arg());
    let name = dir.busybox("file").quick().line(line).build();
    let said = dir.run(&ours, "lxc-start", &name, &["-d"]).exits(1).stderr;
    assert!(said.contains("on file: Not a directory"), "{said}");
}

#[test]
fn mount_entries_from_inside_and_with_propagation() {
    needs!(root, ours);
    let lines = [
        "lxc.mount.entry = etc mnt none bind,relative 0 0",
        "lxc.mount.entry = /nonexistent/x opt none bind,optional,create=dir 0 0",
        "lxc.mount.entry = tmpfs run/private tmpfs private,create=dir,size=64k 0 0",
        "lxc.mount.entry = PATH/file run/file none bind,create=file,ro 0 0",
    ];
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        std::fs::write(dir.join("file"), "content\n").unwrap();
        let name = container(&dir, suite, "entries", &lines);
        let text = dir.sh(suite, &name, "ls /mnt; cat /run/file; (echo >/run/file) 2>/dev/null || echo refused; mount | grep -c 'run/private.*size=64k'");
        (text, dir.join(&name).join("rootfs/run/private").is_dir())
    });
}
