//! lxc-create.

use lxc_testkit::{Lxcpath, Output, Suite, needs};

/// A configuration file that needs no bridge.
fn plain_config(dir: &Lxcpath) -> String {
    let file = dir.join("plain.conf");
    std::fs::write(&file, "lxc.net.0.type = empty\n").unwrap();
    file.to_str().unwrap().to_string()
}

fn create(dir: &Lxcpath, suite: &Suite, name: &str, arguments: &[&str]) -> Output {
    let config = plain_config(dir);
    dir.run(suite, "lxc-create", name, &[&["-f", &config], arguments].concat())
}

#[test]
fn a_busybox_container_is_created_and_runs() {
    needs!(root, ours, program "busybox");
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.name("create");
        create(&dir, &suite, &name, &["-t", "busybox"]).exits(0);
        let listed = suite.run("lxc-ls", &["-P", dir.arg(), "-1", "--defined"]).ok();
        assert_eq!(listed, format!("{name}\n"), "{suite}");
        dir.start(&suite, &name);
        assert_eq!(dir.sh(&suite, &name, "hostname; id -u"), format!("{name}\n0\n"), "{suite}");
        dir.kill(&suite, &name);
        dir.run(&suite, "lxc-destroy", &name, &[]).exits(0);
        assert!(!dir.join(&name).exists(), "{suite}");
    }
}

/// What one suite creates the other runs.
#[test]
fn configurations_are_exchanged() {
    needs!(root, ours, peer, program "busybox");
    for (creator, runner) in [(Suite::ours(), Suite::peer()), (Suite::peer(), Suite::ours())] {
        let dir = Lxcpath::new();
        let name = dir.name("exchange");
        create(&dir, &creator, &name, &["-t", "busybox"]).exits(0);
        dir.start(&runner, &name);
        assert_eq!(dir.sh(&runner, &name, "hostname"), format!("{name}\n"));
        dir.kill(&runner, &name);
        dir.run(&runner, "lxc-destroy", &name, &[]).exits(0);
    }
}

/// The host's own programs, with changes that stay in the container.
#[test]
fn a_host_container_is_an_overlay() {
    needs!(root, ours, userns);
    let suite = Suite::ours();
    let dir = Lxcpath::new();
    let name = dir.name("host");
    create(&dir, &suite, &name, &["-t", "host"]).exits(0);
    dir.start(&suite, &name);
    let marker = format!("/usr/marker-{name}");
    let text = dir.sh(&suite, &name, &format!("id -u; hostname; echo x >{marker}; cat {marker}"));
    assert_eq!(text, format!("0\n{name}\nx\n"));
    assert!(!std::path::Path::new(&marker).exists());
    let uid = lxc_testkit::process::status(dir.init_pid(&suite, &name), "Uid");
    assert_ne!(uid.split_whitespace().next(), Some("0"), "its root is not the host's");
    dir.kill(&suite, &name);
    dir.start(&suite, &name);
    assert_eq!(dir.sh(&suite, &name, &format!("cat {marker}")), "x\n", "changes are kept");
    dir.kill(&suite, &name);
    dir.run(&suite, "lxc-destroy", &name, &[]).ok();
    assert!(!dir.join(&name).exists());
}

#[test]
fn a_template_program_gets_its_arguments() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let name = dir.name("template");
        let shown = dir.join("shown");
        let script = format!("for a; do echo \"$a\"; done >{}", shown.display());
        let template = dir.host_script("template.sh", &script);
        create(&dir, suite, &name, &["-t", &template, "--", "--release", "x y"]).exits(0);
        assert!(dir.join(&name).join("rootfs").is_dir(), "{suite}");
        let mut lines: Vec<String> =
            std::fs::read_to_string(&shown).unwrap().lines().map(|l| dir.normal(l, &name)).collect();
        lines.sort();
        lines
    });
}

#[test]
fn a_template_that_fails_leaves_nothing() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.name("fail");
        let template = dir.host_script("template.sh", "echo the reason >&2; exit 3");
        let output = create(&dir, &suite, &name, &["-t", &template]).exits(1);
        assert!(output.stderr.contains("the reason"), "{suite}: {output}");
        assert!(output.messages().last().unwrap().ends_with(&format!("Failed to create container {name}")));
        assert!(!dir.join(&name).exists(), "{suite}");
    }
}

#[test]
fn without_a_template_there_is_no_root_file_system() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.name("none");
        create(&dir, &suite, &name, &["-t", "none"]).exits(0);
        assert!(dir.join(&name).join("config").is_file(), "{suite}");
        assert_eq!(dir.state(&suite, &name), "STOPPED");
    }
}

#[test]
fn the_root_file_system_may_be_elsewhere() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.name("dir");
        let elsewhere = dir.join("elsewhere");
        let options = ["-t", "busybox", "-B", "dir", "--dir", elsewhere.to_str().unwrap()];
        create(&dir, &suite, &name, &options).exits(0);
        assert!(elsewhere.join("bin").is_dir(), "{suite}");
        dir.start(&suite, &name);
        create(&dir, &suite, &dir.name("rel"), &["-t", "none", "--dir", "relative"]).exits(1);
    }
}

#[test]
fn mistakes_are_explained_alike() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let name = dir.busybox("exists").build();
        let before = dir.listing();
        let other = dir.name("new");
        let results = [(&name, &["-t", "none"][..]), (&other, &[]), (&other, &["-t", "none", "-B", "bogus"])]
            .map(|(container, options)| {
                let output = dir.run(suite, "lxc-create", container, options);
                (output.code, output.messages().iter().map(|m| dir.normal(m, container)).collect::<Vec<_>>())
            });
        assert_eq!(dir.listing(), before, "{suite}");
        results
    });
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let output = dir.run(&suite, "lxc-create", "x", &["-t", "nonexistent"]).exits(1);
        assert!(output.stderr.contains("Template \"nonexistent\" not found"), "{suite}: {output}");
    }
}

/// The peer creates a container without any configuration.
#[test]
fn a_configuration_that_cannot_be_read_is_an_error() {
    needs!(root, ours);
    let dir = Lxcpath::new();
    dir.run(&Suite::ours(), "lxc-create", "x", &["-t", "none", "-f", "/nonexistent/file"]).fails(1);
    assert!(dir.listing().is_empty());
}

#[test]
fn the_lxcpath_is_made() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let deep = dir.join("a/b/c");
        let config = plain_config(&dir);
        let all = ["-P", deep.to_str().unwrap(), "-n", "x", "-t", "none", "-f", &config];
        suite.run("lxc-create", &all).exits(0);
        assert!(deep.join("x/config").is_file(), "{suite}");
    }
}
