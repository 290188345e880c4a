//! Kinds of storage: what can be done with each.

use std::path::Path;

use lxc_testkit::{Disk, Lxcpath, Suite, needs};

/// A whole life with storage of a kind: create, start, copy, snapshot, restore, destroy.
fn life(dir: &Lxcpath, kind: &str, create: &[&str], snapshot_kind: &str) {
    let ours = Suite::ours();
    let name = dir.name(kind);
    let config = dir.join("plain.conf");
    std::fs::write(&config, "lxc.net.0.type = empty\nlxc.apparmor.profile = unconfined\n").unwrap();
    let create = [&["-f", config.to_str().unwrap(), "-t", "busybox", "-B", kind], create].concat();
    dir.run(&ours, "lxc-create", &name, &create).ok();
    let path_of = |name: &str| {
        let text = std::fs::read_to_string(dir.join(name).join("config")).expect("a configuration");
        text.lines().find_map(|l| l.strip_prefix("lxc.rootfs.path = ")).expect("a path").to_string()
    };
    assert!(path_of(&name).starts_with(&format!("{kind}:")), "{}", path_of(&name));
    let boot = |name: &str, script: &str| {
        dir.start(&ours, name);
        let said = dir.sh(&ours, name, script);
        dir.kill(&ours, name);
        dir.gone(&ours, name);
        said
    };
    boot(&name, "echo one >/etc/marker");
    let copy = dir.name(&format!("{kind}c"));
    dir.run(&ours, "lxc-copy", &name, &["-N", &copy]).ok();
    assert_eq!(boot(&copy, "cat /etc/marker; hostname; echo copy >/etc/marker"), format!("one\n{copy}\n"));
    assert!(path_of(&copy).starts_with(&format!("{kind}:")), "{}", path_of(&copy));
    dir.run(&ours, "lxc-snapshot", &name, &[]).ok();
    let snapshot = path_of(&format!("{name}/snaps/snap0"));
    assert!(snapshot.starts_with(&format!("{snapshot_kind}:")), "{snapshot}");
    assert_eq!(boot(&name, "cat /etc/marker; echo two >/etc/marker"), "one\n");
    dir.run(&ours, "lxc-snapshot", &name, &["-r", "snap0"]).ok();
    assert_eq!(boot(&name, "cat /etc/marker"), "one\n");
    let restored = dir.name(&format!("{kind}r"));
    dir.run(&ours, "lxc-snapshot", &name, &["-r", "snap0", "-N", &restored]).ok();
    assert_eq!(boot(&restored, "cat /etc/marker; hostname"), format!("one\n{restored}\n"));
    for name in [&restored, &copy] {
        dir.run(&ours, "lxc-destroy", name, &[]).ok();
    }
    dir.run(&ours, "lxc-destroy", &name, &["-s"]).ok();
    assert_eq!(dir.listing(), ["plain.conf"]);
    assert!(!in_use(dir.path()), "a loop device is left");
}

/// Whether a loop device holds a file below a directory, other than the directory's own image.
fn in_use(directory: &Path) -> bool {
    let devices = std::fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let files = devices.filter_map(|d| std::fs::read_to_string(d.path().join("loop/backing_file")).ok());
    files.map(|f| f.trim().to_string()).any(|f| f.starts_with(&format!("{}/", directory.display())))
}

#[test]
fn dir() {
    needs!(root, ours, program "busybox");
    life(&Lxcpath::new(), "dir", &[], "dir");
}

#[test]
fn overlay() {
    needs!(root, ours, program "busybox");
    life(&Lxcpath::new(), "overlay", &[], "overlay");
}

#[test]
fn btrfs() {
    needs!(root, ours, program "busybox", file_system "btrfs");
    life(&Disk::new("btrfs", 512).dir, "btrfs", &[], "btrfs");
}

#[test]
fn loop_image() {
    needs!(root, ours, program "busybox", file_system "ext4");
    life(&Lxcpath::new(), "loop", &["--fssize", "64M"], "dir");
}

/// Every file system that an image can have.
#[test]
fn images() {
    needs!(root, ours, program "busybox", file_system "xfs", file_system "btrfs");
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    for fstype in ["ext2", "ext3", "xfs", "btrfs"] {
        let name = dir.name(fstype);
        let options =
            ["-f", "/dev/null", "-t", "busybox", "-B", "loop", "--fstype", fstype, "--fssize", "320M"];
        dir.run(&ours, "lxc-create", &name, &options).ok();
        let copy = dir.name("copy");
        dir.run(&ours, "lxc-copy", &name, &["-N", &copy]).ok();
        for name in [&name, &copy] {
            dir.run(&ours, "lxc-start", name, &["-d", "-s", "lxc.apparmor.profile=unconfined"]).ok();
            let kind = dir.sh(&ours, name, "grep ' / ' /proc/mounts | cut -d' ' -f3");
            let shown = if fstype == "ext2" || fstype == "ext3" { "ext" } else { fstype };
            assert!(kind.starts_with(shown), "{fstype}: {kind}");
            dir.kill(&ours, name);
        }
    }
}

/// What is on one kind can be put on another.
#[test]
fn from_each_to_each() {
    needs!(root, ours, program "busybox", file_system "btrfs");
    let (disk, ours) = (Disk::new("btrfs", 1024), Suite::ours());
    let dir = &disk.dir;
    let base = dir.busybox("base").build();
    std::fs::write(dir.join(&base).join("rootfs/etc/marker"), "x").unwrap();
    let mut sources = vec![("dir", base.clone())];
    for (kind, options) in
        [("overlay", &["-s"][..]), ("btrfs", &["-B", "btrfs"]), ("loop", &["-B", "loop", "-L", "64M"])]
    {
        let name = dir.name(kind);
        dir.run(&ours, "lxc-copy", &base, &[&["-N", &name], options].concat()).ok();
        sources.push((kind, name));
    }
    for (from, source) in &sources {
        for to in ["dir", "btrfs", "loop"] {
            let copy = dir.name(&format!("{from}2{to}"));
            dir.run(&ours, "lxc-copy", source, &["-N", &copy, "-B", to, "-L", "64M"]).ok();
            dir.start(&ours, &copy);
            assert_eq!(dir.sh(&ours, &copy, "cat /etc/marker"), "x", "{from} to {to}");
            dir.kill(&ours, &copy);
            dir.run(&ours, "lxc-destroy", &copy, &[]).ok();
        }
    }
    for (_, name) in sources.iter().skip(1) {
        dir.run(&ours, "lxc-destroy", name, &[]).ok();
    }
    dir.run(&ours, "lxc-destroy", &base, &[]).ok();
    assert_eq!(dir.listing(), [] as [&str; 0]);
}

/// A snapshot of a subvolume has those inside as well.
#[test]
fn subvolumes_inside() {
    needs!(root, ours, program "btrfs", file_system "btrfs");
    let (disk, ours) = (Disk::new("btrfs", 512), Suite::ours());
    let dir = &disk.dir;
    let name = dir.name("nested");
    dir.run(&ours, "lxc-create", &name, &["-f", "/dev/null", "-t", "busybox", "-B", "btrfs"]).ok();
    let root = dir.join(&name).join("rootfs");
    for below in ["var/one", "var/one/two"] {
        let mut make = std::process::Command::new("btrfs");
        make.args(["-q", "subvolume", "create"]).arg(root.join(below));
        assert!(make.status().expect("run btrfs").success());
        std::fs::write(root.join(below).join("file"), below).unwrap();
    }
    let copy = dir.name("copy");
    dir.run(&ours, "lxc-copy", &name, &["-N", &copy]).ok();
    let copied = dir.join(&copy).join("rootfs/var/one/two/file");
    assert_eq!(std::fs::read_to_string(copied).unwrap(), "var/one/two");
    for name in [&copy, &name] {
        dir.run(&ours, "lxc-destroy", name, &[]).ok();
    }
    assert_eq!(dir.listing(), [] as [&str; 0]);
}

/// No room: the source stays, and nothing is left of the copy.
#[test]
fn no_room() {
    needs!(root, ours, program "python3", file_system "ext4");
    let (disk, ours) = (Disk::new("ext4", 64), Suite::ours());
    let dir = &disk.dir;
    let name = dir.busybox("full").build();
    let root = dir.join(&name).join("rootfs");
    std::fs::write(root.join("large"), vec![1u8; 30 << 20]).unwrap();
    let before = lxc_testkit::filesystem::fingerprint(&root);
    let free = disk.free();
    let copy = dir.name("copy");
    for (command, arguments) in [
        ("lxc-copy", &["-N", &copy][..]),
        ("lxc-copy", &["-N", &copy, "-B", "loop", "-L", "20M"]),
        ("lxc-snapshot", &[]),
    ] {
        let output = dir.run(&ours, command, &name, arguments).exits(1);
        assert!(output.stderr.contains("No space left on device"), "{output}");
        assert_eq!(dir.listing(), [&*name, "lost+found"], "{command} {arguments:?}");
        lxc_testkit::filesystem::assert_same(&before, &dir.join(&name).join("rootfs"));
        assert!(free - disk.free() < 1 << 20, "{command} {arguments:?}: {free} bytes were free");
    }
}
