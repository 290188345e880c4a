//! Copies: of containers beside the peer's, of a large tree beside rsync(1) and cp(1).

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use lxc_testkit::filesystem::large_tree;
use lxc_testkit::{Disk, Lxcpath, Suite, skip};

use super::{alternate, limit, row, time};

/// Milliseconds for a copy that shares what does not change.
const SHARED_LIMIT: f64 = 20.0;
/// Of rsync's time.
const TREE_TARGET: f64 = 0.35;
const FILES: u32 = 45_000;
const BYTES: u64 = 400_000_000;

/// A snapshot copy of an overlay, which copies the layer of changes.
pub fn of_overlay(both: &[Suite; 2]) {
    let dir = Lxcpath::new();
    let base = dir.busybox("base").build();
    let layers = dir.name("layers");
    dir.run(&both[0], "lxc-copy", &base, &["-s", "-N", &layers]).ok();
    let times = copies(both, &dir, &layers, &["-s"]);
    row("copy, overlay", "ms", times);
    limit(times[0], SHARED_LIMIT);
}

/// A copy of a subvolume, which is a snapshot.
pub fn of_btrfs(both: &[Suite; 2]) {
    if let Err(reason) = skip::file_system("btrfs") {
        println!("copy, btrfs: {reason}");
        return;
    }
    let disk = Disk::new("btrfs", 512);
    let dir = &disk.dir;
    let base = dir.busybox("base").build();
    let volume = dir.name("volume");
    dir.run(&both[0], "lxc-copy", &base, &["-B", "btrfs", "-N", &volume]).ok();
    let times = copies(both, dir, &volume, &[]);
    row("copy, btrfs", "ms", times);
    limit(times[0], SHARED_LIMIT);
}

fn copies(both: &[Suite; 2], dir: &Lxcpath, source: &str, options: &[&str]) -> [f64; 2] {
    alternate(both, |suite, _| {
        let copy = dir.name("copy");
        let words = [&["-P", dir.arg(), "-n", source, "-N", &copy], options].concat();
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        let taken = time(suite, "lxc-copy", &words);
        dir.run(&both[0], "lxc-destroy", &copy, &[]).ok();
        taken
    })
}

/// A tree of every kind of file, on several file systems. Both write to the page cache; ours also waits for the disk.
pub fn of_a_tree(ours: &Suite) {
    for kind in ["ext4", "btrfs", "xfs", "tmpfs"] {
        if let Err(reason) = skip::file_system(kind).and_then(|()| skip::program("rsync")) {
            println!("tree, {kind}: {reason}");
            continue;
        }
        let disk = Disk::new(kind, 4096);
        let dir = &disk.dir;
        let name = dir.name("tree");
        let root = dir.join(&name).join("rootfs");
        large_tree(&root, FILES, BYTES);
        let config = format!("lxc.rootfs.path = dir:{}\n", root.display());
        std::fs::write(dir.join(&name).join("config"), config).expect("write a configuration");
        let timed = |program: &str, words: &[&str]| {
            rustix::fs::sync();
            let begin = Instant::now();
            let done = Command::new(program).args(words).stdout(Stdio::null()).status();
            assert!(done.is_ok_and(|s| s.success()), "{program} {words:?}");
            begin.elapsed().as_secs_f64()
        };
        let (from, to) = (format!("{}/", root.display()), dir.join("copied"));
        let to = to.to_str().expect("ASCII");
        let clear = || drop(std::fs::remove_dir_all(to));
        let rsync = timed("rsync", &["-aHAXS", &from, to]);
        clear();
        let cp = timed("cp", &["-a", &from, to]);
        clear();
        rustix::fs::sync();
        let before = disk.free();
        let copy = dir.name("copy");
        let program = ours.path("lxc-copy");
        let words = ["-P", dir.arg(), "-n", &name, "-N", &copy, "-B", "dir", "-K"];
        let own = timed(program.to_str().expect("ASCII"), &words);
        rustix::fs::sync();
        let written = before.saturating_sub(disk.free()) >> 20;
        let differences = differences(&from, &dir.join(&copy).join("rootfs"));
        let verdict = if own <= TREE_TARGET * rsync && differences == 0 { "ok" } else { "missed" };
        println!(
            "tree, {kind:<6} ours {own:.2} s, rsync {rsync:.2} s, cp -a {cp:.2} s: {:.2} of rsync, {:.2} of cp; \
             {written} MiB on disk, {differences} differences  {verdict}",
            own / rsync,
            own / cp
        );
    }
}

/// Lines that rsync prints of what it would have to do.
fn differences(from: &str, to: &Path) -> usize {
    let to = format!("{}/", to.display());
    let output = Command::new("rsync").args(["-aHAXSni", "--delete", from, &to]).output().expect("run rsync");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().count()
}
