//! lxc-start.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use lxc_testkit::process::{self, eventually};
use lxc_testkit::{Lxcpath, Running, Suite, needs};

#[test]
fn a_life() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("life").build();
        assert_eq!(dir.state(&suite, &name), "STOPPED");
        dir.start(&suite, &name);
        assert_eq!(dir.state(&suite, &name), "RUNNING");
        assert_eq!(dir.sh(&suite, &name, "hostname; id -u"), format!("{name}\n0\n"));
        dir.kill(&suite, &name);
        assert_eq!(dir.state(&suite, &name), "STOPPED");
        dir.gone(&suite, &name);
    }
}

#[test]
fn the_monitor_is_a_daemon() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("daemon").quick().build();
        dir.start(&suite, &name);
        let monitor = dir.monitor_pid(&name).expect("a process with the title of a monitor");
        let of_monitor =
            |what: &str| std::fs::read_link(format!("/proc/{monitor}/{what}")).expect("read a link");
        assert_eq!(of_monitor("cwd").to_str(), Some("/"));
        for fd in 0..3 {
            assert_eq!(of_monitor(&format!("fd/{fd}")).to_str(), Some("/dev/null"));
        }
        assert_eq!(process::parent(dir.init_pid(&suite, &name)), Some(monitor));
        let session = |pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("read stat");
            stat.rsplit_once(')').expect("a name").1.split_whitespace().nth(3).expect("a session").to_string()
        };
        assert_ne!(session(monitor), session(std::process::id()), "{suite}");
    }
}

#[test]
fn a_second_start_changes_nothing() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let name = dir.busybox("twice").quick().build();
        dir.start(suite, &name);
        let init = dir.init_pid(suite, &name);
        let again = dir.run(suite, "lxc-start", &name, &[]);
        assert_eq!(dir.init_pid(suite, &name), init);
        (again.code, again.messages().iter().map(|m| dir.normal(m, &name)).collect::<Vec<_>>())
    });
}

#[test]
fn the_foreground_ends_with_the_container_and_does_not_pass_its_status_on() {
    needs!(root, ours);
    for suite in Suite::all() {
        for end in ["exit 0", "exit 5", "kill -9 $$"] {
            let dir = Lxcpath::new();
            let name = dir.busybox("front").init("/sbin/short").build();
            dir.script(&name, "sbin/short", end);
            let output = dir.run(&suite, "lxc-start", &name, &["-F"]);
            assert_eq!(output.code, 0, "{suite}: {output}");
            dir.gone(&suite, &name);
        }
    }
}

#[test]
fn an_init_that_ends_at_once_has_started() {
    needs!(root, ours);
    for suite in Suite::all() {
        for end in ["exit 0", "exit 5"] {
            let dir = Lxcpath::new();
            let name = dir.busybox("short").init("/sbin/short").build();
            dir.script(&name, "sbin/short", end);
            dir.run(&suite, "lxc-start", &name, &["-d"]).ok();
            dir.gone(&suite, &name);
        }
    }
}

#[test]
fn a_foreground_start_can_be_stopped() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("front").quick().build();
        let front = dir.spawn(&suite, "lxc-start", &name, &["-F"]);
        dir.run(&suite, "lxc-wait", &name, &["-s", "RUNNING", "-t", "10"]).ok();
        dir.kill(&suite, &name);
        front.wait().exits(0);
        dir.gone(&suite, &name);
    }
}

#[test]
fn a_command_replaces_init() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("cmd").build();
        dir.run(&suite, "lxc-start", &name, &["--", "/bin/sleep", "1000"]).ok();
        assert_eq!(process::command_line(dir.init_pid(&suite, &name)), "/bin/sleep 1000");
    }
}

#[test]
fn the_pid_file_is_the_monitors() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("pid").quick().build();
        let file = dir.join("pidfile");
        dir.run(&suite, "lxc-start", &name, &["-p", file.to_str().unwrap()]).ok();
        let text = std::fs::read_to_string(&file).expect("read the pid file");
        assert_eq!(Some(text), dir.monitor_pid(&name).map(|pid| pid.to_string()), "{suite}: no newline");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{suite}");
        dir.kill(&suite, &name);
        eventually("the pid file is removed", || !file.exists());
    }
}

#[test]
fn a_pid_file_that_cannot_be_made_is_an_error() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("pid").quick().build();
        let text = dir.run(&suite, "lxc-start", &name, &["-p", "/nonexistent/file"]).fails(1);
        assert!(text.contains("/nonexistent/file"), "{suite}: {text}");
        dir.gone(&suite, &name);
    }
}

#[test]
fn define_changes_this_start_only() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("define").quick().build();
        dir.run(&suite, "lxc-start", &name, &["-s", "lxc.uts.name=other", "-s", "lxc.environment=A=1"]).ok();
        assert_eq!(
            dir.sh(&suite, &name, "hostname; tr '\\0' '\\n' </proc/1/environ | grep ^A="),
            "other\nA=1\n"
        );
        dir.kill(&suite, &name);
        dir.gone(&suite, &name);
        dir.start(&suite, &name);
        assert_eq!(dir.sh(&suite, &name, "hostname"), format!("{name}\n"));
    }
}

#[test]
fn define_refuses_what_is_no_assignment_and_unknown_keys() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("define").quick().build();
        for bad in ["lxc.bogus.key=1", "nonsense"] {
            dir.run(&suite, "lxc-start", &name, &["-s", bad]).exits(1);
            assert_eq!(dir.state(&suite, &name), "STOPPED", "{suite}: {bad}");
        }
    }
}

#[test]
fn a_configuration_file_makes_an_undefined_container() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let defined = dir.busybox("rc").quick().build();
        let config = dir.join(&defined).join("config");
        let volatile = dir.name("volatile");
        dir.run(&suite, "lxc-start", &volatile, &["-f", config.to_str().unwrap()]).ok();
        assert_eq!(dir.sh(&suite, &volatile, "hostname"), format!("{defined}\n"), "{suite}");
        dir.kill(&suite, &volatile);
        dir.gone(&suite, &volatile);
    }
}

#[test]
fn an_undefined_container_is_refused() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let output = dir.run(suite, "lxc-start", "nobody", &[]);
        assert!(dir.listing().is_empty(), "{:?}", dir.listing());
        (output.code, output.messages())
    });
}

#[test]
fn the_console_log_has_what_init_prints() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("log").init("/sbin/talk").build();
        dir.script(
            &name,
            "sbin/talk",
            "echo on stdout; echo on stderr >&2; echo on console >/dev/console; sleep 1000",
        );
        let log = dir.join("console.log");
        dir.run(&suite, "lxc-start", &name, &["-L", log.to_str().unwrap()]).ok();
        let read = || std::fs::read_to_string(&log).unwrap_or_default();
        eventually("three whole lines are logged", || read().matches('\n').count() == 3);
        assert_eq!(read(), "on stdout\r\non stderr\r\non console\r\n", "{suite}");
    }
}

#[test]
fn namespaces_are_shared_with_a_container_or_a_process() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let first = dir.busybox("first").quick().build();
        dir.start(&suite, &first);
        let init = dir.init_pid(&suite, &first);
        for (option, kind) in [("--share-net", "net"), ("--share-ipc", "ipc"), ("--share-uts", "uts")] {
            for of in [first.clone(), init.to_string()] {
                let second = dir.busybox("second").quick().build();
                dir.run(&suite, "lxc-start", &second, &[&format!("{option}={of}")]).ok();
                let pid = dir.init_pid(&suite, &second);
                for other in ["net", "ipc", "uts", "mnt", "pid"] {
                    let same = process::namespace(pid, other) == process::namespace(init, other);
                    assert_eq!(same, other == kind, "{suite}: {option}={of}: {other}");
                }
            }
        }
    }
}

#[test]
fn an_ephemeral_container_is_removed_when_it_stops() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("ephemeral").quick().line("lxc.ephemeral = 1").build();
        dir.start(&suite, &name);
        dir.kill(&suite, &name);
        eventually("its directory is removed", || !dir.join(&name).exists());
        dir.gone(&suite, &name);
    }
}

/// Of the descriptors from 3 on only those that LISTEN_FDS counts reach init. (The peer loses the last two.)
#[test]
fn descriptors_are_passed_as_listen_fds_says() {
    needs!(root, ours);
    let suite = Suite::ours();
    let dir = Lxcpath::new();
    let name = dir.busybox("fds").init("/sbin/show").build();
    dir.script(&name, "sbin/show", "for f in /proc/self/fd/*; do readlink $f; done >/fds");
    let files = ["a", "b", "c"].map(|f| dir.join(f).to_str().unwrap().to_string());
    let start = suite.path("lxc-start");
    let script = format!(
        "exec 3>{} 4>{} 5>{}; LISTEN_FDS=2 exec {} -F -C -P {} -n {name}",
        files[0],
        files[1],
        files[2],
        start.display(),
        dir.arg()
    );
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &script]);
    Running::spawn(command).wait().exits(0);
    let shown = dir.file(&name, "fds");
    // As paths of the host they cannot be reached, but the names at their ends are the same.
    let has = |file: &str| shown.lines().any(|l| l.ends_with(file));
    assert!(has(&files[0]) && has(&files[1]) && !has(&files[2]), "{shown}");
}

#[test]
fn a_failing_start_leaves_nothing_and_can_be_repeated() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("fail").init("/nonexistent").build();
        for _ in 0..3 {
            dir.run(&suite, "lxc-start", &name, &["-d"]).fails(1);
            // The peer reports before it has tidied up.
            dir.gone(&suite, &name);
        }
        dir.run(&suite, "lxc-start", &name, &["-d", "--", "/sbin/quick"]).ok();
    }
}

#[test]
fn thirty_containers_start_at_once() {
    needs!(root, ours);
    let suite = Suite::ours();
    let dir = Lxcpath::new();
    let rootfs = dir.join(".rootfs");
    lxc_testkit::container::busybox_rootfs(&rootfs);
    let names: Vec<String> = (0..30).map(|_| dir.busybox("many").rootfs(&rootfs).quick().build()).collect();
    let begin = Instant::now();
    let starts: Vec<Running> = names.iter().map(|n| dir.spawn(&suite, "lxc-start", n, &["-d"])).collect();
    starts.into_iter().for_each(|s| drop(s.wait().ok()));
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    for name in &names {
        assert_eq!(dir.state(&suite, name), "RUNNING");
    }
    let stops: Vec<Running> = names.iter().map(|n| dir.spawn(&suite, "lxc-stop", n, &["-k"])).collect();
    stops.into_iter().for_each(|s| drop(s.wait().ok()));
    names.iter().for_each(|name| dir.gone(&suite, name));
}

/// Several commands that start one container: one does, and the others see it running or coming up.
#[test]
fn concurrent_starts_of_one_container_make_one() {
    needs!(root, ours);
    let suite = Suite::ours();
    let dir = Lxcpath::new();
    let name = dir.busybox("race").quick().build();
    let starts: Vec<Running> = (0..8).map(|_| dir.spawn(&suite, "lxc-start", &name, &["-d"])).collect();
    let codes: Vec<i32> = starts.into_iter().map(|s| s.wait().code).collect();
    assert!(codes.contains(&0), "{codes:?}");
    assert_eq!(process::monitors(dir.path()).len(), 1);
    assert_eq!(dir.state(&suite, &name), "RUNNING");
    dir.kill(&suite, &name);
    dir.gone(&suite, &name);
}
