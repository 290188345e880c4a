//! lxc-monitord, the helper that lxc-monitor starts: either suite's serves the other's commands.

use std::time::Duration;

use lxc_testkit::{Lxcpath, Suite, eventually, needs};

/// Waits until so many lxc-monitor are connected.
fn connected(dir: &Lxcpath, clients: usize) {
    eventually("it serves", || lxc_testkit::process::monitord_sockets(dir.path()) > clients);
    std::thread::sleep(Duration::from_millis(100));
}

#[test]
fn it_passes_on_what_any_monitor_reports() {
    needs!(root, ours, peer);
    for (daemon, starter) in [(Suite::ours(), Suite::peer()), (Suite::peer(), Suite::ours())] {
        let dir = Lxcpath::new();
        let name = dir.busybox("watch").quick().build();
        let mut first = daemon.spawn("lxc-monitor", &["-P", dir.arg()]);
        connected(&dir, 1);
        let mut second = starter.spawn("lxc-monitor", &["-P", dir.arg()]);
        connected(&dir, 2);
        dir.start(&starter, &name);
        dir.kill(&starter, &name);
        for watch in [&mut first, &mut second] {
            eventually("the end is shown", || watch.stdout_so_far().contains("[STOPPED]"));
        }
        assert_eq!(first.stdout_so_far(), second.stdout_so_far());
    }
}

#[test]
fn it_can_be_told_to_quit() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let watch = suite.spawn("lxc-monitor", &["-P", dir.arg()]);
        connected(&dir, 1);
        let fifo = format!("/run/lxc/{}/monitor-fifo", dir.arg());
        assert!(std::path::Path::new(&fifo).exists(), "{suite}");
        suite.run("lxc-monitor", &["-P", dir.arg(), "-Q"]).exits(0);
        eventually("the daemon has gone", || !std::path::Path::new(&fifo).exists());
        watch.wait().exits(1);
    }
}
