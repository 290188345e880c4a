//! lxc-console.

use std::time::Duration;

use lxc_testkit::pty::Terminal;
use lxc_testkit::{Lxcpath, Suite, eventually, needs};

fn console(suite: &Suite, dir: &Lxcpath, name: &str, options: &[&str]) -> Terminal {
    let mut command = suite.command("lxc-console");
    command.args(["-P", dir.arg(), "-n", name]).args(options);
    Terminal::spawn(&command, 24, 80)
}

/// The greeting; what is typed before the terminal is in raw mode is lost.
fn connected(terminal: &mut Terminal) -> String {
    let greeting = terminal.expect(" itself\r\n");
    eventually("the terminal is raw", || !terminal.is_cooked());
    greeting
}

/// The inittab of the test system has a shell on tty1.
#[test]
fn a_terminal_of_the_container_is_used_and_left() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("tty").build();
        dir.start(&suite, &name);
        let mut terminal = console(&suite, &dir, &name, &["-t", "1"]);
        let greeting = "\r\nConnected to tty 1\r\n\
            Type <Ctrl+a q> to exit the console, <Ctrl+a Ctrl+a> to enter Ctrl+a itself\r\n";
        let shown = connected(&mut terminal);
        assert!(shown.ends_with(greeting), "{suite}: {shown:?}");
        terminal.send("\n");
        terminal.expect("# ");
        terminal.send("hostname; tty; echo sum-$((40+2))\n");
        let shown = terminal.expect("sum-42");
        assert!(shown.contains(&name), "{suite}: {shown:?}");
        terminal.send("\u{1}q");
        let cooked = terminal.expect_end_and_mode();
        assert_eq!(cooked, (0, true), "{suite}");
        assert_eq!(dir.state(&suite, &name), "RUNNING");
    }
}

#[test]
fn the_escape_character_is_chosen() {
    needs!(root, ours);
    for suite in Suite::all() {
        for option in ["b", "^b"] {
            let dir = Lxcpath::new();
            let name = dir.busybox("escape").build();
            dir.start(&suite, &name);
            let mut terminal = console(&suite, &dir, &name, &["-t", "1", "-e", option]);
            assert!(connected(&mut terminal).contains("Type <Ctrl+b q> to exit the console"), "{suite}");
            terminal.send("\u{2}q");
            assert_eq!(terminal.wait().0, 0, "{suite}");
        }
    }
}

#[test]
fn a_terminal_has_one_user() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("busy").build();
        dir.start(&suite, &name);
        let mut first = console(&suite, &dir, &name, &["-t", "1"]);
        assert!(connected(&mut first).contains("Connected to tty 1"), "{suite}");
        assert_eq!(console(&suite, &dir, &name, &["-t", "1"]).wait().0, 1, "{suite}: busy");
        let mut second = console(&suite, &dir, &name, &[]);
        assert!(connected(&mut second).contains("Connected to tty 2"), "{suite}");
        first.send("\u{1}q");
        assert_eq!(first.wait().0, 0);
        let mut third = console(&suite, &dir, &name, &["-t", "1"]);
        assert!(connected(&mut third).contains("Connected to tty 1"), "{suite}");
        assert_eq!(console(&suite, &dir, &name, &["-t", "99"]).wait().0, 1, "{suite}: there is none");
    }
}

#[test]
fn the_console_itself_is_tty_0() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("zero").build();
        dir.start(&suite, &name);
        let mut terminal = console(&suite, &dir, &name, &["-t", "0"]);
        assert!(connected(&mut terminal).contains("Connected to tty 0"), "{suite}");
        terminal.send("\n\n");
        terminal.expect("# ");
        terminal.send("echo sum-$((40+2)) $(hostname)\n");
        terminal.expect(&format!("sum-42 {name}"));
        terminal.send("\u{1}q");
        assert_eq!(terminal.wait().0, 0, "{suite}");
    }
}

#[test]
fn it_ends_with_the_container() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("end").build();
        dir.start(&suite, &name);
        let mut terminal = console(&suite, &dir, &name, &["-t", "1"]);
        assert!(connected(&mut terminal).contains("Connected to tty 1"), "{suite}");
        dir.kill(&suite, &name);
        assert_eq!(terminal.wait().0, 0, "{suite}");
    }
}

#[test]
fn what_does_not_run_has_no_console() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let name = dir.busybox("idle").build();
        [name.as_str(), "undefined"].map(|n| {
            let output = dir.run(suite, "lxc-console", n, &[]);
            (output.code, output.messages().iter().map(|m| dir.normal(m, &name)).collect::<Vec<_>>())
        })
    });
}

/// A flood on the console that nobody reads must not stop the container, and the log keeps its limit.
#[test]
fn a_console_that_nobody_reads_does_not_block() {
    needs!(root, ours);
    let suite = Suite::ours();
    let dir = Lxcpath::new();
    let log = dir.join("console.log");
    let name = dir
        .busybox("flood")
        .init("/sbin/flood")
        .line(format!("lxc.console.logfile = {}", log.display()))
        .line("lxc.console.size = 8192")
        .line("lxc.console.buffer.size = 8192")
        .line("lxc.console.rotate = 1")
        .build();
    dir.script(&name, "sbin/flood", "seq 1 20000 >/dev/console; touch /done; exec sleep 1000");
    dir.start(&suite, &name);
    eventually("the flood is over", || dir.join(&name).join("rootfs/done").exists());
    std::thread::sleep(Duration::from_millis(200));
    let length = std::fs::metadata(&log).expect("the log exists").len();
    assert!(length <= 8192, "{length}");
    assert!(dir.join("console.log.1").exists());
}

/// With a peer that keeps its terminal but does not read it, init goes on too.
#[test]
fn a_terminal_that_is_not_read_does_not_stop_the_monitor() {
    needs!(root, ours);
    let suite = Suite::ours();
    let dir = Lxcpath::new();
    let name = dir.busybox("deaf").init("/sbin/flood").build();
    dir.script(&name, "sbin/flood", "while :; do seq 1 1000 >/dev/console; usleep 1000; done");
    dir.start(&suite, &name);
    let _unread = console(&suite, &dir, &name, &["-t", "0"]);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(dir.state(&suite, &name), "RUNNING");
    dir.kill(&suite, &name);
}
