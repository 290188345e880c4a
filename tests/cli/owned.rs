//! What is a container's own, and goes with it; what is not, and stays.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use lxc_testkit::{Lxcpath, Output, Suite, eventually, needs};

fn destroy(dir: &Lxcpath, name: &str) -> Output {
    dir.run(&Suite::ours(), "lxc-destroy", name, &[])
}

/// Whether all of a container is there that was.
fn is_whole(dir: &Lxcpath, name: &str) -> bool {
    let path = dir.join(name);
    path.join("config").exists() && !path.join("partial").exists()
}

/// A root file system that is in another container, or has containers in it, or is a link, is not removed.
#[test]
fn storage_of_others_stays() {
    needs!(root, ours);
    let dir = Lxcpath::new();
    let other = dir.busybox("other").build();
    let elsewhere = dir.join(".elsewhere");
    std::fs::create_dir_all(elsewhere.join("etc")).unwrap();
    let link = dir.join(".link");
    symlink(&elsewhere, &link).unwrap();
    for (path, why) in [
        (dir.join(&other).join("rootfs"), format!("is of container {}", dir.join(&other).display())),
        (dir.path().to_path_buf(), "in it".into()),
        (dir.path().parent().unwrap().to_path_buf(), "in it".into()),
        (link.clone(), "is a symbolic link".into()),
    ] {
        let name = dir.busybox("thief").rootfs(&path).build();
        let refused = destroy(&dir, &name).exits(1);
        assert!(refused.stderr.contains(&why) && refused.stderr.contains("nothing was removed"), "{refused}");
        assert!(is_whole(&dir, &name) && is_whole(&dir, &other));
        assert!(dir.join(&other).join("rootfs/bin/busybox").exists() && elsewhere.join("etc").exists());
    }
    // Layers that are written to, in the same way; the lower ones are others' anyway.
    let upper = dir.join(&other).join("rootfs");
    let name = dir.busybox("layers").rootfs(&elsewhere).build();
    let config = dir.join(&name).join("config");
    let text = std::fs::read_to_string(&config).unwrap();
    let layers = format!("overlay:{}:{}", elsewhere.display(), upper.display());
    std::fs::write(&config, text.replace(&format!("dir:{}", elsewhere.display()), &layers)).unwrap();
    destroy(&dir, &name).exits(1);
    assert!(is_whole(&dir, &name) && upper.join("bin/busybox").exists());
    // As the message says.
    std::fs::write(&config, text.replace("lxc.rootfs.path", "#lxc.rootfs.path")).unwrap();
    destroy(&dir, &name).ok();
    assert!(!dir.join(&name).exists() && elsewhere.join("etc").exists());
    // A directory of its own somewhere else goes with the container.
    let name = dir.busybox("away").rootfs(&elsewhere).build();
    destroy(&dir, &name).ok();
    assert!(!elsewhere.exists());
}

#[test]
fn what_a_link_leads_to_stays() {
    needs!(root, ours);
    let dir = Lxcpath::new();
    let name = dir.busybox("moved").build();
    let real = dir.join(".real");
    std::fs::rename(dir.join(&name), &real).unwrap();
    symlink(&real, dir.join(&name)).unwrap();
    let refused = destroy(&dir, &name).exits(1);
    assert!(refused.stderr.contains("is a symbolic link"), "{refused}");
    assert!(is_whole(&dir, &name) && real.join("rootfs/bin/busybox").exists());
}

/// A restore in place replaces what is the container's own, and is refused where that cannot be removed afterwards.
#[test]
fn a_restore_replaces_nothing_of_others() {
    needs!(root, ours, file_system "ext4");
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let restore = |name: &str| dir.run(&ours, "lxc-snapshot", name, &["-r", "snap0"]);
    let other = dir.busybox("other").build();
    let thief = dir.busybox("thief").rootfs(dir.join(&other).join("rootfs")).build();
    dir.run(&ours, "lxc-snapshot", &thief, &[]).ok();
    let refused = restore(&thief).exits(1);
    assert!(refused.stderr.contains("is of container"), "{refused}");
    assert!(dir.join(&other).join("rootfs/bin/busybox").exists() && is_whole(&dir, &thief));
    // A directory of containers by two names, one of them in the configuration.
    let link = dir.join(".link");
    symlink(dir.path(), &link).unwrap();
    for create in [&["-B", "loop", "--fssize", "64M"][..], &["-B", "overlay"]] {
        let name = dir.name("named");
        let words = [&["-f", "/dev/null", "-t", "busybox"], create].concat();
        dir.run(&ours, "lxc-create", &name, &words).exits(0);
        let by_link = |words: &[&str]| {
            ours.run("lxc-snapshot", &[&["-P", link.to_str().unwrap(), "-n", &name], words].concat()).exits(0)
        };
        by_link(&[]);
        by_link(&["-r", "snap0"]);
        let is_there =
            ["rootdev", "rootfs/bin/busybox"].iter().any(|file| dir.join(&name).join(file).exists());
        assert!(is_there && is_whole(&dir, &name), "{create:?}");
        dir.run(&ours, "lxc-snapshot", &name, &["-d", "snap0"]).ok();
        destroy(&dir, &name).ok();
    }
    // A container of which only a link is here.
    let moved = dir.busybox("moved").build();
    dir.run(&ours, "lxc-snapshot", &moved, &[]).ok();
    std::fs::rename(dir.join(&moved), dir.join(".real")).unwrap();
    symlink(dir.join(".real"), dir.join(&moved)).unwrap();
    let refused = restore(&moved).exits(1);
    assert!(refused.stderr.contains("is a symbolic link"), "{refused}");
    dir.start(&ours, &moved);
    dir.kill(&ours, &moved);
}

/// A snapshot holds a root file system and a configuration. What else is in the directory stays with the container.
#[test]
fn what_lies_beside_survives_a_restore() {
    needs!(root, ours);
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let name = dir.name("beside");
    let own = dir.join(&name);
    lxc_testkit::container::busybox_rootfs(&own.join("rootfs"));
    std::fs::create_dir_all(own.join("hooks")).unwrap();
    std::fs::create_dir_all(own.join("data/deep")).unwrap();
    std::fs::write(own.join("data/deep/file"), "precious\n").unwrap();
    std::fs::write(own.join("more.conf"), "lxc.environment = FROM=include\n").unwrap();
    for hook in ["up", "old"] {
        std::fs::write(own.join("hooks").join(hook), "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(own.join("hooks").join(hook), PermissionsExt::from_mode(0o755)).unwrap();
    }
    let here = own.display();
    std::fs::write(
        own.join("config"),
        format!(
            "lxc.rootfs.path = dir:{here}/rootfs\nlxc.net.0.type = empty\nlxc.apparmor.profile = unconfined\n\
             lxc.init.cmd = /sbin/quick\nlxc.signal.halt = SIGUSR1\nlxc.include = {here}/more.conf\n\
             lxc.hook.pre-start = {here}/hooks/up\nlxc.mount.entry = {here}/data mnt none bind 0 0\n"
        ),
    )
    .unwrap();
    dir.run(&ours, "lxc-snapshot", &name, &[]).ok();
    std::fs::write(own.join("rootfs/etc/later"), "").unwrap();
    dir.run(&ours, "lxc-snapshot", &name, &["-r", "snap0"]).ok();
    assert!(!own.join("rootfs/etc/later").exists() && own.join("hooks/old").exists());
    dir.start(&ours, &name);
    assert_eq!(dir.sh(&ours, &name, "cat /mnt/deep/file"), "precious\n");
    dir.kill(&ours, &name);
    assert!(dir.run(&ours, "lxc-snapshot", &name, &["-L"]).ok().contains("snap0"));
    assert_eq!(dir.listing(), [name.as_str()]);
    // A file that cannot be removed keeps nobody from using the new state.
    let stuck = own.join("rootfs/etc/stuck");
    std::fs::write(&stuck, "").unwrap();
    let change = |what: &str, file: &Path| {
        let status = std::process::Command::new("chattr").arg(what).arg(file).status();
        status.is_ok_and(|status| status.success())
    };
    if !change("+i", &stuck) {
        return;
    }
    let restored = dir.run(&ours, "lxc-snapshot", &name, &["-r", "snap0"]);
    let left = dir.join(&format!(".{name}.restore.0.new/rootfs/etc/stuck"));
    assert!(change("-i", &left), "{restored}");
    restored.exits(0);
    assert!(!stuck.exists());
    dir.start(&ours, &name);
    dir.kill(&ours, &name);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    ours.run("lxc", &["gc", "-P", dir.arg(), "--kind", "directory"]).exits(0);
    assert!(!left.exists());
}

/// A table in the root file system that the container has made a link is that of the container, not of the host.
#[test]
fn a_link_for_a_table() {
    needs!(root, ours);
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let secret = dir.join(".secret");
    std::fs::write(&secret, "secret\n").unwrap();
    let source = dir.busybox("table").build();
    let fstab = dir.join(&source).join("rootfs/etc/fstab");
    let config = dir.join(&source).join("config");
    let mut text = std::fs::read_to_string(&config).unwrap();
    text += &format!("lxc.mount.fstab = {}\n", fstab.display());
    std::fs::write(&config, text).unwrap();
    symlink(&secret, &fstab).unwrap();
    let copy = dir.name("copy");
    dir.run(&ours, "lxc-copy", &source, &["-N", &copy]).exits(1);
    assert!(!dir.join(&copy).exists());
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "secret\n");
    std::fs::remove_file(&fstab).unwrap();
    std::fs::write(&fstab, "none mnt tmpfs\n").unwrap();
    dir.run(&ours, "lxc-copy", &source, &["-N", &copy]).ok();
    assert_eq!(std::fs::read_to_string(dir.join(&copy).join("fstab")).unwrap(), "none mnt tmpfs\n");
}

/// What a clone builds on stays while the disk that the clone is on is away.
#[test]
fn clones_on_a_disk_that_is_not_mounted() {
    needs!(root, ours);
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let place = dir.join(".disk/containers");
    let (base, clone) = (dir.busybox("base").build(), dir.name("clone"));
    dir.run(&ours, "lxc-copy", &base, &["-s", "-N", &clone, "-p", place.to_str().unwrap()]).ok();
    // As if it were not mounted: the directory that it is mounted on is empty, or not there.
    let away = dir.join(".disk/away");
    std::fs::rename(&place, &away).unwrap();
    let refused = destroy(&dir, &base).exits(1);
    assert!(refused.stderr.contains("has clones") && refused.stderr.contains(&clone), "{refused}");
    std::fs::create_dir(&place).unwrap();
    destroy(&dir, &base).exits(1);
    let refused = dir.run(&ours, "lxc-destroy", &base, &["-s"]).exits(1);
    assert!(refused.stderr.contains("may not be mounted"), "{refused}");
    assert!(is_whole(&dir, &base));
    std::fs::remove_dir(&place).unwrap();
    std::fs::rename(&away, &place).unwrap();
    ours.run("lxc-destroy", &["-P", place.to_str().unwrap(), "-n", &clone]).ok();
    destroy(&dir, &base).ok();
}

/// A container for one use has been made the base of another meanwhile.
#[test]
fn an_ephemeral_container_with_clones_stays() {
    needs!(root, ours);
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let base = dir.busybox("eph").quick().line("lxc.ephemeral = 1").build();
    let clone = dir.name("clone");
    dir.run(&ours, "lxc-copy", &base, &["-s", "-N", &clone]).ok();
    dir.start(&ours, &base);
    dir.kill(&ours, &base);
    eventually("its monitor is gone", || dir.monitor_pid(&base).is_none());
    assert!(is_whole(&dir, &base) && dir.join(&base).join("rootfs/bin/busybox").exists());
}

/// A source that is removed or replaced while it is copied gives no copy of half of it.
#[test]
fn a_source_that_goes_meanwhile() {
    needs!(root, ours);
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    for (what, error) in [
        (format!("rm -rf {}/$LXC_SRC_NAME", dir.arg()), "while it was copied"),
        (format!("cd {}; mv $LXC_SRC_NAME .old; cp -a .old $LXC_SRC_NAME", dir.arg()), "was replaced"),
        (format!(": >{}/$LXC_SRC_NAME/partial", dir.arg()), "not complete"),
    ] {
        let script = dir.host_script(".hook", &what);
        let source = dir.busybox("source").line(format!("lxc.hook.clone = {script}")).build();
        let copy = dir.name("copy");
        let refused = dir.run(&ours, "lxc-copy", &source, &["-N", &copy]).exits(1);
        assert!(refused.stderr.contains(error), "{refused}");
        assert!(!dir.join(&copy).exists(), "{what}");
    }
}

/// Directories of containers in the making have names of their own, which no container gets.
#[test]
fn names_of_containers_in_the_making() {
    needs!(root, ours);
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let source = dir.busybox("source").build();
    for name in [".x.new", ".x.restore"] {
        let refused = dir.run(&ours, "lxc-create", name, &["-t", "none"]).exits(1);
        assert!(refused.stderr.contains("in the making"), "{refused}");
        dir.run(&ours, "lxc-copy", &source, &["-N", name]).exits(1);
        dir.run(&ours, "lxc-copy", &source, &["-R", "-N", name]).exits(1);
        assert!(!dir.join(name).exists() && is_whole(&dir, &source));
    }
}

/// All that is named in a configuration, and lies in the container's directory, is where its new name says.
#[test]
fn paths_follow_a_new_name() {
    needs!(root, ours);
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let old = dir.name("old");
    let own = dir.join(&old);
    std::fs::create_dir_all(own.join("hooks")).unwrap();
    std::fs::create_dir_all(own.join("shared")).unwrap();
    std::fs::write(own.join("shared/file"), "shared\n").unwrap();
    std::fs::write(own.join("more.conf"), "lxc.environment = FROM=include\n").unwrap();
    std::fs::write(own.join("hooks/up"), "#!/bin/sh\necho \"$1\" >\"$1\"\n").unwrap();
    std::fs::set_permissions(own.join("hooks/up"), PermissionsExt::from_mode(0o755)).unwrap();
    lxc_testkit::container::busybox_rootfs(&own.join("rootfs"));
    let here = own.display();
    std::fs::write(
        own.join("config"),
        format!(
            "lxc.rootfs.path = dir:{here}/rootfs\nlxc.uts.name = {old}\nlxc.net.0.type = empty\n\
             lxc.apparmor.profile = unconfined\nlxc.init.cmd = /sbin/quick\nlxc.signal.halt = SIGUSR1\n\
             lxc.include = {here}/more.conf\nlxc.log.file = {here}/log\nlxc.log.level = INFO\n\
             lxc.hook.pre-start = {here}/hooks/up {here}/said\n\
             lxc.mount.entry = {here}/shared mnt none bind,create=dir 0 0\n"
        ),
    )
    .unwrap();
    let new = dir.name("new");
    dir.run(&ours, "lxc-copy", &old, &["-R", "-N", &new]).ok();
    let text = std::fs::read_to_string(dir.join(&new).join("config")).unwrap();
    assert!(!text.contains(&old), "{text}");
    let _ = std::fs::remove_file(dir.join(&new).join("log"));
    dir.start(&ours, &new);
    assert_eq!(dir.sh(&ours, &new, "cat /mnt/file; hostname"), format!("shared\n{new}\n"));
    dir.kill(&ours, &new);
    for file in ["said", "log"] {
        assert!(dir.join(&new).join(file).exists(), "{file}");
    }
    assert!(!own.exists());
    // Killed when the directory had its new name: what is included is not where the old configuration says.
    let last = dir.name("last");
    std::fs::write(dir.join(&new).join(".renamed"), text.replace(&new, &last)).unwrap();
    std::fs::rename(dir.join(&new), dir.join(&last)).unwrap();
    let config = std::fs::read_to_string(dir.join(&last).join("config")).unwrap();
    std::fs::write(dir.join(&last).join("config"), config).unwrap();
    assert!(dir.run(&ours, "lxc-info", &last, &["-c", "lxc.environment"]).ok().contains("FROM=include"));
    dir.start(&ours, &last);
    dir.kill(&ours, &last);
    assert!(!dir.join(&last).join(".renamed").exists());
}

/// Scripts of one name in two directories stay two.
#[test]
fn scripts_keep_their_directories() {
    needs!(root, ours);
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let source = dir.name("source");
    let own = dir.join(&source);
    for which in ["a", "b"] {
        std::fs::create_dir_all(own.join(which)).unwrap();
        std::fs::write(own.join(which).join("up"), format!("#!/bin/sh\necho {which}\n")).unwrap();
    }
    lxc_testkit::container::busybox_rootfs(&own.join("rootfs"));
    std::fs::write(own.join("more.conf"), "lxc.environment = FROM=include\n").unwrap();
    let here = own.display();
    std::fs::write(
        own.join("config"),
        format!(
            "lxc.rootfs.path = dir:{here}/rootfs\nlxc.net.0.type = empty\nlxc.hook.start-host = {here}/a/up\n\
             lxc.hook.stop = {here}/b/up\nlxc.include = {here}/more.conf\n"
        ),
    )
    .unwrap();
    let is_right = |name: &str| {
        let text = std::fs::read_to_string(dir.join(name).join("config")).unwrap();
        for which in ["a", "b"] {
            let script = dir.join(name).join(which).join("up");
            assert!(text.contains(&script.display().to_string()), "{text}");
            assert!(std::fs::read_to_string(script).unwrap().contains(&format!("echo {which}")));
        }
    };
    let copy = dir.name("copy");
    dir.run(&ours, "lxc-copy", &source, &["-N", &copy]).ok();
    is_right(&copy);
    let file = dir.join("file.tar");
    let path = file.to_str().unwrap();
    ours.run("lxc", &["export", "-P", dir.arg(), "-n", &source, "--compress", "none", path]).ok();
    std::fs::remove_dir_all(&own).unwrap();
    // An import that was killed leaves a container that is not complete, which does not stand in the way.
    let new = dir.name("new");
    std::fs::create_dir(dir.join(&new)).unwrap();
    for half in ["config", "partial"] {
        std::fs::write(dir.join(&new).join(half), "").unwrap();
    }
    ours.run("lxc", &["import", "-P", dir.arg(), "-n", &new, path]).ok();
    is_right(&new);
    assert!(dir.run(&ours, "lxc-info", &new, &["-c", "lxc.environment"]).ok().contains("FROM=include"));
}

/// A file system in a file, whose ids are shifted: only the host's root mounts it, and what is exported has the ids that
/// the container sees.
#[test]
fn an_image_with_shifted_ids_is_exported() {
    needs!(root, ours, userns, file_system "ext4");
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let name = dir.name("image");
    let map = dir.join(".map");
    std::fs::write(
        &map,
        "lxc.idmap = u 0 400000 65536\nlxc.idmap = g 0 400000 65536\nlxc.net.0.type = empty\n",
    )
    .unwrap();
    let words = ["-f", map.to_str().unwrap(), "-t", "busybox", "-B", "loop", "--fssize", "64M"];
    dir.run(&ours, "lxc-create", &name, &words).exits(0);
    let file = dir.join("file.tar");
    let path = file.to_str().unwrap();
    ours.run("lxc", &["export", "-P", dir.arg(), "-n", &name, "--compress", "none", path]).ok();
    let listed = std::process::Command::new("tar").args(["--numeric-owner", "-tvf", path]).output().unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let busybox = listed.lines().find(|line| line.ends_with("rootfs/bin/busybox")).unwrap_or_default();
    assert!(busybox.contains(" 0/0 "), "{listed}");
}

/// A default ACL of the directory of containers is not for the files of a copy.
#[test]
fn acls_of_the_place_are_not_inherited() {
    needs!(root, ours);
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let source = dir.busybox("source").build();
    let entry = |tag: u16, rights: u16, id: u32| {
        [&tag.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let none = u32::MAX;
    let all =
        [entry(1, 7, none), entry(2, 7, 1234), entry(4, 5, none), entry(16, 7, none), entry(32, 5, none)];
    let acl = [&2u32.to_le_bytes()[..], &all.concat()].concat();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(dir.path(), "system.posix_acl_default", &acl, flags).expect("an ACL");
    let copy = dir.name("copy");
    dir.run(&ours, "lxc-copy", &source, &["-N", &copy]).ok();
    let has_acl = |path: &Path| {
        let mut names = vec![0; 4096];
        let length = rustix::fs::listxattr(path, &mut names[..]).unwrap();
        String::from_utf8_lossy(&names[..length]).contains("posix_acl")
    };
    for path in ["rootfs", "rootfs/bin", "rootfs/bin/busybox", "rootfs/tmp"] {
        assert!(!has_acl(&dir.join(&copy).join(path)), "{path}");
    }
}

/// Whoever listens for states may come after the container.
#[test]
fn a_monitor_that_comes_later() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("first").quick().build();
        dir.start(&suite, &name);
        let mut watch = suite.spawn("lxc-monitor", &["-P", dir.arg(), "-n", &name]);
        eventually("it listens", || lxc_testkit::process::monitord_sockets(dir.path()) > 1);
        std::thread::sleep(std::time::Duration::from_millis(100));
        // Told of while the container is served: its end is told by a thread that is not confined.
        for (command, state) in [("lxc-freeze", "[FROZEN]"), ("lxc-unfreeze", "[THAWED]")] {
            suite.run(command, &["-P", dir.arg(), "-n", &name]).ok();
            eventually(state, || watch.stdout_so_far().contains(state));
        }
        dir.kill(&suite, &name);
        eventually("the end is shown", || watch.stdout_so_far().contains("[STOPPED]"));
    }
}

/// What is written down by a command in one directory is right for those in others.
#[test]
fn a_relative_directory_of_containers() {
    needs!(root, ours, program "busybox");
    let dir = Lxcpath::new();
    let here = |command: &str, words: &[&str]| {
        let mut ours = Suite::ours().command(command);
        ours.args(["-P", "."]).args(words).current_dir(dir.path());
        lxc_testkit::Running::spawn(ours).wait().exits(0)
    };
    here("lxc-create", &["-n", "base", "-f", "/dev/null", "-t", "busybox"]);
    here("lxc-copy", &["-n", "base", "-s", "-N", "clone"]);
    here("lxc-copy", &["-n", "clone", "-R", "-N", "renamed"]);
    here("lxc-snapshot", &["-n", "renamed"]);
    let text = std::fs::read_to_string(dir.join("renamed/config")).unwrap();
    assert!(text.contains(&format!(":{}/renamed/overlay/delta", dir.arg())), "{text}");
    let clones = std::fs::read_to_string(dir.join("base/lxc_snapshots")).unwrap();
    assert_eq!(clones, format!("{}\nrenamed\n", dir.arg()));
    destroy(&dir, "base").exits(1);
    here("lxc-snapshot", &["-n", "renamed", "-d", "snap0"]);
    destroy(&dir, "renamed").ok();
    here("lxc-destroy", &["-n", "base"]);
    assert_eq!(dir.listing(), [] as [&str; 0]);
}
