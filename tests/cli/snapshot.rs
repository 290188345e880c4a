//! lxc-snapshot.

use lxc_testkit::filesystem::{assert_same, fingerprint};
use lxc_testkit::{Lxcpath, Suite, needs};

#[test]
fn a_history() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let name = dir.busybox("history").build();
        let comment = dir.join("text");
        std::fs::write(&comment, "my comment\n").unwrap();
        let run = |arguments: &[&str]| {
            let output = dir.run(suite, "lxc-snapshot", &name, arguments);
            let text = dir.normal(&output.stdout, &name);
            // When it was is not compared.
            let mut lines: Vec<String> =
                text.lines().map(|l| l.split(") ").next().unwrap_or(l).to_string()).collect();
            if let Some(at) = lines.iter().position(|line| line == "my comment") {
                assert!(lines[at - 1].starts_with("snap1 "), "{suite}: {lines:?}");
            }
            // The peer lists them as they stand in the directory, which is another order on another disk.
            lines.sort();
            (output.code, lines)
        };
        let mut seen = vec![run(&["-L"]), run(&[]), run(&["-c", comment.to_str().unwrap()]), run(&["-L"])];
        seen.push(run(&["-L", "-C"]));
        seen.push(run(&["-d", "snap0"]));
        seen.push(run(&["-d", "snap0"]));
        // The gap is filled.
        seen.push(run(&[]));
        seen.push(run(&["-L"]));
        seen.push(run(&["-r", "snap7"]));
        dir.run(suite, "lxc-destroy", &name, &[]).exits(1);
        seen.push(run(&["-d", "ALL"]));
        seen.push((dir.run(suite, "lxc-destroy", &name, &[]).code, Vec::new()));
        seen
    });
}

#[test]
fn what_it_was() {
    needs!(root, ours);
    let (dir, suite) = (Lxcpath::new(), Suite::ours());
    let name = dir.busybox("past").quick().build();
    let root = dir.join(&name).join("rootfs");
    let before = fingerprint(&root);
    dir.run(&suite, "lxc-snapshot", &name, &[]).exits(0);
    assert_same(&before, &root);
    std::fs::write(root.join("etc/new"), "x").unwrap();
    std::fs::remove_file(root.join("bin/true")).unwrap();
    dir.run(&suite, "lxc-snapshot", &name, &["-r", "snap0"]).exits(0);
    assert_same(&before, &root);
    assert!(dir.join(&name).join("snaps/snap0/config").exists(), "{suite}: it keeps its snapshots");
    let other = dir.name("other");
    dir.run(&suite, "lxc-snapshot", &name, &["-r", "snap0", "-N", &other]).exits(0);
    dir.start(&suite, &other);
    assert_eq!(dir.sh(&suite, &other, "hostname"), format!("{other}\n"), "{suite}");
    dir.kill(&suite, &other);
}

/// One suite takes, the other lists, restores and destroys.
#[test]
fn snapshots_are_exchanged() {
    needs!(root, ours, peer);
    for (taker, keeper) in [(Suite::ours(), Suite::peer()), (Suite::peer(), Suite::ours())] {
        let dir = Lxcpath::new();
        let base = dir.busybox("base").build();
        let name = dir.name("layers");
        dir.run(&taker, "lxc-copy", &base, &["-s", "-N", &name]).exits(0);
        let delta = dir.join(&name).join("overlay/delta");
        std::fs::write(delta.join("marker"), "one").unwrap();
        dir.run(&taker, "lxc-snapshot", &name, &[]).exits(0);
        std::fs::write(delta.join("marker"), "two").unwrap();
        let listed = dir.run(&keeper, "lxc-snapshot", &name, &["-L"]).ok();
        assert!(listed.starts_with("snap0 ("), "{listed}");
        dir.run(&keeper, "lxc-snapshot", &name, &["-r", "snap0"]).exits(0);
        assert_eq!(std::fs::read_to_string(delta.join("marker")).unwrap(), "one", "{keeper}");
        dir.run(&keeper, "lxc-snapshot", &name, &["-d", "snap0"]).exits(0);
        dir.run(&keeper, "lxc-destroy", &name, &[]).exits(0);
        dir.run(&keeper, "lxc-destroy", &base, &[]).exits(0);
    }
}

/// After a restore to another name both can be destroyed, in any order.
#[test]
fn what_builds_on_what() {
    needs!(root, ours);
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let base = dir.busybox("base").build();
    let (name, other) = (dir.name("layers"), dir.name("restored"));
    dir.run(&ours, "lxc-copy", &base, &["-s", "-N", &name]).ok();
    dir.run(&ours, "lxc-snapshot", &name, &[]).ok();
    dir.run(&ours, "lxc-snapshot", &name, &["-r", "snap0", &other]).ok();
    let record = std::fs::read_to_string(dir.join(&base).join("lxc_snapshots")).unwrap();
    assert_eq!(record, format!("{0}\n{name}\n{0}\n{other}\n", dir.arg()));
    dir.run(&ours, "lxc-destroy", &name, &["-s"]).ok();
    dir.run(&ours, "lxc-destroy", &base, &[]).exits(1);
    dir.run(&ours, "lxc-destroy", &other, &[]).ok();
    dir.run(&ours, "lxc-destroy", &base, &[]).ok();
    // With its clones at once.
    let base = dir.busybox("base").build();
    dir.run(&ours, "lxc-copy", &base, &["-s", "-N", &name]).ok();
    dir.run(&ours, "lxc-destroy", &base, &["-s"]).ok();
    assert_eq!(dir.listing(), [] as [&str; 0]);
}

#[test]
fn as_json() {
    needs!(root, ours);
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let name = dir.busybox("json").build();
    let comment = dir.join("text");
    std::fs::write(&comment, "a \"comment\"").unwrap();
    dir.run(&ours, "lxc-snapshot", &name, &["-c", comment.to_str().unwrap()]).ok();
    let text = dir.run(&ours, "lxc-snapshot", &name, &["-L", "--format", "json"]).ok();
    for part in ["\"name\": \"snap0\"", "\"comment\": \"a \\\"comment\\\"\"", "\"size\": ", "\"time\": \"20"]
    {
        assert!(text.contains(part), "{text}");
    }
    dir.run(&ours, "lxc-snapshot", &name, &["-L", "--format", "xml"]).exits(1);
    let refused = dir.run(&ours, "lxc-snapshot", &name, &["a", "b"]).exits(1);
    assert!(refused.stderr.contains("Too many arguments"), "{refused}");
}
