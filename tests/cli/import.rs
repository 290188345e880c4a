//! lxc import; what comes back is in export.rs.

use lxc_testkit::{Lxcpath, Suite, needs};

#[test]
fn what_is_no_container() {
    needs!(root, ours, program "tar");
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let name = dir.busybox("whole").quick().build();
    let file = dir.join("file.tar.zst");
    let path = file.to_str().unwrap();
    ours.run("lxc", &["export", "-P", dir.arg(), "-n", &name, path]).ok();
    // Under the name that it has it is there already.
    let refused = ours.run("lxc", &["import", "-P", dir.arg(), path]).exits(1);
    assert!(refused.stderr.contains("exists"), "{refused}");
    ours.run("lxc-destroy", &["-P", dir.arg(), "-n", &name]).ok();
    assert_eq!(ours.run("lxc", &["import", "-P", dir.arg(), path]).ok(), format!("{name}\n"));
    dir.start(&ours, &name);
    dir.kill(&ours, &name);
    let image = ["import", "-P", dir.arg(), "-n", "image", "-B", "loop", "--fssize", "32M", path];
    ours.run("lxc", &image).ok();
    assert!(dir.join("image/rootdev").exists());
    ours.run("lxc-destroy", &["-P", dir.arg(), "-n", "image"]).ok();
    // Half of it, another archive, and nothing.
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(dir.join("half"), &bytes[..bytes.len() / 2]).unwrap();
    let other = dir.join("other.tar");
    let made = std::process::Command::new("tar")
        .args(["-C", dir.arg(), "-cf", other.to_str().unwrap(), "half"])
        .status();
    assert!(made.unwrap().success());
    std::fs::write(dir.join("empty"), "").unwrap();
    for bad in ["half", "other.tar", "empty"] {
        let path = dir.join(bad);
        ours.run("lxc", &["import", "-P", dir.arg(), "-n", "bad", path.to_str().unwrap()]).exits(1);
        assert!(!dir.join("bad").exists(), "{bad}");
    }
}
