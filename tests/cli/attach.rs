//! lxc-attach.

use lxc_testkit::pty::Terminal;
use lxc_testkit::{Lxcpath, Running, Suite, eventually, needs, process};

/// A running container for tests that only look.
fn running(suite: &Suite) -> (Lxcpath, String) {
    let dir = Lxcpath::new();
    let name = dir.busybox("attach").quick().line("lxc.environment = FROM=config").build();
    dir.start(suite, &name);
    (dir, name)
}

#[test]
fn the_status_is_that_of_the_command() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let (dir, name) = running(suite);
        dir.sh(suite, &name, "echo text >/tmp/file; chmod 644 /tmp/file");
        let all: [&[&str]; 7] = [
            &["true"],
            &["false"],
            &["sh", "-c", "exit 7"],
            &["sh", "-c", "kill -9 $$"],
            &["sh", "-c", "kill -15 $$"],
            &["missing"],
            &["/tmp/file"],
        ];
        all.map(|command| {
            let output = dir.run(suite, "lxc-attach", &name, &[&["--"], command].concat());
            // The peer's texts hold the program's name too.
            (command, output.code, output.messages().iter().map(|m| dir.normal(m, &name)).collect::<Vec<_>>())
        })
    });
}

#[test]
fn the_process_is_like_others_of_the_container() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let (dir, name) = running(suite);
        let init = dir.init_pid(suite, &name);
        let script = "for n in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$n; done; \
            grep -E 'Cap(Bnd|Eff|Prm|Inh|Amb)|NoNewPrivs|Seccomp|Groups|Uid|Gid|Sig(Ign|Blk)' /proc/self/status; \
            cat /proc/self/oom_score_adj /proc/self/loginuid; ulimit -a; umask; pwd";
        let shown = dir.sh(suite, &name, script);
        let (namespaces, rest) = shown.split_at(shown.find("Uid").expect("a line Uid"));
        let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];
        let of_init = kinds.map(|kind| process::namespace(init, kind).to_string_lossy().into_owned());
        assert_eq!(namespaces.lines().take(kinds.len()).collect::<Vec<_>>(), of_init, "{suite}");
        rest.to_string()
    });
}

#[test]
fn the_process_is_in_the_cgroups_of_the_container() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let (dir, name) = running(suite);
        dir.normal(&dir.sh(suite, &name, "cat /proc/self/cgroup"), &name)
    });
}

#[test]
fn the_environment_is_kept_cleared_and_set_as_asked() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let (dir, name) = running(suite);
        let all: [&[&str]; 7] = [
            &[],
            &["--keep-env"],
            &["--clear-env"],
            &["--clear-env", "--keep-var", "KEPT"],
            &["--clear-env", "--keep-var", "PATH", "-v", "SET=1"],
            &["-v", "SET=1", "-v", "SET=2", "-v", "KEPT"],
            &["--clear-env", "-v", "FROM=option", "-v", "container=other"],
        ];
        all.map(|options| {
            let mut command = suite.command("lxc-attach");
            command.env_clear().env("PATH", "/bin:/usr/bin").env("KEPT", "kept").env("container", "mine");
            command.args(["-P", dir.arg(), "-n", &name]).args(options).args(["--", "/bin/env"]);
            let text = Running::spawn(command).wait().ok();
            let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
            lines.sort();
            (options, lines)
        })
    });
}

#[test]
fn ids_are_set_and_groups_dropped() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let (dir, name) = running(suite);
        let all: [&[&str]; 4] = [&[], &["-u", "1000"], &["-g", "1001"], &["-u", "1000", "-g", "1001"]];
        all.map(|options| {
            let script = "id; grep -E 'Groups|Cap(Eff|Prm)' /proc/self/status";
            dir.run(suite, "lxc-attach", &name, &[options, &["--", "sh", "-c", script]].concat()).ok()
        })
    });
    for suite in Suite::all() {
        let (dir, name) = running(&suite);
        dir.run(&suite, "lxc-attach", &name, &["-u", "someone", "--", "true"]).fails(1);
    }
}

#[test]
fn only_the_namespaces_asked_for_are_entered() {
    needs!(root, ours);
    for suite in Suite::all() {
        let (dir, name) = running(&suite);
        let init = dir.init_pid(&suite, &name);
        for (option, entered) in
            [("NETWORK", &["net"][..]), ("UTSNAME|IPC", &["uts", "ipc"]), ("mnt|pid|net", &["mnt", "net"])]
        {
            let script = "for n in ipc mnt net uts; do echo $n $(readlink /proc/self/ns/$n); done";
            let text = dir.run(&suite, "lxc-attach", &name, &["-s", option, "--", "sh", "-c", script]).ok();
            for line in text.lines() {
                let (kind, namespace) = line.split_once(' ').expect("two words");
                let of = if entered.contains(&kind) { init } else { std::process::id() };
                assert_eq!(process::namespace(of, kind).to_str(), Some(namespace), "{suite} {option} {kind}");
            }
        }
        dir.run(&suite, "lxc-attach", &name, &["-s", "BOGUS", "--", "true"]).fails(1);
    }
}

#[test]
fn elevated_privileges_leave_capabilities_and_cgroups() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let (dir, name) = running(suite);
        [None, Some("-e"), Some("-eCAP"), Some("-eCGROUP"), Some("-eCAP|LSM"), Some("-eBOGUS")].map(
            |option| {
                let script = "grep CapBnd /proc/self/status; grep pids /proc/self/cgroup";
                let arguments: Vec<&str> = option.into_iter().chain(["--", "sh", "-c", script]).collect();
                let output = dir.run(suite, "lxc-attach", &name, &arguments);
                (option, output.code, dir.normal(&output.stdout, &name))
            },
        )
    });
}

#[test]
fn a_pipe_is_a_pipe_inside() {
    needs!(root, ours);
    for suite in Suite::all() {
        let (dir, name) = running(&suite);
        let attach = |command: &[&str]| {
            let mut c = suite.command("lxc-attach");
            c.args(["-P", dir.arg(), "-n", &name]).args(command);
            c
        };
        let input: Vec<u8> = (0..3_000_000_u32).map(|n| b'a' + (n % 26) as u8).collect();
        let output = Running::with_input(attach(&["--", "cat"]), &input).wait().ok();
        assert_eq!(output.len(), input.len(), "{suite}");
        assert!(output.as_bytes() == input, "{suite}: the bytes are others");
        let both =
            dir.run(&suite, "lxc-attach", &name, &["--", "sh", "-c", "echo out; echo err >&2"]).exits(0);
        assert_eq!((both.stdout.as_str(), both.stderr.as_str()), ("out\n", "err\n"), "{suite}");
        // Without a command the shell of the user reads it.
        let shell = Running::with_input(attach(&[]), b"hostname\nexit 3\n").wait();
        assert_eq!((shell.code, shell.stdout), (3, format!("{name}\n")), "{suite}: {}", shell.stderr);
    }
}

#[test]
fn a_terminal_is_a_terminal_inside() {
    needs!(root, ours);
    for suite in Suite::all() {
        let (dir, name) = running(&suite);
        let mut command = suite.command("lxc-attach");
        command.args(["-P", dir.arg(), "-n", &name, "--", "sh"]);
        let mut terminal = Terminal::spawn(&command, 33, 101);
        // Raw mode drops what is typed before.
        terminal.expect("# ");
        terminal.send("stty size; tty; echo done-$((40+2))\n");
        let shown = terminal.expect("done-42");
        assert!(shown.contains("33 101") && shown.contains("/dev/pts/"), "{suite}: {shown}");
        terminal.resize(50, 120);
        terminal.send("until stty size | grep '50 120'; do usleep 1000; done; echo done-$((40+3))\n");
        terminal.expect("done-43");
        // Signals of the keyboard go to the process in front, there.
        let seconds = format!("{}", 2_000_000 + dir.init_pid(&suite, &name));
        terminal.send(&format!("sleep {seconds}; echo interrupted-$?\n"));
        eventually("it sleeps", || process::runs(&format!("sleep {seconds}")));
        terminal.send("\u{3}");
        terminal.send("echo alive-$((40+4)); exit 9\n");
        terminal.expect("alive-44");
        assert_eq!(terminal.wait().0, 9, "{suite}");
    }
}

#[test]
fn nothing_of_a_large_output_on_a_terminal_is_lost() {
    needs!(root, ours);
    let suite = Suite::ours();
    let (dir, name) = running(&suite);
    let mut command = suite.command("lxc-attach");
    command.args(["-P", dir.arg(), "-n", &name, "--", "seq", "1", "200000"]);
    let (code, shown) = Terminal::spawn(&command, 24, 80).wait();
    assert_eq!(code, 0);
    let numbers: Vec<u32> = shown.split_whitespace().map(|n| n.parse().expect("a number")).collect();
    assert!(numbers.iter().copied().eq(1..=200_000), "{} numbers", numbers.len());
}

#[test]
fn the_terminal_is_restored() {
    needs!(root, ours);
    let suite = Suite::ours();
    let (dir, name) = running(&suite);
    let mut command = std::process::Command::new("sh");
    let attach = suite.path("lxc-attach").display().to_string();
    // Someone after the command looks at the terminal.
    command.args([
        "-c",
        &format!("{attach} -P {} -n {name} -- sh -c 'exit 4'; echo was-$?; read line", dir.arg()),
    ]);
    let mut terminal = Terminal::spawn(&command, 24, 80);
    terminal.expect("was-4");
    assert!(terminal.is_cooked());
}

/// The command must not outlive the one that ran it for lack of a terminal.
#[test]
fn an_attached_process_is_killed_with_the_container() {
    needs!(root, ours);
    for suite in Suite::all() {
        let (dir, name) = running(&suite);
        // A command line that no other test has.
        let seconds = format!("{}", 1_000_000 + dir.init_pid(&suite, &name));
        let attached = dir.spawn(&suite, "lxc-attach", &name, &["--", "sleep", &seconds]);
        eventually("it runs inside", || process::runs(&format!("sleep {seconds}")));
        dir.kill(&suite, &name);
        attached.wait().exits(137);
    }
}

#[test]
fn what_does_not_run_is_refused() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let name = dir.busybox("idle").build();
        [name.as_str(), "undefined"].map(|n| {
            let output = dir.run(suite, "lxc-attach", n, &["--", "true"]);
            (output.code, output.messages().iter().map(|m| dir.normal(m, &name)).collect::<Vec<_>>())
        })
    });
}

#[test]
fn the_working_directory_is_kept_where_it_exists() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let (dir, name) = running(suite);
        ["/tmp", "/usr/bin", "/usr/share"].map(|directory| {
            let mut command = suite.command("lxc-attach");
            command.args(["-P", dir.arg(), "-n", &name, "--", "/bin/pwd"]).current_dir(directory);
            Running::spawn(command).wait().exits(0).stdout
        })
    });
}

/// 0, 1, 2, and the one that `ls` reads the directory with. (The peer leaks two more.)
#[test]
fn no_descriptor_is_leaked_into_the_container() {
    needs!(root, ours);
    let suite = Suite::ours();
    let (dir, name) = running(&suite);
    assert_eq!(dir.sh(&suite, &name, "ls /proc/self/fd"), "0\n1\n2\n3\n");
}

/// The options of a command behind `--` are the command's.
#[test]
fn the_command_begins_after_two_dashes() {
    needs!(root, ours);
    for suite in Suite::all() {
        let (dir, name) = running(&suite);
        let text =
            suite.run("lxc-attach", &["-P", dir.arg(), &name, "--", "echo", "-n", "x", "-P", "y"]).ok();
        assert_eq!(text, "x -P y", "{suite}");
        suite.run("lxc-attach", &["-P", dir.arg(), &name, "ls", "-l"]).fails(1);
    }
}

#[test]
fn twenty_at_once() {
    needs!(root, ours);
    let suite = Suite::ours();
    let (dir, name) = running(&suite);
    let all: Vec<Running> =
        (0..20).map(|n| dir.spawn(&suite, "lxc-attach", &name, &["--", "echo", &n.to_string()])).collect();
    for (n, attached) in all.into_iter().enumerate() {
        assert_eq!(attached.wait().ok(), format!("{n}\n"));
    }
}
