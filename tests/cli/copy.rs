//! lxc-copy.

use std::path::Path;

use lxc_testkit::filesystem::{assert_same, every_kind, fingerprint};
use lxc_testkit::{Disk, Lxcpath, Suite, eventually, needs};

fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut lines: Vec<String> = text.lines().filter(|l| !l.is_empty()).map(String::from).collect();
    lines.sort();
    lines
}

/// Names and modes directly below a container's directory.
fn files(dir: &Lxcpath, name: &str) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(dir.join(name)).expect("the container's directory").flatten();
    let mut files: Vec<String> = entries
        .map(|e| format!("{} {:o}", e.file_name().to_string_lossy(), e.metadata().expect("a file").mode()))
        .collect();
    files.push(format!(". {:o}", std::fs::metadata(dir.join(name)).expect("the directory").mode()));
    files.sort();
    files
}

/// What stays of a copy when the names in it are taken out: addresses are random.
fn shape(dir: &Lxcpath, source: &str, copy: &str) -> (Vec<String>, Vec<String>) {
    let config = lines(&dir.join(copy).join("config"));
    let plain = |line: &String| {
        let line = line.replace(copy, "COPY").replace(source, "SOURCE").replace(dir.arg(), "PATH");
        match line.split_once("hwaddr") {
            Some((before, value)) => format!("{before}hwaddr {}", value.trim_start_matches([' ', '=']).len()),
            None => line,
        }
    };
    (config.iter().map(plain).collect(), files(dir, copy))
}

#[test]
fn a_copy_is_the_peers() {
    needs!(root, ours, peer_copies);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let source = dir
            .busybox("source")
            .no_network_lines()
            .line("lxc.net.0.type = empty\nlxc.net.0.hwaddr = 00:16:3e:11:22:33\nlxc.start.auto = 1\n# a comment")
            .build();
        std::fs::write(dir.join(&source).join("hook"), "#!/bin/sh\nexit 0\n").unwrap();
        std::fs::write(dir.join(&source).join("fstab"), "").unwrap();
        let config = dir.join(&source).join("config");
        let text = std::fs::read_to_string(&config).unwrap();
        let here = dir.join(&source).display().to_string();
        std::fs::write(
            &config,
            format!("{text}lxc.hook.stop = {here}/hook\nlxc.mount.fstab = {here}/fstab\n"),
        )
        .unwrap();
        std::fs::set_permissions(
            dir.join(&source).join("hook"),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
        std::fs::write(dir.join(&source).join("rootfs/etc/hostname"), "source\n").unwrap();
        let mut shapes = Vec::new();
        for options in [&[][..], &["-s"], &["-K", "-M"]] {
            let copy = dir.name("copy");
            dir.run(suite, "lxc-copy", &source, &[&["-N", &copy], options].concat()).exits(0);
            let hostname =
                if options == ["-s"] { "overlay/delta/etc/hostname" } else { "rootfs/etc/hostname" };
            let hostname = std::fs::read_to_string(dir.join(&copy).join(hostname)).unwrap_or_default();
            shapes.push((shape(&dir, &source, &copy), hostname.replace(&copy, "COPY")));
        }
        let recorded = std::fs::read_to_string(dir.join(&source).join("lxc_snapshots")).unwrap_or_default();
        (shapes, recorded.lines().count())
    });
}

#[test]
fn refusals() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let source = dir.busybox("refuse").quick().build();
        let taken = dir.busybox("taken").build();
        let copy = dir.name("new");
        let mut codes = Vec::new();
        for options in [
            &[][..],
            &["-N", &taken],
            &["-N", &copy, "-B", "bogus"],
            &["-N", &copy, "-B", "overlay"],
            &["-N", &copy, "-B", "loop", "-s"],
            &["-N", &copy, "-B", "dir", "-s"],
            &["-N", &copy, "-e", "-m", "bind=/a:b:c:d"],
        ] {
            let output = dir.run(suite, "lxc-copy", &source, options);
            codes.push(output.code);
            assert!(!dir.join(&copy).exists(), "{options:?}: {output}");
        }
        dir.start(suite, &source);
        codes.push(dir.run(suite, "lxc-copy", &source, &["-N", &copy]).code);
        dir.kill(suite, &source);
        codes.push(dir.run(suite, "lxc-copy", "nothing", &["-N", &copy]).code);
        (codes, dir.listing().len())
    });
}

/// A container without a root file system of its own gets the name in its configuration, too.
#[test]
fn another_name_without_a_root() {
    needs!(ours, root);
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let (name, new) = (dir.name("bare"), dir.name("renamed"));
    std::fs::create_dir(dir.join(&name)).unwrap();
    let hook = dir.join(&name).join("hook");
    let text = format!("lxc.uts.name = {name}\nlxc.hook.post-stop = {}\n", hook.display());
    std::fs::write(dir.join(&name).join("config"), text).unwrap();
    dir.run(&ours, "lxc-copy", &name, &["-R", "-N", &new]).ok();
    let text = std::fs::read_to_string(dir.join(&new).join("config")).unwrap();
    let hook = dir.join(&new).join("hook");
    assert_eq!(text, format!("lxc.uts.name = {new}\nlxc.hook.post-stop = {}\n", hook.display()));
    assert_eq!(dir.listing(), [new]);
}

/// Files of every kind, on every file system, as they are: nothing else of them is in the copy, nothing is missing.
fn faithful(kind: &str) {
    let disk = Disk::new(kind, 512);
    let ours = Suite::ours();
    let source = disk.dir.name("tree");
    let rootfs = disk.dir.join(&source).join("rootfs");
    every_kind(&rootfs);
    std::fs::write(
        disk.dir.join(&source).join("config"),
        format!("lxc.rootfs.path = dir:{}\n", rootfs.display()),
    )
    .unwrap();
    let before = fingerprint(&rootfs);
    let copy = disk.dir.name("copy");
    disk.dir.run(&ours, "lxc-copy", &source, &["-N", &copy, "-K"]).ok();
    assert_same(&before, &disk.dir.join(&copy).join("rootfs"));
    assert_same(&before, &rootfs);
    // And onto another file system, where it is read again.
    let other = Lxcpath::new();
    let words = ["-N", &copy, "-K", "-p", other.arg(), "--verify"];
    disk.dir.run(&ours, "lxc-copy", &source, &words).ok();
    assert_same(&before, &other.join(&copy).join("rootfs"));
}

#[test]
fn every_kind_of_file_on_ext4() {
    needs!(root, ours, program "python3", file_system "ext4");
    faithful("ext4");
}

#[test]
fn every_kind_of_file_on_btrfs() {
    needs!(root, ours, program "python3", file_system "btrfs");
    faithful("btrfs");
}

#[test]
fn every_kind_of_file_on_xfs() {
    needs!(root, ours, program "python3", file_system "xfs");
    faithful("xfs");
}

#[test]
fn every_kind_of_file_on_tmpfs() {
    needs!(root, ours, program "python3", file_system "tmpfs");
    faithful("tmpfs");
}

/// What the container's root has put in the place of a file leads nowhere when its name is written.
#[test]
fn names_are_written_inside() {
    needs!(root, ours);
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let outside = dir.join("outside");
    let hook = ours.path("lxc-copy").with_file_name("../share/lxc/hooks/clonehostname");
    assert!(hook.exists(), "{}", hook.display());
    for (number, what) in ["link", "directory link", "fifo", "device"].iter().enumerate() {
        std::fs::write(&outside, "precious").unwrap();
        let source = dir.busybox("hostname").line(format!("lxc.hook.clone = {}", hook.display())).build();
        let etc = dir.join(&source).join("rootfs/etc");
        match *what {
            "link" => {
                std::os::unix::fs::symlink(&outside, etc.join("hostname")).unwrap();
                std::os::unix::fs::symlink(&outside, etc.join("hosts")).unwrap();
            }
            "directory link" => {
                std::fs::rename(&etc, dir.join(&source).join("rootfs/etc2")).unwrap();
                std::os::unix::fs::symlink(dir.path(), &etc).unwrap();
                std::fs::write(dir.join("hostname"), "precious").unwrap();
                std::fs::write(dir.join("hosts"), &*source).unwrap();
            }
            "fifo" => rustix::fs::mknodat(
                rustix::fs::CWD,
                etc.join("hostname"),
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::RWXU,
                0,
            )
            .unwrap(),
            _ => rustix::fs::mknodat(
                rustix::fs::CWD,
                etc.join("hostname"),
                rustix::fs::FileType::CharacterDevice,
                rustix::fs::Mode::RWXU,
                rustix::fs::makedev(1, 3),
            )
            .unwrap(),
        }
        let copy = dir.name("copy");
        dir.run(&ours, "lxc-copy", &source, &["-N", &copy]).ok();
        assert_eq!(std::fs::read_to_string(&outside).unwrap(), "precious", "{number}: {what}");
        if *what == "directory link" {
            assert_eq!(std::fs::read_to_string(dir.join("hostname")).unwrap(), "precious", "{what}");
            assert_eq!(std::fs::read_to_string(dir.join("hosts")).unwrap(), source, "{what}");
        }
    }
}

#[test]
fn clone_hooks_see_the_copy() {
    needs!(root, ours, peer_copies);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let script = dir.host_script(
            "hook",
            &format!(
                "{{ echo \"$@\"; echo $LXC_SRC_NAME $LXC_NAME $LXC_CONFIG_FILE $LXC_ROOTFS_PATH; \
                 ls $LXC_ROOTFS_MOUNT/bin/busybox | wc -l; }} >>{}/said; echo new >$LXC_ROOTFS_MOUNT/etc/marker",
                dir.arg()
            ),
        );
        let source = dir.busybox("hooks").line(format!("lxc.hook.clone = {script}")).build();
        let copy = dir.name("copy");
        dir.run(suite, "lxc-copy", &source, &["-N", &copy, "--", "one", "t w o"]).exits(0);
        let said = std::fs::read_to_string(dir.join("said")).unwrap();
        assert_eq!(dir.file(&copy, "etc/marker"), "new\n", "{suite}");
        said.replace(&copy, "COPY").replace(&source, "SOURCE").replace(dir.arg(), "PATH")
    });
}

#[test]
fn a_hook_that_fails_leaves_nothing() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let source = dir.busybox("failing").line("lxc.hook.clone = /bin/false").build();
        let copy = dir.name("copy");
        for options in [&[][..], &["-s"]] {
            dir.run(&suite, "lxc-copy", &source, &[&["-N", &copy], options].concat()).exits(1);
            assert!(!dir.join(&copy).exists(), "{suite}");
        }
        if suite.name == "ours" {
            assert!(!dir.join(&source).join("lxc_snapshots").exists());
        }
    }
}

#[test]
fn another_name() {
    needs!(root, ours, peer_copies);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let source = dir.busybox("old").quick().build();
        std::fs::write(dir.join(&source).join("rootfs/etc/hostname"), "old\n").unwrap();
        let new = dir.name("renamed");
        dir.run(suite, "lxc-copy", &source, &["-R", "-N", &new]).exits(0);
        assert!(!dir.join(&source).exists(), "{suite}");
        dir.start(suite, &new);
        assert_eq!(dir.sh(suite, &new, "hostname; cat /etc/hostname"), format!("{new}\n{new}"), "{suite}");
        dir.kill(suite, &new);
        shape(&dir, &source, &new).0
    });
}

#[test]
fn clones_keep_their_name_and_record() {
    needs!(root, ours);
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let base = dir.busybox("base").build();
    let (one, two) = (dir.name("one"), dir.name("two"));
    dir.run(&ours, "lxc-copy", &base, &["-s", "-N", &one]).ok();
    dir.run(&ours, "lxc-destroy", &base, &[]).exits(1);
    dir.run(&ours, "lxc-copy", &base, &["-R", "-N", "elsewhere"]).exits(1);
    dir.run(&ours, "lxc-copy", &one, &["-R", "-N", &two]).ok();
    let record = std::fs::read_to_string(dir.join(&base).join("lxc_snapshots")).unwrap();
    assert_eq!(record, format!("{}\n{two}\n", dir.arg()));
    dir.run(&ours, "lxc-destroy", &two, &[]).ok();
    dir.run(&ours, "lxc-destroy", &base, &[]).ok();
}

/// A rename that was killed when the directory had its new name is ended by whoever comes next.
#[test]
fn a_rename_is_ended() {
    needs!(root, ours);
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let source = dir.busybox("half").quick().build();
    std::fs::write(dir.join(&source).join("rootfs/etc/hostname"), "old\n").unwrap();
    let new = dir.name("whole");
    let config = std::fs::read_to_string(dir.join(&source).join("config")).unwrap();
    std::fs::write(dir.join(&source).join(".renamed"), config.replace(&source, &new)).unwrap();
    // Before that it is still the old one.
    dir.start(&ours, &source);
    dir.kill(&ours, &source);
    assert!(!dir.join(&source).join(".renamed").exists());
    std::fs::write(dir.join(&source).join(".renamed"), config.replace(&source, &new)).unwrap();
    std::fs::rename(dir.join(&source), dir.join(&new)).unwrap();
    assert!(ours.run("lxc", &["gc", "-P", dir.arg(), "--dry-run"]).ok().contains(&new));
    dir.start(&ours, &new);
    assert_eq!(dir.sh(&ours, &new, "hostname; cat /etc/hostname"), format!("{new}\n{new}"));
    dir.kill(&ours, &new);
    assert!(!dir.join(&new).join(".renamed").exists());
}

#[test]
fn for_one_use() {
    needs!(root, ours);
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let base = dir.busybox("use").quick().build();
    let seen = dir.join("seen");
    std::fs::create_dir(&seen).unwrap();
    std::fs::write(seen.join("file"), "x").unwrap();
    let bind = format!("bind={0}:/mnt:ro,overlay={0}:/over", seen.display());
    let script = "cat /mnt/file; touch /mnt/y 2>/dev/null; echo y >/over/z; ls /over; echo changed >/etc/new; hostname; exit 7";
    let output = dir.run(&ours, "lxc-copy", &base, &["-e", "-m", &bind, "--", "sh", "-c", script]);
    assert_eq!(output.code, 7, "{output}");
    let name = output.stdout.lines().next().and_then(|l| l.split(' ').nth(1)).expect("a name").to_string();
    assert_eq!(output.stdout, format!("Created {name} as clone of {base}\nxfile\nz\n{name}\n"));
    eventually("it has gone", || !dir.join(&name).exists());
    assert!(!dir.join(&base).join("lxc_snapshots").exists(), "nobody builds on it any more");
    assert_eq!(dir.file(&base, "etc/new"), "");
    assert_eq!(std::fs::read_dir(&seen).unwrap().count(), 1);
}

#[test]
fn in_memory() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let base = dir.busybox("mem").quick().build();
        std::fs::write(dir.join(&base).join("rootfs/etc/hostname"), "base\n").unwrap();
        let copy = dir.name("memcopy");
        let output = dir.run(&suite, "lxc-copy", &base, &["-e", "-t", "-N", &copy]).exits(0).stdout;
        assert!(output.contains("Container is placed on tmpfs."), "{suite}: {output}");
        let text = dir.sh(
            &suite,
            &copy,
            "echo x >/etc/new; cat /etc/hostname; grep ' / ' /proc/mounts | cut -d' ' -f3",
        );
        assert_eq!(text, format!("{copy}\noverlay\n"), "{suite}");
        // The peer's is on disk where AppArmor keeps its hook from mounting.
        let on_disk = dir.join(&copy).join("overlay/delta/etc/new").exists();
        assert!(!on_disk || suite.name == "peer", "{suite}: it is not on disk");
        dir.kill(&suite, &copy);
        eventually("it has gone", || !dir.join(&copy).exists());
    }
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let base = dir.busybox("mem").build();
    for options in [&["-e", "-t", "-D"][..], &["-e", "-t", "-B", "dir"]] {
        dir.run(&ours, "lxc-copy", &base, options).exits(1);
    }
    assert_eq!(dir.listing(), [base]);
}
