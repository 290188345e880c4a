//! lxc-destroy.

use lxc_testkit::{Lxcpath, Suite, eventually, needs};

#[test]
fn a_stopped_container_is_removed() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("gone").build();
        dir.run(&suite, "lxc-destroy", &name, &[]).ok();
        assert!(!dir.join(&name).exists(), "{suite}");
    }
}

#[test]
fn a_running_container_is_removed_only_by_force() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let name = dir.busybox("run").quick().build();
        dir.start(suite, &name);
        let refused = dir.run(suite, "lxc-destroy", &name, &[]);
        assert_eq!(dir.state(suite, &name), "RUNNING");
        dir.run(suite, "lxc-destroy", &name, &["-f"]).ok();
        assert!(!dir.join(&name).exists(), "{suite}");
        dir.gone(suite, &name);
        let undefined = dir.run(suite, "lxc-destroy", &name, &[]);
        [refused, undefined]
            .map(|o| (o.code, o.messages().iter().map(|m| dir.normal(m, &name)).collect::<Vec<_>>()))
    });
}

#[test]
fn what_lies_behind_links_and_mounts_stays() {
    needs!(root, ours);
    let suite = Suite::ours();
    let dir = Lxcpath::new();
    let name = dir.busybox("links").build();
    let outside = dir.join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("precious"), "x").unwrap();
    let root = dir.join(&name).join("rootfs");
    std::os::unix::fs::symlink(&outside, root.join("link")).unwrap();
    std::fs::create_dir(root.join("bind")).unwrap();
    rustix::mount::mount_bind(&outside, root.join("bind")).expect("bind mount");
    let output = dir.run(&suite, "lxc-destroy", &name, &[]);
    assert!(outside.join("precious").exists(), "{output}");
    let _ = rustix::mount::unmount(root.join("bind"), rustix::mount::UnmountFlags::DETACH);
}

#[test]
fn containers_with_snapshots_or_clones_stay() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let clones = dir.busybox("clones").build();
        std::fs::write(dir.join(&clones).join("lxc_snapshots"), "1").unwrap();
        let snapshots = dir.busybox("snaps").build();
        std::fs::create_dir_all(dir.join(&snapshots).join("snaps/snap0")).unwrap();
        [&clones, &snapshots].map(|name| {
            let output = dir.run(suite, "lxc-destroy", name, &[]);
            assert!(dir.join(name).join("config").exists(), "{suite}");
            let messages = output.messages();
            // Of ours with what to do.
            let said = messages.iter().filter(|m| !m.contains("hint: "));
            (output.code, said.map(|m| dir.normal(m, name)).collect::<Vec<_>>())
        })
    });
}

#[test]
fn a_running_ephemeral_container_is_removed_by_force() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("eph").quick().line("lxc.ephemeral = 1").build();
        dir.start(&suite, &name);
        dir.run(&suite, "lxc-destroy", &name, &["-f"]).exits(0);
        eventually("it has gone", || !dir.join(&name).exists());
    }
}

/// What a creation that was killed leaves can be removed, and does not stand in the way of another.
#[test]
fn an_incomplete_container_is_removed() {
    needs!(root, ours);
    let suite = Suite::ours();
    let dir = Lxcpath::new();
    let name = dir.busybox("partial").build();
    std::fs::write(dir.join(&name).join("partial"), "").unwrap();
    dir.run(&suite, "lxc-start", &name, &[]).fails(1);
    dir.run(&suite, "lxc-destroy", &name, &[]).ok();
    assert!(!dir.join(&name).exists());
}
