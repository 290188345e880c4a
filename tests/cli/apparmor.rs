//! Confinement by AppArmor, on hosts that have it.

use std::path::Path;

use lxc_testkit::{Lxcpath, Suite, needs};

const NAMESPACES: &str = "/sys/kernel/security/apparmor/policy/namespaces";

/// Profiles as configuration lines.
const PROFILES: [&[&str]; 5] = [
    &["lxc.apparmor.profile ="],
    &["lxc.apparmor.profile = lxc-container-default"],
    &["lxc.apparmor.profile = unconfined"],
    &["lxc.apparmor.profile = generated"],
    &["lxc.apparmor.profile = generated", "lxc.apparmor.allow_nesting = 1"],
];

/// What a container with root's power might try, where nothing but the profile stands in its way: each attempt
/// in a mount namespace of its own.
const ATTEMPTS: &str = r#"
try() { if unshare -m sh -c "$1" >/dev/null 2>&1; then echo "did    $1"; else echo "failed $1"; fi; }
try 'mount -t tmpfs none /mnt'
try 'mount -t proc proc /mnt'
try 'mount -t proc proc /proc'
try 'mount -t sysfs sys /mnt'
try 'mount -t ext4 /dev/null /mnt'
try 'mount -o bind /proc /mnt'
try 'mount -o bind /sys /mnt'
try 'mount -o bind /etc /mnt'
try 'mount -o bind /etc /mnt && mount -o remount,bind,ro,nosuid /mnt'
try 'mount -o bind /dev/.lxc /mnt'
try 'mount -t debugfs none /sys/kernel/debug && ls /sys/kernel/debug/*'
try 'mount -t securityfs none /sys/kernel/security && cat /sys/kernel/security/lsm'
try 'cat /proc/kcore | head -c 1'
try 'echo h >/proc/sysrq-trigger'
try 'echo 1 >/proc/sys/vm/drop_caches'
try 'cat /proc/sys/kernel/core_pattern >/proc/sys/kernel/core_pattern'
try 'cat /proc/sys/kernel/hostname >/proc/sys/kernel/hostname'
try 'cat /proc/sys/kernel/shmmax >/proc/sys/kernel/shmmax'
try 'cat /proc/sys/net/ipv4/ip_forward >/proc/sys/net/ipv4/ip_forward'
try 'cat /proc/sys/fs/file-max >/proc/sys/fs/file-max'
try 'cat /sys/kernel/rcu_expedited >/sys/kernel/rcu_expedited'
try 'hostname x; test "$(hostname)" = x'
try 'kill -0 1'
try 'pivot_root / /mnt'
"#;

fn container(dir: &Lxcpath, lines: &[&str]) -> String {
    let open = ["lxc.mount.auto =", "lxc.mount.auto = proc:rw sys:rw cgroup:rw", "lxc.cap.drop ="];
    open.iter().chain(lines).fold(dir.busybox("aa").quick(), |b, line| b.line(*line)).build()
}

/// Each line of `look` in a container with such a profile, under each suite.
fn compare(look: impl Fn(&Suite, &Lxcpath, &str) -> Vec<String>) {
    for lines in PROFILES {
        Suite::compare(|suite| {
            let dir = Lxcpath::new();
            let name = container(&dir, lines);
            dir.start(suite, &name);
            let normal = |line: String| dir.normal(&line.replace(&dir.arg().replace('/', "-"), "-P"), &name);
            let seen: Vec<String> = look(suite, &dir, &name).into_iter().map(normal).collect();
            dir.run(suite, "lxc-stop", &name, &["-k"]).exits(0);
            dir.gone(suite, &name);
            assert!(!dir.join(&name).join("apparmor").exists(), "{suite} {lines:?}: the profile is left");
            let left = std::fs::read_dir(NAMESPACES).unwrap().flatten();
            let left: Vec<_> = left.filter(|e| e.file_name().to_string_lossy().contains(&name)).collect();
            assert!(left.is_empty(), "{suite} {lines:?}: the policy namespace is left");
            (lines, seen)
        });
    }
}

#[test]
fn labels_are_the_peers() {
    needs!(root, ours, peer, apparmor);
    compare(|suite, dir, name| {
        let pid = dir.run(suite, "lxc-info", name, &["-pH"]).ok();
        let label = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/attr/apparmor/current"));
        let mut seen = vec![label(pid.trim()).expect("read the label of init")];
        let inside = ["--", "cat", "/proc/self/attr/current"];
        seen.push(dir.run(suite, "lxc-attach", name, &inside).ok());
        seen.push(dir.run(suite, "lxc-attach", name, &[&["-e", "LSM"][..], &inside].concat()).stdout);
        let other = ["-c", "lxc-container-default", "--", "cat", "/proc/self/attr/current"];
        seen.push(dir.run(suite, "lxc-attach", name, &other).stdout);
        let files = std::fs::read_dir(dir.join(name).join("apparmor")).into_iter().flatten().flatten();
        seen.extend(files.map(|f| f.file_name().to_string_lossy().into_owned()));
        seen
    });
}

#[test]
fn the_same_is_allowed_and_denied() {
    needs!(root, ours, peer, apparmor);
    compare(|suite, dir, name| {
        let done = dir.run(suite, "lxc-attach", name, &["--", "sh", "-c", ATTEMPTS]).exits(0);
        done.stdout.lines().map(str::to_string).collect()
    });
}

#[test]
fn a_profile_that_is_not_loaded() {
    needs!(root, ours, apparmor);
    let dir = Lxcpath::new();
    let name = container(&dir, &["lxc.apparmor.profile = nobody-has-this"]);
    let output = dir.run(&Suite::ours(), "lxc-start", &name, &["-d"]).exits(1);
    assert!(output.stderr.contains("nobody-has-this"), "{output}");
    assert!(output.stderr.contains("apparmor_parser"), "{output}");
}

#[test]
fn a_line_that_the_parser_refuses() {
    needs!(root, ours, apparmor);
    let dir = Lxcpath::new();
    let lines = ["lxc.apparmor.profile = generated", "lxc.apparmor.raw = this is no rule"];
    let name = container(&dir, &lines);
    let output = dir.run(&Suite::ours(), "lxc-start", &name, &["-d"]).exits(1);
    assert!(output.stderr.contains("apparmor_parser"), "{output}");
    assert!(!dir.join(&name).join("apparmor").exists(), "the profile is left");
    assert!(!Path::new(NAMESPACES).join(format!("lxc-{name}_<{}>", dir.arg().replace('/', "-"))).exists());
}

#[test]
fn lines_of_ones_own_are_in_force() {
    needs!(root, ours, apparmor);
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let lines = ["lxc.apparmor.profile = generated", "lxc.apparmor.raw = deny /etc/passwd r,"];
    let name = container(&dir, &lines);
    dir.start(&ours, &name);
    dir.run(&ours, "lxc-attach", &name, &["--", "cat", "/etc/group"]).exits(0);
    dir.run(&ours, "lxc-attach", &name, &["--", "cat", "/etc/passwd"]).exits(1);
}
