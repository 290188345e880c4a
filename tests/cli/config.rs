//! lxc-config.

use lxc_testkit::{Suite, needs};

#[test]
fn items_are_listed_and_printed_alike() {
    needs!(ours, peer);
    Suite::compare(|suite| {
        let all: [&[&str]; 10] = [
            &["-l"],
            &["lxc.lxcpath"],
            &["lxc.default_config"],
            &["lxc.bdev.lvm.vg"],
            &["lxc.bdev.zfs.root"],
            &["lxc.cgroup.use"],
            &["lxc.l"],
            &["lxc"],
            &["lxc.bogus"],
            &["--version"],
        ];
        all.map(|arguments| {
            let output = suite.run("lxc-config", arguments);
            (arguments, output.code, output.stdout, output.stderr)
        })
    });
}

#[test]
fn the_usage_is_printed() {
    needs!(ours);
    for suite in Suite::all() {
        for arguments in [&[][..], &["-h"], &["--help"]] {
            let output = suite.run("lxc-config", arguments).exits(0);
            assert!(output.stdout.starts_with("Usage: "), "{suite}: {output}");
        }
    }
}
