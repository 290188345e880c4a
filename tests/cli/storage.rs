//! Kinds of storage: what can be done with each.

use std::path::Path;

use lxc_testkit::filesystem::held_by_loops;
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
    assert_eq!(held_by_loops(dir.path()), [] as [&str; 0], "a loop device is left");
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
    // Nothing was copied: what is a subvolume in the source is one here, whose root has this inode.
    for below in ["", "var/one", "var/one/two"] {
        let meta = std::fs::metadata(dir.join(&copy).join("rootfs").join(below)).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::ino(&meta), 256, "{below}");
    }
    for name in [&copy, &name] {
        dir.run(&ours, "lxc-destroy", name, &[]).ok();
    }
    assert_eq!(dir.listing(), [] as [&str; 0]);
}

/// An image that is in use is not mounted once more: its journal would be read back under a file system that lives.
#[test]
fn an_image_in_use() {
    needs!(root, ours, program "busybox", file_system "ext4");
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let name = dir.name("busy");
    let config = dir.join("plain.conf");
    std::fs::write(&config, "lxc.net.0.type = empty\nlxc.apparmor.profile = unconfined\n").unwrap();
    let words = ["-f", config.to_str().unwrap(), "-t", "busybox", "-B", "loop", "--fssize", "64M"];
    dir.run(&ours, "lxc-create", &name, &words).ok();
    dir.start(&ours, &name);
    dir.sh(&ours, &name, "echo x >/etc/new; sync");
    let copy = dir.name("copy");
    let output = dir.run(&ours, "lxc-copy", &name, &["-a", "-N", &copy]).exits(1);
    assert!(output.stderr.contains("Device or resource busy") && output.stderr.contains("loop"), "{output}");
    assert_eq!(dir.sh(&ours, &name, "cat /etc/new"), "x\n");
    dir.kill(&ours, &name);
    dir.gone(&ours, &name);
    // Its journal was not written back: a mount like any other does that.
    dir.run(&ours, "lxc-copy", &name, &["-N", &copy]).ok();
    for name in [&copy, &name] {
        dir.run(&ours, "lxc-destroy", name, &[]).ok();
    }
    assert_eq!(dir.listing(), ["plain.conf"]);
}

/// Beside the upper layer of an overlay may lie what is not the container's.
#[test]
fn what_lies_beside_a_layer() {
    needs!(root, ours);
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let name = dir.name("layers");
    for path in ["base", "delta", "work/work", "work/precious", &name] {
        std::fs::create_dir_all(dir.join(path)).unwrap();
    }
    let text = format!("lxc.rootfs.path = overlay:{0}/base:{0}/delta\n", dir.arg());
    std::fs::write(dir.join(&name).join("config"), text).unwrap();
    dir.run(&ours, "lxc-destroy", &name, &[]).ok();
    assert_eq!(dir.listing(), ["base", "work"]);
    assert!(dir.join("work/precious").exists() && !dir.join("work/work").exists());
}

/// What a test has made on the host, undone by a script when it ends.
pub struct Undo(pub String);

impl Drop for Undo {
    fn drop(&mut self) {
        let _ = std::process::Command::new("sh").args(["-c", &self.0]).status();
    }
}

#[track_caller]
pub fn sh(script: &str) -> String {
    let output = std::process::Command::new("sh").args(["-ec", script]).output().expect("run sh");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_string()
}

/// Copies and snapshots of storage that is a block device. `lxc-snapshot` takes none of these.
fn block_life(dir: &Lxcpath, kind: &str, create: &[&str], exists: impl Fn(&str) -> bool) {
    let ours = Suite::ours();
    let name = dir.name(kind);
    let words = [&["-f", "/dev/null", "-t", "busybox", "-B", kind, "--fssize", "64M"], create].concat();
    dir.run(&ours, "lxc-create", &name, &words).ok();
    assert!(exists(&name), "{name}");
    let boot = |name: &str, script: &str| {
        dir.run(&ours, "lxc-start", name, &["-d", "-s", "lxc.apparmor.profile=unconfined"]).ok();
        let said = dir.sh(&ours, name, script);
        dir.kill(&ours, name);
        dir.gone(&ours, name);
        said
    };
    boot(&name, "echo one >/etc/marker");
    let mut copies = Vec::new();
    for options in [&[][..], &["-s"]] {
        let copy = dir.name("copy");
        dir.run(&ours, "lxc-copy", &name, &[&["-N", &copy], options].concat()).ok();
        assert!(exists(&copy), "{copy}");
        assert_eq!(boot(&copy, "cat /etc/marker; echo two >/etc/marker"), "one\n", "{options:?}");
        copies.push(copy);
    }
    if kind == "nbd" {
        // What is written to its image would be in its clones.
        let refused = dir.run(&ours, "lxc-start", &name, &["-d"]).exits(1);
        assert!(refused.stderr.contains("has clones"), "{refused}");
    } else {
        assert_eq!(boot(&name, "cat /etc/marker"), "one\n");
    }
    let renamed = dir.name("renamed");
    dir.run(&ours, "lxc-copy", &copies[0], &["-R", "-N", &renamed]).ok();
    assert_eq!(boot(&renamed, "cat /etc/marker; hostname"), format!("two\n{renamed}\n"));
    // To a directory, and back.
    let plain = dir.name("plain");
    dir.run(&ours, "lxc-copy", &name, &["-N", &plain, "-B", "dir"]).ok();
    let back = dir.name("back");
    let size = ["-N", &back, "-B", kind, "-L", "64M"];
    // The name of a volume group is not known in a directory.
    if create.is_empty() {
        dir.run(&ours, "lxc-copy", &plain, &size).ok();
        assert_eq!(boot(&back, "cat /etc/marker"), "one\n");
        dir.run(&ours, "lxc-destroy", &back, &[]).ok();
    }
    let refused = dir.run(&ours, "lxc-snapshot", &name, &[]).exits(1);
    assert!(refused.stderr.contains("cannot be backed up"), "{refused}");
    for gone in [&plain, &renamed, &copies[1], &name] {
        dir.run(&ours, "lxc-destroy", gone, &[]).ok();
    }
    assert!(!exists(&name) && !exists(&copies[1]));
    assert_eq!(dir.listing(), [] as [&str; 0]);
}

#[test]
fn lvm() {
    needs!(root, ours, program "busybox", program "lvcreate", device_mapper);
    let dir = Lxcpath::new();
    let vg = format!("lxt{}", std::process::id());
    let image = dir.path().with_extension("pv");
    let device = sh(&format!("truncate -s 1G {0} && losetup -f --show {0}", image.display()));
    let _undo = Undo(format!("vgremove -ff -y {vg}; losetup -d {device}; rm -f {}", image.display()));
    sh(&format!("vgcreate {vg} {device}"));
    let exists = |name: &str| Path::new("/dev").join(&vg).join(name).exists();
    block_life(&dir, "lvm", &["--vgname", &vg], exists);
    volumes_in_use_and_inactive(&dir, &vg);
    sh(&format!("lvcreate -y -L 600M -T {vg}/pool"));
    block_life(
        &dir,
        "lvm",
        &["--vgname", &vg, "--thinpool", "pool", "--fstype", "xfs", "--fssize", "320M"],
        exists,
    );
    // A volume that is none, and a size that there is no room for.
    let ours = Suite::ours();
    for options in [&["--vgname", "nothing"][..], &["--vgname", &vg, "--fssize", "90G", "--thinpool", "none"]]
    {
        let words = [&["-f", "/dev/null", "-t", "busybox", "-B", "lvm"], options].concat();
        dir.run(&ours, "lxc-create", "none", &words).exits(1);
        assert_eq!(dir.listing(), [] as [&str; 0]);
    }
}

/// A volume that somebody has mounted stays, and its container with it; one without a device goes.
fn volumes_in_use_and_inactive(dir: &Lxcpath, vg: &str) {
    let (ours, name) = (Suite::ours(), dir.name("used"));
    let words = ["-f", "/dev/null", "-t", "busybox", "-B", "lvm", "--fssize", "64M", "--vgname", vg];
    dir.run(&ours, "lxc-create", &name, &words).ok();
    let place = dir.join(".mounted");
    std::fs::create_dir(&place).unwrap();
    sh(&format!("mount /dev/{vg}/{name} {}", place.display()));
    let refused = dir.run(&ours, "lxc-destroy", &name, &[]).exits(1);
    sh(&format!("umount {}", place.display()));
    assert!(refused.stderr.contains("lvremove"), "{refused}");
    assert!(dir.join(&name).join("config").exists() && !dir.join(&name).join("partial").exists());
    sh(&format!("lvchange -an {vg}/{name}"));
    assert!(!Path::new("/dev").join(vg).join(&name).exists());
    dir.run(&ours, "lxc-create", &dir.name("other"), &[&words[..], &["--lvname", &name]].concat()).exits(1);
    dir.run(&ours, "lxc-destroy", &name, &[]).ok();
    assert!(!sh(&format!("lvs --noheadings -o lv_name {vg}")).contains(&name));
    std::fs::remove_dir(&place).unwrap();
}

#[test]
fn nbd() {
    needs!(root, ours, program "busybox", program "qemu-nbd", nbd);
    let dir = Lxcpath::new();
    block_life(&dir, "nbd", &[], |name| dir.join(name).join("rootdev").exists());
    let busy = std::fs::read_dir("/sys/block").unwrap().flatten();
    let busy =
        busy.filter(|d| d.file_name().to_string_lossy().starts_with("nbd") && d.path().join("pid").exists());
    assert_eq!(busy.count(), 0, "an image is still connected");
}

/// A program of the test's own in the place of one that this host has not: it writes down how it is called, and answers
/// with what the real one has been seen to answer.
struct Stand {
    dir: Lxcpath,
    log: std::path::PathBuf,
    path: String,
}

impl Stand {
    fn new(program: &str, answers: &str) -> Stand {
        let dir = Lxcpath::new();
        let bin = dir.join(".bin");
        std::fs::create_dir(&bin).unwrap();
        let log = dir.join(".log");
        dir.host_script(&format!(".bin/{program}"), &format!("echo \"$*\" >>{}\n{answers}", log.display()));
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        Stand { dir, log, path }
    }

    /// Runs a command of ours; returns its status and how the program was called.
    fn run(&self, command: &str, name: &str, words: &[&str]) -> (i32, Vec<String>) {
        let _ = std::fs::remove_file(&self.log);
        let mut ours = Suite::ours().command(command);
        ours.args(["-P", self.dir.arg(), "-n", name]).args(words).env("PATH", &self.path);
        let output = lxc_testkit::Running::spawn(ours).wait();
        let called = std::fs::read_to_string(&self.log).unwrap_or_default();
        (output.code, called.lines().map(String::from).collect())
    }
}

/// ZFS is on no host of the tests: what is asked of its program, by what it answers (zfs 2.1).
#[test]
fn zfs_is_asked() {
    needs!(root, ours, program "busybox");
    let stand = Stand::new(
        "zfs",
        "cd \"$(dirname \"$0\")\"; grep -qsx pool datasets || echo pool >>datasets\n\
         case \"$*\" in\n'get -H -o name type '*) grep -x \"$6\" datasets || { echo \"cannot open '$6': dataset does not exist\" >&2; exit 1; } ;;\n\
         'get -H -o value origin pool/copy') echo pool/web@copy ;;\n'get -H -o value origin '*) echo - ;;\n\
         create*|clone*) for last; do :; done; echo \"$last\" >>datasets ;;\n\
         'destroy -r '*) grep -vx \"$3\" datasets >new; mv new datasets ;;\nesac",
    );
    let is_there = |name: &str| format!("get -H -o name type pool/{name}");
    // Is it the pool that is not there?
    let is_pool_there = || "get -H -o name type pool".to_string();
    let place = |name: &str| format!("mountpoint={}/{name}/rootfs", stand.dir.arg());
    // Made, not mounted, for this kernel has no ZFS, and removed again.
    let words = ["-f", "/dev/null", "-t", "busybox", "-B", "zfs", "--zfsroot", "pool"];
    let (code, called) = stand.run("lxc-create", "web", &words);
    assert_eq!(code, 1);
    assert_eq!(
        called,
        [
            is_there("web"),
            is_pool_there(),
            format!("create -o {} -o canmount=noauto pool/web", place("web")),
            is_there("web"),
            "get -H -o value origin pool/web".into(),
            "destroy -r pool/web".into()
        ]
    );
    assert!(!stand.dir.join("web").exists());
    std::fs::create_dir(stand.dir.join("web")).unwrap();
    std::fs::write(stand.dir.join("web/config"), "lxc.rootfs.path = zfs:pool/web\n").unwrap();
    let (code, called) = stand.run("lxc-copy", "web", &["-s", "-K", "-N", "copy"]);
    assert_eq!(code, 0, "{called:?}");
    assert_eq!(
        called,
        [
            is_there("copy"),
            is_pool_there(),
            "snapshot -r -o lxc:clone=pool/copy pool/web@copy".into(),
            format!("clone -o canmount=noauto -o {} pool/web@copy pool/copy", place("copy"))
        ]
    );
    // What is there already is somebody's: it is not taken, and above all not removed.
    let other = stand.dir.join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("config"), "lxc.rootfs.path = zfs:pool/other\n").unwrap();
    std::fs::write(stand.dir.join(".bin/datasets"), "pool/copy\npool/taken\n").unwrap();
    let (code, called) = stand.run("lxc-copy", "other", &["-s", "-K", "-N", "taken"]);
    assert_eq!((code, called), (1, vec![is_there("taken")]));
    let (code, called) = stand.run("lxc-destroy", "copy", &[]);
    assert_eq!(code, 0, "{called:?}");
    assert_eq!(
        called,
        [
            // Before hooks run, before it is marked, and before it is done.
            is_there("copy"),
            is_there("copy"),
            is_there("copy"),
            "get -H -o value origin pool/copy".into(),
            "destroy -r pool/copy".into(),
            "destroy -r pool/web@copy".into()
        ]
    );
    // The snapshots of two containers do not have one name.
    let (code, called) = stand.run("lxc-snapshot", "web", &[]);
    assert_eq!(code, 0, "{called:?}");
    assert_eq!(
        called[..3],
        [
            is_there("web_snap0"),
            is_pool_there(),
            "snapshot -r -o lxc:clone=pool/web_snap0 pool/web@web_snap0".into()
        ]
    );
}

/// Nor is Ceph (rbd 16.2).
#[test]
fn rbd_is_asked() {
    needs!(root, ours, program "busybox");
    let stand = Stand::new(
        "rbd",
        "case $1 in info) echo \"rbd: error opening image web: (2) No such file or directory\" >&2; exit 2 ;; esac",
    );
    let words = [
        "-f",
        "/dev/null",
        "-t",
        "busybox",
        "-B",
        "rbd",
        "--rbdpool",
        "lxtpool",
        "--rbduser",
        "me",
        "--fssize",
        "100M",
    ];
    let (code, called) = stand.run("lxc-create", "web", &words);
    assert_eq!(code, 1, "there is no such device");
    assert_eq!(
        called,
        [
            "info lxtpool/web",
            "create --id me --pool lxtpool web --size 100",
            "map --id me --pool lxtpool web",
            "rm --id me lxtpool/web"
        ]
    );
    assert!(!stand.dir.join("web").exists());
}
