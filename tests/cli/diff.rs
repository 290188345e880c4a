//! lxc diff.

use lxc_testkit::{Lxcpath, Suite, needs};

#[test]
fn since_a_snapshot_and_over_layers() {
    needs!(root, ours);
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let name = dir.busybox("diff").build();
    let layers = dir.name("layers");
    let diff =
        |name: &str, more: &[&str]| ours.run("lxc", &[&["diff", "-P", dir.arg(), "-n", name], more].concat());
    assert!(diff(&name, &[]).exits(1).stderr.contains("no snapshot"));
    dir.run(&ours, "lxc-copy", &name, &["-s", "-K", "-N", &layers]).ok();
    dir.run(&ours, "lxc-snapshot", &name, &[]).ok();
    assert_eq!(diff(&name, &[]).ok(), "");
    assert_eq!(diff(&layers, &[]).ok(), "");
    let change = |root: &std::path::Path| {
        std::fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
        std::fs::create_dir_all(root.join("srv/new")).unwrap();
        std::fs::write(root.join("srv/new/file"), "x").unwrap();
    };
    let root = dir.join(&name).join("rootfs");
    change(&root);
    std::fs::remove_file(root.join("etc/group")).unwrap();
    let expected = "D /etc/group\nM /etc/passwd\nA /srv\n";
    assert_eq!(diff(&name, &[]).ok(), expected);
    assert_eq!(diff(&name, &["snap0"]).ok(), expected);
    let json = diff(&name, &["snap0", "--json"]).ok();
    assert!(json.contains("{\"change\":\"removed\",\"path\":\"/etc/group\"}"), "{json}");
    // Over layers, from inside.
    dir.run(&ours, "lxc-snapshot", &name, &["-d", "ALL"]).ok();
    dir.run(&ours, "lxc-start", &layers, &["-d", "-s", "lxc.init.cmd=/sbin/quick"]).ok();
    dir.sh(&ours, &layers, "rm /bin/true; echo x >/etc/new; chmod 700 /mnt");
    dir.kill(&ours, &layers);
    assert_eq!(diff(&layers, &[]).ok(), "D /bin/true\nA /etc/new\nM /mnt\n");
    diff(&layers, &["nothing"]).exits(1);
}
