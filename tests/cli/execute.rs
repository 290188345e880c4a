//! lxc-execute.

use lxc_testkit::process;
use lxc_testkit::{Lxcpath, Running, Suite, eventually, needs};

#[test]
fn the_status_is_that_of_the_command() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let all: [&[&str]; 6] = [
            &["true"],
            &["sh", "-c", "exit 7"],
            &["sh", "-c", "kill -9 $$"],
            &["sh", "-c", "kill -15 $$"],
            &["/missing"],
            &["sh", "-c", "sleep 1 & exit 3"],
        ];
        all.map(|command| {
            let dir = Lxcpath::new();
            let name = dir.busybox("exec").build();
            let output = dir.run(suite, "lxc-execute", &name, &[&["--"], command].concat());
            (command, output.code, output.stdout)
        })
    });
}

#[test]
fn it_runs_under_a_small_init_with_the_callers_descriptors() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let name = dir.busybox("exec").build();
        let script = "echo $$; cat /proc/1/cmdline | tr '\\0' ' '; echo; hostname; id -u; echo err >&2; cat";
        let mut command = suite.command("lxc-execute");
        command.args(["-P", dir.arg(), "-n", &name, "--", "sh", "-c", script]);
        let output = Running::with_input(command, b"input\n").wait();
        let text = output.stdout.replace(&name, "NAME");
        dir.gone(suite, &name);
        (output.code, text, output.stderr)
    });
}

#[test]
fn ids_and_definitions_are_options() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let name = dir.busybox("exec").build();
        let all =
            ["-u", "1000", "-g", "1001", "-s", "lxc.uts.name=defined", "--", "sh", "-c", "id; hostname"];
        let output = dir.run(suite, "lxc-execute", &name, &all);
        (output.code, output.stdout)
    });
}

#[test]
fn the_configured_command_is_the_default() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("exec").line("lxc.execute.cmd = sh -c \"exit 9\"").build();
        dir.run(&suite, "lxc-execute", &name, &[]).exits(9);
    }
}

/// The peer dies of a segmentation fault.
#[test]
fn without_any_command_there_is_nothing_to_do() {
    needs!(root, ours);
    let dir = Lxcpath::new();
    let name = dir.busybox("exec").build();
    dir.run(&Suite::ours(), "lxc-execute", &name, &[]).fails(1);
    dir.gone(&Suite::ours(), &name);
}

#[test]
fn in_the_background_it_is_a_container_like_others() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("exec").build();
        dir.run(&suite, "lxc-execute", &name, &["-d", "--", "sleep", "1000"]).exits(0);
        assert_eq!(dir.state(&suite, &name), "RUNNING", "{suite}");
        let init = dir.init_pid(&suite, &name);
        assert_eq!(process::children(init).len(), 1, "{suite}");
        dir.kill(&suite, &name);
        dir.gone(&suite, &name);
    }
}

#[test]
fn a_configuration_file_is_enough() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let defined = dir.busybox("rc").build();
        let config = dir.join(&defined).join("config");
        let volatile = dir.name("volatile");
        let output = dir
            .run(&suite, "lxc-execute", &volatile, &["-f", config.to_str().unwrap(), "--", "hostname"])
            .exits(0);
        assert_eq!(output.stdout, format!("{defined}\n"), "{suite}");
        dir.run(&suite, "lxc-execute", "undefined", &["--", "true"]).fails(1);
    }
}

#[test]
fn a_kill_from_outside_ends_it() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("exec").build();
        let running = dir.spawn(&suite, "lxc-execute", &name, &["--", "sleep", "1000"]);
        eventually("it runs", || dir.state(&suite, &name) == "RUNNING");
        dir.kill(&suite, &name);
        let code = running.wait().code;
        assert!(code != 0, "{suite}: {code}");
        dir.gone(&suite, &name);
    }
}

#[test]
fn the_small_init_reaps_and_forwards_signals() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("exec").build();
        // Orphans of the command become children of init: none may stay a zombie.
        let script = "trap 'echo usr1; exit 5' USR1; for i in 1 2 3; do (sleep 0.1 &) ; done; sleep 0.5; \
            ps | grep -c '\\[sleep\\]'; echo ready; while :; do sleep 0.1; done";
        let mut running = dir.spawn(&suite, "lxc-execute", &name, &["--", "sh", "-c", script]);
        eventually("the script is ready", || running.stdout_so_far().contains("ready"));
        let init = dir.init_pid(&suite, &name);
        process::kill(init, rustix::process::Signal::USR1);
        let output = running.wait();
        assert_eq!((output.code, output.stdout.as_str()), (5, "0\nready\nusr1\n"), "{suite}: {output}");
    }
}
