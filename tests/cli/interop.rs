//! Either suite's commands manage what the other has started, with the same results.

use lxc_testkit::pty::Terminal;
use lxc_testkit::{Lxcpath, Suite, eventually, needs};

/// What lxc-ls lists. What it says on standard error does not count: the peer's asks the containers of the whole
/// host, and complains of one that ends meanwhile.
fn listed(manager: &Suite, dir: &Lxcpath, options: &[&str]) -> String {
    manager.run("lxc-ls", &[&["-P", dir.arg()], options].concat()).exits(0).stdout
}

/// Everything that can be asked of and done to a running container, by one suite to another's.
fn manage(starter: &Suite, manager: &Suite) -> Vec<String> {
    let dir = Lxcpath::new();
    let name = dir.busybox("mixed").build();
    dir.start(starter, &name);
    let mut record = Vec::new();
    let mut note = |what: &str, text: &str| record.push(format!("{what}: {}", dir.normal(text, &name)));
    let run = |command: &str, arguments: &[&str]| {
        let output = dir.run(manager, command, &name, arguments);
        format!("{} {:?} {:?}", output.code, output.stdout, output.messages())
    };

    note("state", &run("lxc-info", &["-sH"]));
    note("ips", &run("lxc-info", &["-i"]));
    let init = dir.init_pid(manager, &name);
    assert_eq!(lxc_testkit::process::parent(init), dir.monitor_pid(&name));
    let list = |options: &[&str]| listed(manager, &dir, options);
    note("ls -1", &list(&["-1", "--running"]));
    // Columns are as wide as the name: single blanks do for comparing.
    note("ls -f", &list(&["-f"]).split_whitespace().collect::<Vec<_>>().join(" "));
    note(
        "attach",
        &run(
            "lxc-attach",
            &["--", "sh", "-c", "hostname; cat /proc/self/cgroup; grep Cap /proc/self/status; exit 3"],
        ),
    );
    note("clear", &run("lxc-attach", &["--clear-env", "-u", "1000", "--", "sh", "-c", "id; tty"]));
    note("wait", &run("lxc-wait", &["-s", "RUNNING", "-t", "5"]));
    note("start", &run("lxc-start", &[]));
    note("freeze", &run("lxc-freeze", &[]));
    note("frozen", &run("lxc-info", &["-sH"]));
    note("ls frozen", &list(&["-1", "--frozen"]));
    note("unfreeze", &run("lxc-unfreeze", &[]));
    note("thawed", &run("lxc-info", &["-sH"]));
    note("get", &run("lxc-cgroup", &["pids.max"]));
    note("set", &run("lxc-cgroup", &["pids.max", "99"]));
    note("get", &run("lxc-cgroup", &["pids.max"]));
    note("destroy", &run("lxc-destroy", &[]));
    note("console", &console(&dir, manager, &name));
    let (monitor, stopped) =
        (dir.monitor_pid(&name), dir.spawn(manager, "lxc-wait", &name, &["-s", "STOPPED"]));
    note("reboot", &run("lxc-stop", &["-r", "-t", "20"]));
    assert_eq!(dir.monitor_pid(&name), monitor);
    assert_ne!(dir.init_pid(manager, &name), init);
    note("timeout", &run("lxc-stop", &["-t", "0"]));
    note("stop", &run("lxc-stop", &["-t", "20"]));
    // The reboot may have answered it; how is the starter's affair.
    drop(stopped);
    note("stopped", &run("lxc-info", &["-sH"]));
    note("again", &run("lxc-stop", &[]));
    dir.start(starter, &name);
    note("kill", &run("lxc-stop", &["-k"]));
    dir.gone(starter, &name);
    note("destroy", &run("lxc-destroy", &[]));
    record
}

fn console(dir: &Lxcpath, suite: &Suite, name: &str) -> String {
    let mut command = suite.command("lxc-console");
    command.args(["-P", dir.arg(), "-n", name, "-t", "1"]);
    let mut terminal = Terminal::spawn(&command, 24, 80);
    let greeting = terminal.expect(" itself\r\n");
    eventually("the terminal is raw", || !terminal.is_cooked());
    terminal.send("\n");
    terminal.expect("# ");
    terminal.send("echo on-$(hostname)\n");
    terminal.expect(&format!("on-{name}"));
    terminal.send("\u{1}q");
    format!("{greeting:?} {:?}", terminal.expect_end_and_mode())
}

/// What all cells of the table must show: the peer's own.
fn cell(starter: Suite, manager: Suite) {
    let expected = manage(&Suite::peer(), &Suite::peer());
    let found = manage(&starter, &manager);
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(
            found, expected,
            "started by {starter}, managed by {manager}; on the right all by the peer"
        );
    }
}

#[test]
fn ours_manages_what_the_peer_started() {
    needs!(root, ours, peer);
    cell(Suite::peer(), Suite::ours());
}

#[test]
fn the_peer_manages_what_ours_started() {
    needs!(root, ours, peer);
    cell(Suite::ours(), Suite::peer());
}

#[test]
fn ours_manages_what_ours_started() {
    needs!(root, ours, peer);
    cell(Suite::ours(), Suite::ours());
}

/// Configuration items of the running container are asked over the socket.
#[test]
fn a_container_without_files_is_managed() {
    needs!(root, ours, peer);
    for (starter, manager) in [(Suite::ours(), Suite::peer()), (Suite::peer(), Suite::ours())] {
        let dir = Lxcpath::new();
        let defined = dir.busybox("rc").quick().build();
        let config = dir.join(&defined).join("config");
        let name = dir.name("volatile");
        dir.run(&starter, "lxc-start", &name, &["-f", config.to_str().unwrap()]).ok();
        assert_eq!(dir.state(&manager, &name), "RUNNING");
        assert_eq!(dir.sh(&manager, &name, "hostname"), format!("{defined}\n"));
        let active = listed(&manager, &dir, &["-1", "--active"]);
        assert_eq!(active, format!("{name}\n"));
        dir.kill(&manager, &name);
    }
}

/// A name so long that the name of the socket is a hash.
#[test]
fn long_names_find_each_other() {
    needs!(root, ours, peer);
    for (starter, manager) in [(Suite::ours(), Suite::peer()), (Suite::peer(), Suite::ours())] {
        let dir = Lxcpath::new();
        let name = dir.busybox(&"n".repeat(90)).quick().build();
        dir.start(&starter, &name);
        assert_eq!(dir.state(&manager, &name), "RUNNING");
        assert_eq!(listed(&manager, &dir, &["-1", "--active"]), format!("{name}\n"));
        dir.kill(&manager, &name);
        assert_eq!(dir.state(&starter, &name), "STOPPED");
    }
}
