//! Disks without room, and disks that cannot be read: what fails leaves everything as it was.

use std::path::{Path, PathBuf};

use lxc_testkit::filesystem::{Disk, fingerprint};
use lxc_testkit::{Lxcpath, Suite, needs};

use super::storage::{Undo, sh};

/// An archive of a root file system with a large file.
fn archive(place: &Path, megabytes: usize) -> PathBuf {
    let (root, file) = (place.join("tree"), place.join("tree.tar"));
    lxc_testkit::container::busybox_rootfs(&root);
    std::fs::write(root.join("large"), vec![5u8; megabytes << 20]).unwrap();
    sh(&format!("tar -C {} -cf {} . && rm -r {0}", root.display(), file.display()));
    file
}

#[test]
fn no_room() {
    needs!(root, ours, program "python3", file_system "ext4");
    let (disk, elsewhere, ours) = (Disk::new("ext4", 64), Lxcpath::new(), Suite::ours());
    let dir = &disk.dir;
    let tar = archive(elsewhere.path(), 15);
    let name = dir.busybox("full").build();
    let (root, config) = (dir.join(&name).join("rootfs"), dir.join(&name).join("config"));
    std::fs::write(root.join("large"), vec![1u8; 15 << 20]).unwrap();
    dir.run(&ours, "lxc-snapshot", &name, &[]).ok();
    std::fs::write(root.join("changed"), "since").unwrap();
    let plain = dir.busybox("plain").build();
    let plain_before = fingerprint(&dir.join(&plain));
    let filler = dir.join("filler");
    std::fs::write(&filler, vec![2u8; usize::try_from(disk.free()).unwrap() - (4 << 20)]).unwrap();
    let before = fingerprint(&dir.join(&name));
    let (free, text) = (disk.free(), std::fs::read_to_string(&config).unwrap());
    let new = dir.name("new");
    let archive = ["-t", "local", "-f", "/dev/null", "--", "-f", tar.to_str().unwrap()];
    let on_loop = [&["-B", "loop", "--fssize", "10M"][..], &archive].concat();
    for (command, of, arguments) in [
        ("lxc-copy", &name, &["-N", &new][..]),
        ("lxc-copy", &name, &["-N", &new, "-B", "loop", "-L", "10M"]),
        ("lxc-snapshot", &name, &[]),
        ("lxc-snapshot", &name, &["-r", "snap0"]),
        ("lxc-create", &new, &archive),
        ("lxc-create", &new, &on_loop),
    ] {
        let output = dir.run(&ours, command, of, arguments).exits(1);
        // The file system in an image may be told first, to which the loop device is a disk that does not write.
        let is_told = output.stderr.contains("No space left on device")
            || arguments.contains(&"loop") && output.stderr.contains("Input/output error");
        assert!(is_told, "{output}");
        assert_eq!(dir.listing(), ["filler", &*name, "lost+found", &*plain], "{output}");
        let now = fingerprint(&dir.join(&name));
        assert_eq!(without_place(&now), without_place(&before), "{output}");
        assert!(free - disk.free() < 1 << 20, "{command} {arguments:?}: {free} bytes were free");
    }
    // Not a single block.
    sh(&format!("dd if=/dev/zero of={} bs=4k status=none 2>/dev/null || true", dir.join("more").display()));
    sh(&format!("dd if=/dev/zero of={} bs=512 status=none 2>/dev/null || true", dir.join("rest").display()));
    let output = dir.run(&ours, "lxc-copy", &plain, &["-R", "-N", &new]).exits(1);
    assert!(output.stderr.contains("No space left on device"), "{output}");
    assert_eq!(without_place(&fingerprint(&dir.join(&plain))), without_place(&plain_before));
    assert_eq!(std::fs::read_to_string(&config).unwrap(), text);
    // What makes room needs none.
    dir.run(&ours, "lxc-destroy", &plain, &[]).ok();
    dir.run(&ours, "lxc-snapshot", &name, &["-d", "snap0"]).ok();
    dir.run(&ours, "lxc-destroy", &name, &[]).ok();
    assert_eq!(dir.listing(), ["filler", "lost+found", "more", "rest"]);
}

/// A fingerprint without the directories in which something was made and removed: they are newer.
fn without_place(lines: &[String]) -> Vec<&String> {
    let is_place = |line: &str| line.starts_with("b'.' ") || line.starts_with("b'snaps' ");
    lines.iter().filter(|line| !is_place(line)).collect()
}

/// A disk below its file system, of which a part can be made bad.
struct BadDisk {
    dm: String,
    device: String,
    mounted: PathBuf,
    _undo: Undo,
}

/// Sectors of it.
const SECTORS: u64 = 400 << 11;

impl BadDisk {
    fn new(dir: &Lxcpath) -> BadDisk {
        let dm = format!("lxtbad{}", std::process::id());
        let image = dir.path().with_extension("disk");
        let device = sh(&format!("truncate -s 400M {0} && losetup -f --show {0}", image.display()));
        let mounted = dir.join("disk");
        std::fs::create_dir(&mounted).unwrap();
        let undo = Undo(format!(
            "umount {}; dmsetup remove --retry {dm}; losetup -d {device}; rm -f {}",
            mounted.display(),
            image.display()
        ));
        sh(&format!(
            "mkfs.ext4 -q -b 4096 {device}; echo 0 {SECTORS} linear {device} 0 | dmsetup create {dm}; \
             mount /dev/mapper/{dm} {}",
            mounted.display()
        ));
        BadDisk { dm, device, mounted, _undo: undo }
    }

    /// Some megabytes of large files cannot be read any more; what the kernel has of them in memory is forgotten.
    fn spoil(&self, files: &[&Path]) {
        sh("sync");
        let mut bad: Vec<u64> = files
            .iter()
            .map(|file| {
                let show =
                    format!("filefrag -v {} | awk '$1 == \"0:\" {{print $4}}' | tr -d .:", file.display());
                sh(&show).parse::<u64>().expect("a block") * 8 + 2048
            })
            .collect();
        bad.sort_unstable();
        let (device, mut at, mut table) = (&self.device, 0, String::new());
        for first in bad {
            table += &format!("{at} {} linear {device} {at}\n{first} 8192 error\n", first - at);
            at = first + 8192;
        }
        table += &format!("{at} {} linear {device} {at}\n", SECTORS - at);
        sh(&format!(
            "umount {0}; printf '{table}' | dmsetup reload {dm}; dmsetup resume {dm}; \
             mount /dev/mapper/{dm} {0}; echo 3 >/proc/sys/vm/drop_caches",
            self.mounted.display(),
            dm = self.dm,
        ));
    }
}

#[test]
fn a_bad_disk() {
    needs!(root, ours, program "dmsetup", program "python3", device_mapper, file_system "ext4");
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let disk = BadDisk::new(&dir);
    let lxcpath = disk.mounted.join("containers");
    let at = lxcpath.to_str().unwrap();
    let run = |command: &str, name: &str, words: &[&str]| {
        ours.run(command, &[&["-P", at, "-n", name], words].concat())
    };
    let tar = archive(&disk.mounted, 20);
    let archive = ["-f", "/dev/null", "-t", "local", "--", "-f", tar.to_str().unwrap()];
    run("lxc-create", "bad", &archive).ok();
    run("lxc-snapshot", "bad", &[]).ok();
    let (source, snapshot) = (lxcpath.join("bad"), lxcpath.join("bad/snaps/snap0"));
    let listing = || sh(&format!("cd {at}; find . -printf '%p %s %T@ %m %U\n' | sort"));
    disk.spoil(&[&source.join("rootfs/large"), &snapshot.join("rootfs/large"), &tar]);
    let before = listing();
    for (command, name, words) in [
        ("lxc-copy", "bad", &["-N", "copy"][..]),
        ("lxc-snapshot", "bad", &[]),
        ("lxc-snapshot", "bad", &["-r", "snap0"]),
        ("lxc-create", "new", &archive),
    ] {
        let output = run(command, name, words).exits(1);
        let what = if command == "lxc-create" { "archive" } else { "large" };
        assert!(output.stderr.contains("Input/output error") && output.stderr.contains(what), "{output}");
        assert_eq!(without_times(&listing()), without_times(&before), "{output}");
    }
    // What need not be read does not matter.
    run("lxc-snapshot", "bad", &["-d", "snap0"]).ok();
    run("lxc-copy", "bad", &["-R", "-N", "other"]).ok();
    run("lxc-destroy", "other", &[]).ok();
    assert_eq!(std::fs::read_dir(&lxcpath).unwrap().count(), 0);
}

/// Directories in which something was made and removed are newer.
fn without_times(listing: &str) -> Vec<String> {
    let is_place = |path: &str| path == "." || path == "./bad" || path == "./bad/snaps";
    let line = |line: &str| {
        let path = line.split(' ').next().unwrap_or_default();
        if is_place(path) { path.to_string() } else { line.to_string() }
    };
    listing.lines().map(line).collect()
}
