//! Containers of an ordinary user on a host that systemd runs: with cgroups from the user's own systemd.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lxc_testkit::net::sh;
use lxc_testkit::{Output, Running, Suite, eventually, needs, patience, process, within};

/// The user of the guest, with subordinate ids and a quota of devices on lxcbr0.
const LOGIN: &str = "tester";

/// A shell of the user's, in a session of its own as sshd makes it, or without one as cron does.
fn shell(session: bool, script: &str) -> Command {
    let mut command = Command::new("systemd-run");
    command.args(["--quiet", "--collect", "--wait", "--pipe", "--property=WorkingDirectory=~"]);
    command.arg(format!("--property=User={LOGIN}"));
    if session {
        command.arg("--property=PAMName=login");
    }
    let suite = Suite::ours();
    let bin = suite.path("lxc-start").parent().expect("a directory").display().to_string();
    command.arg(format!("--setenv=PATH={bin}:/usr/sbin:/usr/bin:/sbin:/bin")).args(["sh", "-c", script]);
    command
}

#[track_caller]
fn run(session: bool, script: &str) -> Output {
    Running::spawn(shell(session, script)).wait()
}

/// Cgroups of containers below the user's slice.
fn cgroups() -> String {
    sh(&format!(
        "find /sys/fs/cgroup/user.slice/user-$(id -u {LOGIN}).slice -name '*lxc*' 2>/dev/null || true"
    ))
}

/// The lines of a new container's configuration.
const CONFIG: &str = "S=$(awk -F: '/tester/ { print $2; exit }' /etc/subuid); mkdir -p .config/lxc; \
    printf \"lxc.idmap = u 0 $S 65536\\nlxc.idmap = g 0 $S 65536\\nlxc.net.0.type = empty\\n\" >.config/lxc/default.conf; ";

/// From a session without lingering: with limits, a device, attached to from another session, and with nothing left.
/// Then without a session: no cgroup, which is said, and no limits.
#[test]
fn from_a_session_and_without_one() {
    needs!(root, ours, cgroup2 "memory", program "systemd-run", program "loginctl", user "tester");
    let home = sh(&format!("getent passwd {LOGIN} | cut -d: -f6"));
    let home = Path::new(home.trim());
    sh(&format!("loginctl disable-linger {LOGIN}; systemctl stop user@$(id -u {LOGIN}).service"));
    let (marker, name) = (home.join("go"), format!("session{}", std::process::id()));
    // Of a run before.
    for file in ["go", "started", "log"] {
        let _ = std::fs::remove_file(home.join(file));
    }
    let network = "-s lxc.net.0.type=veth -s lxc.net.0.link=lxcbr0 -s lxc.net.0.flags=up -s lxc.net.0.ipv4.address=10.0.3.77/24";
    let script = format!(
        "{CONFIG} lxc-create -n {name} -t busybox && lxc-start -n {name} -s lxc.cgroup2.memory.max=40M \
         -s lxc.cgroup2.memory.swap.max=0 {network} && touch started; while [ ! -e go ]; do sleep 0.1; done"
    );
    let first = Running::spawn(shell(true, &script));
    eventually("the container runs", || home.join("started").exists());
    let second = run(
        true,
        &format!(
            "lxc-unpriv-attach -n {name} -- cat /proc/self/cgroup; lxc-attach -n {name} -- ip addr show eth0; \
             lxc-attach -n {name} -- ping -c 1 10.0.3.1 | grep received; lxc-cgroup -n {name} memory.max; \
             lxc-attach -n {name} -- sh -c 'head -c 100m /dev/zero | tail >/dev/null; echo $?'; lxc-info -n {name} -sH"
        ),
    );
    let text = &second.stdout;
    assert!(text.starts_with("0::/.lxc\n"), "{second}");
    assert!(text.contains("10.0.3.77/24") && text.contains("1 packets received"), "{second}");
    assert!(text.contains("41943040\n") && text.ends_with("137\nRUNNING\n"), "{second}");
    assert!(cgroups().contains(&format!("lxc-{name}-0.scope/lxc.payload.{name}")), "{}", cgroups());
    let stopped = run(true, &format!("lxc-stop -n {name} && lxc-destroy -n {name}; ls -A .local/share/lxc"));
    assert_eq!(stopped.ok(), "");
    let gone = || cgroups().is_empty();
    assert!(within(patience(Duration::from_secs(10)), gone), "cgroups are left: {}", cgroups());
    std::fs::write(&marker, "").expect("let the first session end");
    first.wait().ok();
    // Nobody of that name is logged in any more.
    let uid = sh(&format!("id -u {LOGIN}")).trim().to_string();
    eventually("the user's systemd ends", || !Path::new(&format!("/run/user/{uid}/bus")).exists());
    let bare = run(
        false,
        &format!(
            "{CONFIG} lxc-create -n {name} -t busybox && lxc-start -n {name} -l WARN -o log; lxc-info -n {name} -sH; \
                  lxc-stop -k -n {name}; lxc-start -n {name} -s lxc.cgroup2.pids.max=9; lxc-destroy -n {name}; cat log"
        ),
    );
    assert!(bare.stdout.starts_with("RUNNING\n"), "{bare}");
    assert!(
        bare.stdout.contains("no scope of systemd") && bare.stdout.contains("no cgroup here is writable"),
        "{bare}"
    );
    assert!(bare.stderr.contains("lxc.cgroup2.pids.max = 9: the container has no cgroup"), "{bare}");
    assert_eq!(process::cgroups_of(&name), Vec::<std::path::PathBuf>::new());
    sh(&format!("loginctl enable-linger {LOGIN}"));
}
