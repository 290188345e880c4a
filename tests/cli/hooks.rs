//! Hooks: when they run, where, and what they are told.

use lxc_testkit::{Lxcpath, Suite, eventually, needs};

const HOOKS: [&str; 8] =
    ["pre-start", "pre-mount", "mount", "autodev", "start-host", "start", "stop", "post-stop"];

/// Starts and stops a container in which every hook writes down its arguments and its environment.
fn trace(suite: &Suite, version: &str, reboot: bool) -> Vec<String> {
    let dir = Lxcpath::new();
    let log = dir.join("log");
    std::fs::create_dir(&log).unwrap();
    let mut builder = dir.busybox("hooks").line(format!("lxc.hook.version = {version}"));
    if !reboot {
        builder = builder.quick();
    }
    // The hook `start` runs inside, where the log is mounted too.
    let text = |log: &str| {
        format!(
            "echo \"HOOK $(hostname) args: $*\" >>{log}/trace; env | grep -E '^LXC_|^container' | sort >>{log}/trace"
        )
    };
    let script = dir.host_script("hook.sh", &text(log.to_str().unwrap()));
    for hook in HOOKS {
        let program = if hook == "start" { "/sbin/hook" } else { &script };
        builder = builder.line(format!("lxc.hook.{hook} = {program}"));
    }
    let name =
        builder.line(format!("lxc.mount.entry = {} log none bind,create=dir 0 0", log.display())).build();
    dir.script(&name, "sbin/hook", &text("/log"));
    dir.start(suite, &name);
    if reboot {
        // Before init has its handlers, the kernel drops the signal.
        eventually("it has booted", || dir.join(&name).join("rootfs/run/booted").exists());
        dir.run(suite, "lxc-stop", &name, &["-r", "-t", "20"]).ok();
    }
    dir.kill(suite, &name);
    let read = || std::fs::read_to_string(log.join("trace")).unwrap_or_default();
    eventually("the last hook has run", || read().contains("post-stop"));
    dir.gone(suite, &name);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let lines = read();
    lines.lines().map(|l| normal(&dir.normal(l, &name)).replace(host.trim(), "HOST")).collect()
}

/// Process ids, descriptors and namespace numbers become `#`; where the root is mounted depends on the prefix.
fn normal(line: &str) -> String {
    if line.starts_with("LXC_ROOTFS_MOUNT=/") {
        return "LXC_ROOTFS_MOUNT=/".into();
    }
    let mut out = String::new();
    for c in line.chars() {
        match c.is_ascii_digit() {
            true if out.ends_with('#') => {}
            true => out.push('#'),
            false => out.push(c),
        }
    }
    out
}

#[test]
fn order_arguments_and_environment_are_alike() {
    needs!(root, ours, peer);
    for version in ["0", "1"] {
        let ours = trace(&Suite::ours(), version, false);
        let peer = trace(&Suite::peer(), version, false);
        assert_eq!(ours, peer, "hook version {version}: ours left, the peer right");
    }
}

#[test]
fn every_hook_runs_once_in_a_life() {
    needs!(root, ours);
    let lines = trace(&Suite::ours(), "0", false);
    let mut order: Vec<&str> =
        lines.iter().filter(|l| l.starts_with("HOOK")).filter_map(|l| l.split(' ').nth(5)).collect();
    // Those two run at the same time, inside and outside.
    let start = order.iter().position(|h| h.starts_with("start")).expect("a start hook");
    order[start..start + 2].sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(order, HOOKS);
}

#[test]
fn a_reboot_runs_them_again() {
    needs!(root, ours);
    let lines = trace(&Suite::ours(), "1", true);
    let targets: Vec<&str> = lines.iter().filter_map(|l| l.strip_prefix("LXC_TARGET=")).collect();
    assert_eq!(targets, ["reboot", "reboot", "stop", "stop"], "stop and post-stop, twice");
    let starts = lines.iter().filter(|l| l.contains("LXC_HOOK_TYPE=start-host")).count();
    assert_eq!(starts, 2);
}

#[test]
fn destroy_runs_its_hook() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let script = dir.host_script("hook.sh", &format!("echo \"$@\" >{}/told", dir.arg()));
        let name = dir.busybox("destroy").line(format!("lxc.hook.destroy = {script}")).build();
        dir.run(&suite, "lxc-destroy", &name, &[]).ok();
        let told = std::fs::read_to_string(dir.join("told")).unwrap_or_default();
        assert_eq!(told.trim(), format!("{name} lxc destroy"), "{suite}");
    }
}

#[test]
fn a_hook_may_have_arguments() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let script = dir.host_script("hook.sh", &format!("echo \"$@\" >{}/told", dir.arg()));
        let name = dir.busybox("args").quick().line(format!("lxc.hook.pre-start = {script} one two")).build();
        dir.start(&suite, &name);
        let told = std::fs::read_to_string(dir.join("told")).unwrap_or_default();
        assert_eq!(told.trim(), format!("one two {name} lxc pre-start"), "{suite}");
    }
}
