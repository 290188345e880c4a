//! lxc gc: what killed processes have left, and nothing else.

use std::process::Command;

use lxc_testkit::process::{self, monitord_sockets};
use lxc_testkit::{Lxcpath, Output, Suite, eventually, needs};
use rustix::process::Signal;

fn gc(dir: &Lxcpath, more: &[&str]) -> Output {
    Suite::ours().run("lxc", &[&["gc", "-P", dir.arg()], more].concat())
}

/// A monitor is killed, and its container with it. Only the cgroups stay.
#[test]
fn cgroups_of_a_killed_monitor() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("left").quick().build();
        dir.start(&suite, &name);
        assert_eq!(gc(&dir, &["-n", &name]).ok(), "", "{suite}: it runs");
        let init = dir.init_pid(&suite, &name);
        process::kill(dir.monitor_pid(&name).expect("a monitor"), Signal::KILL);
        eventually("the container is dead", || !process::alive(init));
        let expected = format!("cgroup lxc.payload.{name}: nobody is in it, and its monitor is gone\n");
        eventually("it is listed", || gc(&dir, &["-n", &name, "--dry-run"]).ok().contains(&expected));
        assert!(!process::cgroups_of(&name).is_empty(), "{suite}: nothing is removed");
        assert!(gc(&dir, &[&name]).ok().contains(&expected));
        assert_eq!(process::cgroups_of(&name), Vec::<std::path::PathBuf>::new(), "{suite}");
        assert_eq!(gc(&dir, &["-n", &name]).ok(), "", "{suite}");
    }
}

#[test]
fn an_interrupted_creation() {
    needs!(root, ours);
    let dir = Lxcpath::new();
    let (half, whole) = (dir.busybox("half").build(), dir.busybox("whole").build());
    std::fs::write(dir.join(&half).join("partial"), "").unwrap();
    let listed = gc(&dir, &["--dry-run", "--kind", "container", "--json"]).ok();
    assert!(listed.contains(&half) && !listed.contains(&whole), "{listed}");
    assert!(dir.join(&half).exists());
    gc(&dir, &["--kind", "container"]).ok();
    assert!(!dir.join(&half).exists() && dir.join(&whole).join("config").exists());
}

#[test]
fn the_pipe_of_a_killed_monitord() {
    needs!(root, ours);
    let dir = Lxcpath::new();
    let suite = Suite::ours();
    let watch = suite.spawn("lxc-monitor", &["-P", dir.arg()]);
    eventually("the daemon serves", || monitord_sockets(dir.path()) > 1);
    assert_eq!(gc(&dir, &["--kind", "fifo"]).ok(), "");
    let daemon = |pid: &u32| {
        process::command_line(*pid).contains("monitord") && process::command_line(*pid).contains(dir.arg())
    };
    let daemon = process::all().into_iter().find(daemon).expect("a daemon");
    process::kill(daemon, Signal::KILL);
    watch.wait().exits(1);
    let fifo = format!("/run/lxc/{}/monitor-fifo", dir.arg());
    eventually("it is listed", || gc(&dir, &["--kind", "fifo", "--dry-run"]).ok().contains(&fifo));
    gc(&dir, &["--kind", "fifo"]).ok();
    assert!(!std::path::Path::new(&fifo).exists());
}

/// Only pairs that look as LXC makes them, and that are connected to nothing.
#[test]
fn pairs_that_never_came_into_a_container() {
    needs!(root, ours, program "ip", program "unshare");
    let dir = Lxcpath::new();
    let script = format!(
        "set -e; mount -t sysfs sysfs /sys; \
         ip link add vethAb12Cd type veth peer name vethEf34Gh; ip link add vethabcdef type veth peer name c-eth0; \
         ip link add veth1a2b3c4 type veth peer name veth5d6e7f8; ip link add vethUp12Up type veth peer name vethUp34Up; \
         ip link set vethUp12Up up; ip link add name br0 type bridge; ip link add vethBr12Br type veth peer name vethBr34Br; \
         ip link set vethBr12Br master br0; G='{} gc -P {} --kind veth'; $G --dry-run; $G; ip -o link | wc -l; $G",
        Suite::ours().path("lxc").display(),
        dir.arg()
    );
    let output =
        Command::new("unshare").args(["-n", "-m", "sh", "-c", &script]).output().expect("run unshare");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    assert!(lines[0].contains("vethAb12Cd") && lines[0] == lines[1], "{said}");
    // lo, the bridge, and four pairs.
    assert_eq!(lines[2], "10", "{said}");
}

#[test]
fn a_profile_of_a_killed_monitor() {
    needs!(root, ours, apparmor);
    let suite = Suite::ours();
    let dir = Lxcpath::new();
    let name = dir.busybox("label").quick().line("lxc.apparmor.profile = generated").build();
    dir.start(&suite, &name);
    let file = || std::fs::read_dir(dir.join(&name).join("apparmor")).is_ok_and(|mut d| d.next().is_some());
    assert!(file());
    let init = dir.init_pid(&suite, &name);
    process::kill(dir.monitor_pid(&name).expect("a monitor"), Signal::KILL);
    eventually("the container is dead", || !process::alive(init));
    assert!(gc(&dir, &["-n", &name]).ok().contains("profile "));
    assert!(!file());
    let loaded = std::fs::read_to_string("/sys/kernel/security/apparmor/profiles").unwrap_or_default();
    assert!(!loaded.contains(&name), "{loaded}");
}

#[test]
fn what_is_no_kind() {
    needs!(root, ours);
    let output = gc(&Lxcpath::new(), &["--kind", "everything"]);
    assert!(output.code == 1 && output.stderr.contains("cgroup, change, container"), "{output}");
}
