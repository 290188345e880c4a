//! lxc export.

use lxc_testkit::filesystem::{assert_same, every_kind, fingerprint};
use lxc_testkit::{Lxcpath, Suite, needs};

/// What is exported comes back as it was, whatever it is compressed by.
#[test]
fn there_and_back() {
    needs!(root, ours, program "python3");
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let name = dir.name("export");
    let root = dir.join(&name).join("rootfs");
    every_kind(&root);
    // An archive has no sockets, and a block device is only made where somebody asks for it.
    std::fs::remove_file(root.join("plain/socket")).unwrap();
    std::fs::remove_file(root.join("plain/whiteout")).unwrap();
    let hook = dir.join(&name).join("hook");
    std::fs::write(&hook, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::write(
        dir.join(&name).join("config"),
        format!(
            "# mine\nlxc.rootfs.path = dir:{}\nlxc.uts.name = {name}\nlxc.hook.stop = {} x\nlxc.net.0.type = empty\n\
             lxc.net.0.hwaddr = 00:16:3e:00:00:01\n",
            root.display(),
            hook.display()
        ),
    )
    .unwrap();
    // The time of the directory that lost two files.
    let before = fingerprint(&root);
    for how in ["zstd", "gzip", "xz", "none"] {
        let file = dir.join(&format!("file.{how}"));
        let path = file.to_str().unwrap();
        ours.run("lxc", &["export", "-P", dir.arg(), "-n", &name, "--compress", how, path]).ok();
        let new = dir.name("import");
        let refused = ours.run("lxc", &["import", "-P", dir.arg(), "-n", &new, path]).exits(1);
        assert!(refused.stderr.contains("a disk of the host"), "{refused}");
        assert!(!dir.join(&new).exists());
        ours.run("lxc", &["import", "-P", dir.arg(), "-n", &new, "--devices", path]).ok();
        assert_same(&before, &dir.join(&new).join("rootfs"));
        let text = std::fs::read_to_string(dir.join(&new).join("config")).unwrap();
        assert!(
            text.starts_with("# mine\n") && text.contains(&format!("{}/hook x", dir.join(&new).display())),
            "{text}"
        );
        assert!(text.contains("hwaddr = 10:66:6a:") && dir.join(&new).join("hook").exists(), "{text}");
    }
    let file = dir.join("file.zstd");
    let refused = ours.run("lxc", &["export", "-P", dir.arg(), "-n", &name, file.to_str().unwrap()]).exits(1);
    assert!(refused.stderr.contains("exists"), "{refused}");
    ours.run("lxc", &["export", "-P", dir.arg(), "-n", "nothing", "-"]).exits(1);
}

/// From one id map to another.
#[test]
fn owners_are_shifted() {
    needs!(root, ours, userns);
    use std::os::unix::fs::MetadataExt;
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let name = dir.busybox("shift").quick().build();
    let file = dir.join("file.tar");
    let path = file.to_str().unwrap();
    ours.run("lxc", &["export", "-P", dir.arg(), "-n", &name, "--compress", "none", path]).ok();
    // The configuration of the archive decides: give it another map.
    let work = dir.join("work");
    let script = format!(
        "mkdir {0} && tar -C {0} -xpf {1} && echo 'lxc.idmap = u 0 400000 65536' >>{0}/config && \
         echo 'lxc.idmap = g 0 400000 65536' >>{0}/config && tar -C {0} -cf {1} origin config rootfs",
        work.display(),
        path
    );
    assert!(std::process::Command::new("sh").args(["-c", &script]).status().unwrap().success());
    let new = dir.name("shifted");
    ours.run("lxc", &["import", "-P", dir.arg(), "-n", &new, path]).ok();
    let owner = std::fs::metadata(dir.join(&new).join("rootfs/bin/busybox")).unwrap();
    assert_eq!((owner.uid(), owner.gid()), (400_000, 400_000));
    dir.start(&ours, &new);
    assert_eq!(dir.sh(&ours, &new, "hostname; id -u; stat -c %u /bin/busybox"), format!("{new}\n0\n0\n"));
    dir.kill(&ours, &new);
    // And back again to what everybody sees.
    ours.run("lxc", &["export", "-f", "-P", dir.arg(), "-n", &new, "--compress", "none", path]).ok();
    let listed = std::process::Command::new("tar")
        .args(["--numeric-owner", "-tvf", path, "rootfs/bin/busybox"])
        .output();
    let listed = String::from_utf8_lossy(&listed.unwrap().stdout).into_owned();
    assert!(listed.contains(" 0/0 "), "{listed}");
}
