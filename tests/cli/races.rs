//! Somebody who has the root file system renames in it while the container starts (CVE-2015-1335; CVE-2025-31133,
//! CVE-2025-52565 and CVE-2025-52881 of runc).

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lxc_testkit::{Lxcpath, Suite, needs};

use super::security::names;

/// Exchanges two names until it is dropped.
struct Swapper(Arc<Swapping>, Option<std::thread::JoinHandle<()>>);

#[derive(Default)]
struct Swapping {
    ends: AtomicBool,
    exchanged: AtomicU64,
}

impl Swapper {
    fn begin(a: PathBuf, b: PathBuf) -> Swapper {
        let swapping = Arc::new(Swapping::default());
        let this = swapping.clone();
        let swap = move || {
            while !this.ends.load(Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                let done = rustix::fs::renameat_with(rustix::fs::CWD, &a, rustix::fs::CWD, &b, flags);
                this.exchanged.fetch_add(u64::from(done.is_ok()), Ordering::Relaxed);
                // The gap between a look and the deed is some microseconds; others want to rename as well.
                std::thread::yield_now();
            }
        };
        Swapper(swapping, Some(std::thread::spawn(swap)))
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.0.ends.store(true, Ordering::Relaxed);
        let _ = self.1.take().map(std::thread::JoinHandle::join);
    }
}

/// A container whose init writes down what `script` prints. The script enters a directory before it looks at what is
/// there: names are exchanged meanwhile.
fn looks(dir: &Lxcpath, lines: &[&str], script: &str) -> (String, PathBuf) {
    let mut builder = dir.busybox("race").init("/sbin/look");
    for line in lines {
        builder = builder.line(line);
    }
    let name = builder.build();
    dir.script(&name, "sbin/look", &format!("exec >/seen 2>/dev/null; {script}; echo ended"));
    let rootfs = dir.join(&name).join("rootfs");
    (name, rootfs)
}

/// Runs the container until it came up often enough, while two names of its root file system are exchanged, and returns
/// what it has seen. A start may fail where nothing is where it was.
fn seen(dir: &Lxcpath, name: &str, a: &str, b: &str) -> Vec<String> {
    let rootfs = dir.join(name).join("rootfs");
    let swapper = Swapper::begin(rootfs.join(a), rootfs.join(b));
    // An emulated processor has no time for more.
    let wanted = if lxc_testkit::skip::processor().is_ok() { 40 } else { 10 };
    let (mut seen, mut failed) = (Vec::new(), 0);
    while seen.len() < wanted {
        let output = dir.run(&Suite::ours(), "lxc-start", name, &["-F"]);
        let text = std::fs::read_to_string(rootfs.join("seen")).unwrap_or_default();
        let _ = std::fs::remove_file(rootfs.join("seen"));
        if text.ends_with("ended\n") {
            seen.push(text);
        } else {
            failed += 1;
        }
        assert!(failed < 10 * wanted, "it never starts: {output}");
    }
    let exchanged = swapper.0.exchanged.load(Ordering::Relaxed);
    assert!(exchanged > wanted as u64, "{a} and {b} were exchanged {exchanged} times");
    seen
}

/// A mount target that becomes a link to the host, and a directory again: mounts and what is made for them stay inside.
#[test]
fn mount_targets() {
    needs!(root, ours);
    let dir = Lxcpath::new();
    let outside = dir.join("outside");
    std::fs::create_dir_all(outside.join("there")).unwrap();
    let lines = [
        "lxc.mount.entry = tmpfs target/made/deep tmpfs create=dir 0 0",
        "lxc.mount.entry = tmpfs target/there tmpfs create=dir 0 0",
        "lxc.mount.entry = /dev/null target/file none bind,create=file 0 0",
    ];
    let (name, rootfs) = looks(&dir, &lines, "cut -d' ' -f5 /proc/self/mountinfo");
    std::fs::create_dir_all(rootfs.join(outside.strip_prefix("/").unwrap())).unwrap();
    std::fs::create_dir_all(rootfs.join("target")).unwrap();
    symlink(&outside, rootfs.join("swapped")).unwrap();
    let seen = seen(&dir, &name, "target", "swapped");
    assert_eq!(names(&outside), ["there"], "a link outward was followed");
    for mounts in seen {
        for mount in ["/made/deep", "/there", "/file"] {
            assert!(mounts.lines().any(|line| line.ends_with(mount)), "{mount} is not among {mounts}");
        }
    }
}

/// What is protected of a procfs is protected wherever that procfs has gone.
#[test]
fn procfs() {
    needs!(root, ours);
    let dir = Lxcpath::new();
    // Nothing is changed by this: the file of the kernel's that is written belongs to the container's UTS namespace.
    let script = "for d in /proc /decoy; do cd $d; if [ -e 1/stat ]; then echo found; \
                  { echo w >sys/kernel/domainname; } && echo written; \
                  { true >>sysrq-trigger; } && echo opened; fi; done";
    let (name, rootfs) = looks(&dir, &["lxc.mount.auto = proc:mixed"], script);
    std::fs::create_dir_all(rootfs.join("decoy/sys/net")).unwrap();
    std::fs::create_dir_all(rootfs.join("proc/sys/net")).unwrap();
    for decoy in ["decoy", "proc"] {
        std::fs::write(rootfs.join(decoy).join("sysrq-trigger"), "").unwrap();
    }
    let seen = seen(&dir, &name, "proc", "decoy");
    assert!(seen.iter().all(|text| !text.contains("written") && !text.contains("opened")), "{seen:?}");
    assert!(seen.iter().any(|text| text.contains("found")), "{seen:?}");
}

/// The same of a sysfs.
#[test]
fn sysfs() {
    needs!(root, ours);
    let dir = Lxcpath::new();
    let script = "for d in /sys /decoy; do cd $d; if [ -e kernel ]; then echo found; \
                  { true >>devices/virtual/mem/null/uevent; } && echo opened; fi; done";
    let (name, rootfs) = looks(&dir, &["lxc.mount.auto = sys:mixed"], script);
    for decoy in ["sys", "decoy"] {
        std::fs::create_dir_all(rootfs.join(decoy).join("devices/virtual/net")).unwrap();
    }
    let seen = seen(&dir, &name, "sys", "decoy");
    assert!(seen.iter().all(|text| !text.contains("opened")), "{seen:?}");
    assert!(seen.iter().any(|text| text.contains("found")), "{seen:?}");
}

/// What is shown read-only is read-only wherever its target has gone: two entries, one of which may be written.
#[test]
fn read_only_entries() {
    needs!(root, ours);
    let dir = Lxcpath::new();
    for share in ["precious", "common"] {
        std::fs::create_dir_all(dir.join(share)).unwrap();
        std::fs::write(dir.join(share).join("name"), share).unwrap();
    }
    let (common, precious) = (dir.join("common"), dir.join("precious"));
    let lines = [
        format!("lxc.mount.entry = {} common none bind 0 0", common.display()),
        format!("lxc.mount.entry = {} share none bind,ro 0 0", precious.display()),
    ];
    let script = "for d in /common /share; do cd $d; if grep -q precious name; then echo found; \
                  { true >made; } && echo written; fi; done";
    let (name, rootfs) = looks(&dir, &[&*lines[0], &*lines[1]], script);
    for target in ["common", "share"] {
        std::fs::create_dir_all(rootfs.join(target)).unwrap();
    }
    let seen = seen(&dir, &name, "common", "share");
    assert_eq!(names(&precious), ["name"]);
    assert!(seen.iter().all(|text| !text.contains("written")), "{seen:?}");
    assert!(seen.iter().any(|text| text.contains("found")), "{seen:?}");
}

/// The image's own /dev goes elsewhere while terminals and the console are made in it.
#[test]
fn devices() {
    needs!(root, ours);
    let dir = Lxcpath::new();
    let outside = dir.join("outside");
    std::fs::create_dir_all(&outside).unwrap();
    std::fs::write(outside.join("console"), "precious\n").unwrap();
    let lines = ["lxc.autodev = 0", "lxc.tty.max = 4", "lxc.mount.auto = proc:mixed"];
    let (name, rootfs) =
        looks(&dir, &lines, "for d in /dev /decoy; do cd $d; [ -c console ] || cat console; done");
    std::fs::create_dir_all(rootfs.join(outside.strip_prefix("/").unwrap())).unwrap();
    symlink(&outside, rootfs.join("decoy")).unwrap();
    let seen = seen(&dir, &name, "dev", "decoy");
    assert_eq!(names(&outside), ["console"], "something was made outside");
    assert_eq!(std::fs::read_to_string(outside.join("console")).unwrap(), "precious\n");
    assert!(seen.iter().all(|text| !text.contains("precious")), "{seen:?}");
}

/// Nothing of a root file system is looked up as the console's terminal: what is bound there is what was opened
/// (CVE-2025-52565), and what the image offers in its place leads to no part of procfs.
#[test]
fn the_console() {
    needs!(root, ours);
    let dir = Lxcpath::new();
    let lines = ["lxc.autodev = 0", "lxc.mount.auto = proc:mixed"];
    let script = "for d in /dev/console /dev/decoy; do [ ! -c $d ] || stat -Lc 'type %t' $d; done; \
                  [ -c /proc/sys/kernel/domainname ] && echo covered";
    let (name, rootfs) = looks(&dir, &lines, script);
    symlink("/proc/sys/kernel/domainname", rootfs.join("dev/decoy")).unwrap();
    std::fs::write(rootfs.join("dev/console"), "").unwrap();
    let seen = seen(&dir, &name, "dev/console", "dev/decoy");
    assert!(seen.iter().all(|text| !text.contains("covered")), "{seen:?}");
    assert!(seen.iter().any(|text| text.contains("type 88")), "no terminal in {seen:?}");
}
