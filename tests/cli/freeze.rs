//! lxc-freeze and lxc-unfreeze.

use std::time::Duration;

use lxc_testkit::{Lxcpath, Suite, needs, within};

#[test]
fn nothing_runs_in_a_frozen_container() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("freeze").init("/sbin/count").build();
        dir.script(&name, "sbin/count", "while :; do echo >>/count; usleep 10000; done");
        dir.start(&suite, &name);
        let count = || dir.file(&name, "count").len();
        let grows = || {
            let before = count();
            within(Duration::from_millis(300), || count() > before)
        };
        assert!(grows(), "{suite}");
        dir.run(&suite, "lxc-freeze", &name, &[]).ok();
        assert_eq!(dir.state(&suite, &name), "FROZEN", "{suite}");
        assert!(!grows(), "{suite}");
        dir.run(&suite, "lxc-freeze", &name, &[]).exits(0);
        dir.run(&suite, "lxc-unfreeze", &name, &[]).ok();
        assert_eq!(dir.state(&suite, &name), "RUNNING", "{suite}");
        assert!(grows(), "{suite}");
        dir.run(&suite, "lxc-unfreeze", &name, &[]).exits(0);
    }
}

#[test]
fn attaching_to_a_frozen_container_waits() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("ice").quick().build();
        dir.start(&suite, &name);
        dir.run(&suite, "lxc-freeze", &name, &[]).ok();
        let mut attached = dir.spawn(&suite, "lxc-attach", &name, &["--", "echo", "thawed"]);
        std::thread::sleep(Duration::from_millis(300));
        assert!(!attached.ended(), "{suite}");
        dir.run(&suite, "lxc-unfreeze", &name, &[]).ok();
        assert_eq!(attached.wait().ok(), "thawed\n", "{suite}");
    }
}

#[test]
fn what_does_not_run_cannot_be_frozen() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("idle").build();
        let output = dir.run(&suite, "lxc-freeze", &name, &[]).exits(1);
        let last = format!("lxc-freeze: {name}: Failed to freeze {}:{name}", dir.arg());
        assert_eq!(output.messages().last(), Some(&last), "{suite}");
        dir.run(&suite, "lxc-freeze", "undefined", &[]).exits(1);
        dir.run(&suite, "lxc-unfreeze", "undefined", &[]).exits(1);
    }
}
