//! Confinement by AppArmor, on hosts that have it.

use std::path::Path;

use lxc_testkit::{Lxcpath, Suite, needs};

const NAMESPACES: &str = "/sys/kernel/security/apparmor/policy/namespaces";
const LOADED: &str = "/sys/kernel/security/apparmor/profiles";

fn loaded(name: &str) -> bool {
    let all = std::fs::read_to_string(LOADED).expect("read the profiles that are loaded");
    all.contains(&format!("lxc-{name}_<"))
}

/// The label of the container's init.
fn label(dir: &Lxcpath, suite: &Suite, name: &str) -> String {
    let pid = dir.run(suite, "lxc-info", name, &["-pH"]).ok();
    let path = format!("/proc/{}/attr/apparmor/current", pid.trim());
    std::fs::read_to_string(path).expect("read the label of init").trim_end().to_string()
}

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
            assert_eq!(loaded(&name), lines[0].ends_with("generated"), "{suite} {lines:?}");
            let normal = |line: String| dir.normal(&line.replace(&dir.arg().replace('/', "-"), "-P"), &name);
            let seen: Vec<String> = look(suite, &dir, &name).into_iter().map(normal).collect();
            dir.run(suite, "lxc-stop", &name, &["-k"]).exits(0);
            dir.gone(suite, &name);
            assert!(!dir.join(&name).join("apparmor").exists(), "{suite} {lines:?}: the profile is left");
            assert!(!loaded(&name), "{suite} {lines:?}: the profile is still loaded");
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
        let mut seen = vec![label(dir, suite, name)];
        let inside = ["--", "cat", "/proc/self/attr/current"];
        seen.push(dir.run(suite, "lxc-attach", name, &inside).ok());
        // The peer's program has a profile of its own, which lets it do everything.
        let elevated = dir.run(suite, "lxc-attach", name, &[&["-eLSM"][..], &inside].concat()).ok();
        seen.push(elevated.replace("lxc-attach (unconfined)", "unconfined"));
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

/// `unchanged` is the label of whoever starts it, which is not always no confinement; and no profile is made for it.
#[test]
fn a_label_that_stays() {
    needs!(root, ours, apparmor, program "apparmor_parser");
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let name = container(&dir, &["lxc.apparmor.profile = unchanged"]);
    dir.start(&ours, &name);
    assert_eq!(label(&dir, &ours, &name), "unconfined");
    dir.kill(&ours, &name);
    dir.gone(&ours, &name);
    let outer = Outer::load(&dir);
    let start = format!("{} -P {} -n {name} -d", ours.path("lxc-start").display(), dir.arg());
    let mut command = std::process::Command::new("sh");
    let script = format!("echo -n 'changeprofile {}' >/proc/self/attr/current && exec {start}", outer.name);
    command.args(["-c", &script]);
    lxc_testkit::Running::spawn(command).wait().exits(0);
    assert_eq!(label(&dir, &ours, &name), format!("{} (enforce)", outer.name));
    dir.kill(&ours, &name);
}

/// A profile that allows everything, as long as this value lives.
struct Outer {
    name: String,
    file: std::path::PathBuf,
}

impl Outer {
    fn load(dir: &Lxcpath) -> Outer {
        const RULES: &str = "file, mount, umount, pivot_root, capability, network, signal, ptrace, unix, \
                             change_profile, userns, mqueue, io_uring,";
        let outer = Outer { name: dir.name("outer"), file: dir.join("outer") };
        // What is shown elsewhere than where it is counts as what is below the root.
        let flags = "flags=(attach_disconnected,mediate_deleted)";
        std::fs::write(&outer.file, format!("profile {} {flags} {{ {RULES} }}\n", outer.name)).unwrap();
        outer.parser("-r").exits(0);
        outer
    }

    fn parser(&self, option: &str) -> lxc_testkit::Output {
        let mut command = std::process::Command::new("apparmor_parser");
        command.arg(option).arg(&self.file);
        lxc_testkit::Running::spawn(command).wait()
    }
}

impl Drop for Outer {
    fn drop(&mut self) {
        self.parser("-R");
    }
}

/// What [`super::systemd`] finds nothing of.
#[test]
fn the_kernel_tells_of_what_it_denies() {
    needs!(root, ours, apparmor, program "dmesg");
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let name = container(&dir, &["lxc.apparmor.profile = generated"]);
    dir.start(&ours, &name);
    // Later, and not everything where much is denied.
    lxc_testkit::eventually("it is in the log", || {
        dir.sh(&ours, &name, "mount -t ext4 /dev/null /mnt 2>/dev/null; true");
        let log = lxc_testkit::net::sh("dmesg");
        log.lines().any(|l| l.contains("DENIED") && l.contains(&format!("lxc-{name}_<")))
    });
}
