//! A real distribution: Debian with systemd.

use std::time::{Duration, Instant};

use lxc_testkit::{Lxcpath, Suite, debian, needs, patience, process, within};

/// Starts a Debian over an overlay of the cached system, and waits until it is up.
struct Debian {
    dir: Lxcpath,
    name: String,
}

impl Debian {
    fn boot(suite: &Suite, lower: &std::path::Path, lines: &[&str]) -> Debian {
        let dir = Lxcpath::new();
        let name = dir.name("debian");
        let delta = dir.join(&name).join("delta");
        std::fs::create_dir_all(&delta).unwrap();
        let config = format!(
            "lxc.rootfs.path = overlay:{}:{}\nlxc.uts.name = {name}\nlxc.apparmor.profile = unconfined\n\
             lxc.tty.max = 4\nlxc.pty.max = 1024\nlxc.cap.drop = sys_module sys_rawio mac_admin mac_override sys_time\n\
             lxc.mount.auto = cgroup:mixed proc:mixed sys:mixed\nlxc.net.0.type = empty\n\
             lxc.mount.entry = /sys/kernel/debug sys/kernel/debug none bind,optional 0 0\n{}\n",
            lower.display(),
            delta.display(),
            lines.join("\n")
        );
        std::fs::write(dir.join(&name).join("config"), config).unwrap();
        dir.start(suite, &name);
        let debian = Debian { dir, name };
        debian.is_up(suite);
        debian
    }

    fn is_up(&self, suite: &Suite) {
        let ask = ["--", "systemctl", "is-system-running", "--wait"];
        let answers = || {
            // Before systemd listens it is refused.
            let output = self
                .dir
                .spawn(suite, "lxc-attach", &self.name, &ask)
                .wait_for(patience(Duration::from_secs(90)));
            ["running", "degraded"].contains(&output.stdout.trim())
        };
        assert!(within(patience(Duration::from_secs(90)), answers), "systemd does not come up");
        let failed = ["--", "systemctl", "--failed", "--no-legend", "--plain"];
        let failed = self.dir.run(suite, "lxc-attach", &self.name, &failed).stdout;
        assert_eq!(failed, "", "units have failed");
    }

    fn stops(&self, suite: &Suite) {
        let begin = Instant::now();
        self.dir.run(suite, "lxc-stop", &self.name, &[]).ok();
        assert!(begin.elapsed() < patience(Duration::from_secs(10)), "{:?}", begin.elapsed());
        self.dir.gone(suite, &self.name);
    }
}

/// The directory of the system, or a skip.
macro_rules! debian {
    () => {
        match debian::rootfs() {
            Ok(path) => path,
            Err(reason) => {
                fn here() {}
                return lxc_testkit::skip::record(std::any::type_name_of_val(&here), &reason);
            }
        }
    };
}

const MAPPED: [&str; 3] =
    ["lxc.idmap = u 0 100000 65536", "lxc.idmap = g 0 100000 65536", "lxc.rootfs.options = idmap=container"];

#[test]
fn it_boots_and_stops() {
    needs!(root, ours);
    let suite = Suite::ours();
    let debian = Debian::boot(&suite, &debian!(), &[]);
    let text = debian.dir.sh(
        &suite,
        &debian.name,
        "hostname; systemd-detect-virt; ps -p 1 -o comm= 2>/dev/null; id -u",
    );
    assert!(text.starts_with(&format!("{}\nlxc\n", debian.name)), "{text}");
    debian.stops(&suite);
}

#[test]
fn it_boots_with_mapped_ids() {
    needs!(root, ours, userns);
    let suite = Suite::ours();
    let debian = Debian::boot(&suite, &debian!(), &MAPPED);
    let init = debian.dir.init_pid(&suite, &debian.name);
    assert!(process::status(init, "Uid").starts_with("100000"), "{}", process::status(init, "Uid"));
    let text =
        debian.dir.sh(&suite, &debian.name, "stat -c %u:%g / /etc/passwd; touch /root/x; stat -c %u /root/x");
    assert_eq!(text, "0:0\n0:0\n0\n");
    debian.stops(&suite);
}

#[test]
fn it_reboots() {
    needs!(root, ours);
    let suite = Suite::ours();
    let debian = Debian::boot(&suite, &debian!(), &[]);
    let (dir, name) = (&debian.dir, &debian.name);
    let (monitor, init) = (dir.monitor_pid(name), dir.init_pid(&suite, name));
    dir.run(&suite, "lxc-stop", name, &["-r", "-t", "60"]).ok();
    assert_eq!(dir.monitor_pid(name), monitor);
    assert_ne!(dir.init_pid(&suite, name), init);
    debian.is_up(&suite);
    let init = dir.init_pid(&suite, name);
    dir.run(&suite, "lxc-attach", name, &["--", "systemctl", "reboot"]);
    let another = || dir.init_pid_if_any(&suite, name).is_some_and(|pid| pid != init);
    let rebooted = || another() && dir.state(&suite, name) == "RUNNING";
    assert!(within(Duration::from_secs(60), rebooted), "a reboot from inside");
    debian.is_up(&suite);
    dir.kill(&suite, name);
    dir.gone(&suite, name);
}

#[test]
fn it_powers_itself_off() {
    needs!(root, ours);
    let suite = Suite::ours();
    let debian = Debian::boot(&suite, &debian!(), &[]);
    let (dir, name) = (&debian.dir, &debian.name);
    dir.run(&suite, "lxc-attach", name, &["--", "systemctl", "poweroff"]);
    dir.spawn(&suite, "lxc-wait", name, &["-s", "STOPPED", "-t", "60"])
        .wait_for(Duration::from_secs(70))
        .ok();
    dir.gone(&suite, name);
}

/// Under a profile that is made for it, with the nesting that systemd's own services want and that Debian's default.conf
/// gives, the system lacks nothing, and the kernel says of no denial.
#[test]
fn it_boots_under_a_generated_profile() {
    needs!(root, ours, userns, apparmor, program "dmesg");
    let suite = Suite::ours();
    let generated = ["lxc.apparmor.profile = generated", "lxc.apparmor.allow_nesting = 1"];
    let mapped = [&MAPPED[..], &generated].concat();
    for lines in [&generated[..], &mapped] {
        let debian = Debian::boot(&suite, &debian!(), lines);
        let label = std::fs::read_to_string(format!(
            "/proc/{}/attr/apparmor/current",
            debian.dir.init_pid(&suite, &debian.name)
        ));
        assert!(label.as_ref().is_ok_and(|l| l.contains(&debian.name)), "{label:?}");
        debian.stops(&suite);
        let log = lxc_testkit::net::sh("dmesg");
        let of_it = log.lines().filter(|l| l.contains("DENIED") && l.contains(&debian.name));
        assert_eq!(of_it.collect::<Vec<_>>(), Vec::<&str>::new(), "{lines:?}");
    }
}
