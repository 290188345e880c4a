//! The order of a start, for a set of configurations: a change of it shows in review. Needs no
//! privileges.

use std::path::Path;

use lxc_config::{Config, MemorySource};
use lxc_core::plan::{Host, Plan, StartOptions};
use lxc_core::spawn::script::describe;

fn host(euid: u32) -> Host {
    Host {
        euid,
        egid: euid,
        subordinate: None,
        cgroup_namespaces: true,
        last_capability: 40,
        apparmor: None,
        selinux: false,
        cgroup_pattern: None,
    }
}

fn plan_on(host: &Host, text: &str) -> lxc_core::Result<Plan> {
    let mut config = Config::new();
    config.load_text(text.as_bytes(), Path::new("config"), &MemorySource::new())?;
    let options = StartOptions { daemonize: true, ..StartOptions::default() };
    Plan::resolve("web", Path::new("/c"), &config, options, host)
}

fn steps(text: &str) -> Vec<String> {
    describe(&plan_on(&host(0), text).expect("a valid configuration"))
}

/// Takes out each step of `more` in order; what is left must be `base`.
fn assert_adds(base: &[String], all: &[String], more: &[&str]) {
    let mut rest = all.to_vec();
    for step in more {
        let at = rest.iter().position(|s| s == step);
        rest.remove(at.unwrap_or_else(|| panic!("{step:?} is not among {all:#?}")));
    }
    assert_eq!(base, rest);
}

const SMALL: &str = "lxc.rootfs.path = dir:/\nlxc.uts.name = web\n";

#[test]
fn the_least() {
    assert_eq!(
        steps(SMALL),
        [
            "die with the monitor",
            "join the v1 cgroups",
            "new network namespace",
            "new cgroup namespace",
            "isolate the mounts",
            "mount rootfs",
            "hostname",
            "session keyring",
            "configure the network",
            "mount /dev",
            "check for an overmounted root",
            "populate /dev",
            "terminals",
            "boot id",
            "pivot",
            "new session",
            "hand over",
        ]
    );
}

#[test]
fn with_an_id_map() {
    let map = "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n";
    assert_adds(
        &steps(SMALL),
        &steps(&format!("{SMALL}{map}")),
        &[
            "-- identity",
            "   monitor: hold the namespaces",
            "   monitor: write the id maps",
            "   monitor: own the cgroups",
            "become the container's root",
        ],
    );
}

#[test]
fn with_a_network_device() {
    assert_adds(
        &steps(SMALL),
        &steps(&format!("{SMALL}lxc.net.0.type = veth\n")),
        &["-- configure", "   monitor: create the network"],
    );
}

/// Nothing else holds the child of a helper: the monitor must know of it, and where the cgroup could not be named it must
/// be moved there before it makes a namespace of it.
#[test]
fn with_a_namespace_of_another() {
    for kind in ["user", "ipc", "net", "cgroup"] {
        let all = steps(&format!("{SMALL}lxc.namespace.share.{kind} = 1\n"));
        let at = |step: &str| all.iter().position(|s| s == step);
        let moved = at("   monitor: move to the cgroup");
        assert!(moved.is_some(), "{kind}: {all:?}");
        assert!(at("new cgroup namespace").is_none_or(|made| moved < Some(made)), "{kind}: {all:?}");
    }
}

/// The listener comes with the filter; init must find it served.
#[test]
fn with_a_filter_that_asks() {
    let file = std::env::temp_dir().join(format!("steps-policy-{}", std::process::id()));
    std::fs::write(&file, "2\ndenylist\n[all]\nmknod notify\n").expect("write a policy");
    let keys =
        format!("lxc.seccomp.profile = {}\nlxc.seccomp.notify.proxy = unix:/nonexistent\n", file.display());
    let all = steps(&format!("{SMALL}{keys}"));
    std::fs::remove_file(&file).expect("remove it");
    let more = ["seccomp", "-- ready", "   monitor: serve what the filter asks"];
    assert_adds(&steps(SMALL), &all, &more);
}

#[test]
fn with_every_hook() {
    let hooks: String =
        ["pre-start", "pre-mount", "mount", "autodev", "start-host", "start", "stop", "post-stop"]
            .iter()
            .map(|h| format!("lxc.hook.{h} = /bin/true\n"))
            .collect();
    let all = steps(&format!("{SMALL}{hooks}"));
    assert_adds(
        &steps(SMALL),
        &all,
        &[
            "-- identity",
            "   monitor: hold the namespaces",
            "pre-mount hooks",
            "mount hooks",
            "autodev hooks",
            "start hooks exist",
            "start hooks",
            "-- ready",
            "   monitor: start-host hooks",
        ],
    );
    let at = |step: &str| all.iter().position(|s| s == step).expect("a step");
    for (first, then) in [
        ("isolate the mounts", "pre-mount hooks"),
        ("pre-mount hooks", "mount rootfs"),
        ("mount /dev", "mount hooks"),
        ("mount hooks", "check for an overmounted root"),
        ("autodev hooks", "populate /dev"),
        ("pivot", "start hooks"),
        ("start hooks", "   monitor: start-host hooks"),
    ] {
        assert!(at(first) < at(then), "{first} before {then}");
    }
}

#[test]
fn privileges_go_last() {
    let all = steps(&format!(
        "{SMALL}lxc.cap.drop = sys_time\nlxc.no_new_privs = 1\nlxc.sysctl.kernel.domainname = x\n"
    ));
    let at = |step: &str| all.iter().position(|s| s == step).expect("a step");
    assert!(at("pivot") < at("lxc.sysctl"));
    assert!(at("lxc.sysctl") < at("capability bounding set"));
    assert!(at("capability bounding set") < at("no_new_privs"));
}

#[test]
fn refused_before_anything_is_made() {
    for (text, message) in [
        ("lxc.rootfs.path = dir:/nonexistent\n", "lxc.rootfs.path = dir:/nonexistent"),
        ("lxc.rootfs.path = dir:/proc/version\n", "Not a directory"),
        ("lxc.rootfs.path = bogus:/\n", "unknown storage type"),
        ("lxc.rootfs.path = loop:/nonexistent\n", "No such file or directory"),
        ("lxc.idmap = u 0 100000 65536\n", "lxc.idmap"),
        ("lxc.prlimit.bogus = 1\n", "no such resource limit"),
        ("lxc.mount.entry = /nonexistent mnt none bind 0 0\n", "/nonexistent"),
        ("lxc.seccomp.profile = /x\n", "lxc.seccomp.profile"),
        ("lxc.net.0.type = macvlan\n", "config:3: lxc.net.0.link"),
        ("lxc.net.0.type = veth\nlxc.net.0.mtu = many\n", "lxc.net.0.mtu"),
        ("lxc.sched.core = 1\nlxc.namespace.keep = pid\n", "lxc.sched.core"),
        ("lxc.cgroup.dir.monitor = m\n", "lxc.cgroup.dir.container"),
    ] {
        let error = plan_on(&host(0), &format!("{SMALL}{text}")).expect_err(text).to_string();
        assert!(error.contains(message), "{text:?}: {error}");
    }
}

#[test]
fn a_message_names_file_and_line() {
    let error = plan_on(&host(0), &format!("{SMALL}lxc.net.0.type = empty\nlxc.net.0.name = x\n"))
        .expect_err("lo only")
        .to_string();
    assert!(error.starts_with("config:4: lxc.net.0.name"), "{error}");
}

#[test]
fn an_ordinary_user_needs_a_map() {
    let error = plan_on(&host(1000), SMALL).expect_err("no privileges");
    assert!(error.hint().is_some(), "{error}");
}
