//! lxc-start.

use lxc_testkit::{Lxcpath, Suite, needs};

#[test]
fn a_life() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("life").build();
        assert_eq!(dir.state(&suite, &name), "STOPPED");
        dir.start(&suite, &name);
        assert_eq!(dir.state(&suite, &name), "RUNNING");
        assert_eq!(dir.sh(&suite, &name, "hostname; id -u"), format!("{name}\n0\n"));
        dir.kill(&suite, &name);
        assert_eq!(dir.state(&suite, &name), "STOPPED");
        dir.gone(&name);
    }
}
