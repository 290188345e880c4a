//! lxc-config.

use std::path::Path;

use lxc_testkit::{Lxcpath, Suite, needs};

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

/// A container's file of which several lines are wrong, and what it includes.
fn wrong(dir: &Lxcpath) -> String {
    let name = dir.name("wrong");
    std::fs::create_dir(dir.join(&name)).unwrap();
    std::fs::write(dir.join("part"), "lxc.cgroup.pids.max = 9\nlxc.net.0.tpye = veth\n").unwrap();
    let text = format!(
        "# mine\nlxc.include = {0}/part\nlxc.start.auto = yes\nlxc.uts.name = a\nlxc.utsname = b\nlxc.tty.max 4\n\
         lxc.include = {0}/missing\n",
        dir.arg()
    );
    std::fs::write(dir.join(&name).join("config"), text).unwrap();
    name
}

#[test]
fn all_that_is_wrong_is_found_at_once() {
    needs!(ours);
    let (suite, dir) = (Suite::ours(), Lxcpath::new());
    let name = wrong(&dir);
    let output = suite.run("lxc-config", &["check", "-P", dir.arg(), "-n", &name]).exits(1);
    for part in [
        "unknown key 'lxc.net.0.tpye', did you mean 'lxc.net.0.type'?",
        &format!("{}/part:2:1", dir.arg()),
        "expected: 0 or 1",
        "config:3:18",
        "'lxc.utsname' is now called 'lxc.uts.name'",
        "missing '=' after the key",
        "cannot include",
        "line 5 assigns it again",
    ] {
        assert!(output.stderr.contains(part), "{part} is not in\n{output}");
    }
    assert!(output.stdout.ends_with("4 errors, 2 warnings\n"), "{output}");
    let json = suite.run("lxc", &["config", "check", "--format", "json", "-P", dir.arg(), "-n", &name]);
    let text = json.exits(1).stdout;
    assert!(text.contains("\"valid\": false") && text.contains("\"line\": 3"), "{text}");
}

#[test]
fn a_file_is_checked_without_its_container() {
    needs!(ours);
    let (suite, dir) = (Suite::ours(), Lxcpath::new());
    let file = dir.join("file");
    let check = |text: &str, more: &[&str]| {
        std::fs::write(&file, text).unwrap();
        suite.run("lxc-config", &[&["check", file.to_str().unwrap()], more].concat())
    };
    check("lxc.uts.name = a\n", &["--strict"]).exits(0);
    let root = check("lxc.rootfs.path = dir:/nonexistent\n", &[]).exits(1);
    assert!(root.stderr.contains("file:1: lxc.rootfs.path = dir:/nonexistent"), "{root}");
    let advice = "lxc.namespace.keep = net\nlxc.sysctl.net.ipv4.ip_forward = 1\n";
    let output = check(advice, &[]).exits(0);
    assert!(output.stderr.contains("changes the host"), "{output}");
    check(advice, &["--strict"]).exits(1);
    suite.run("lxc-config", &["check", "/nonexistent"]).exits(1);
}

#[test]
fn values_are_got_set_and_unset() {
    needs!(ours);
    let (suite, dir) = (Suite::ours(), Lxcpath::new());
    let name = dir.name("set");
    std::fs::create_dir(dir.join(&name)).unwrap();
    let file = dir.join(&name).join("config");
    let before = "# one\n\nlxc.uts.name = a   \nlxc.tty.max=2\n# two\nlxc.environment = A=1\r\n";
    std::fs::write(&file, before).unwrap();
    let read = || std::fs::read_to_string(&file).unwrap();
    let run = |words: &[&str]| suite.run("lxc-config", &[words, &["-P", dir.arg(), "-n", &name]].concat());
    assert_eq!(run(&["show"]).ok(), before);
    assert_eq!(run(&["get", "lxc.uts.name"]).ok(), "a\n");
    assert_eq!(run(&["get", "lxc.hook.start"]).ok(), "");
    run(&["set", "lxc.uts.name", "b"]).ok();
    run(&["set", "lxc.environment", "B=2"]).ok();
    run(&["unset", "lxc.tty.max"]).ok();
    let after = "# one\n\nlxc.uts.name = b\n# two\nlxc.environment = A=1\r\nlxc.environment = B=2\n";
    assert_eq!(read(), after);
    assert_eq!(
        run(&["show", "--resolved"]).ok(),
        "lxc.environment = A=1\nlxc.environment = B=2\nlxc.uts.name = b\n"
    );
    for words in [
        &["set", "lxc.uts.nmae", "x"][..],
        &["set", "lxc.tty.max", "many"],
        &["set", "lxc.uts.name", "x\nlxc.hook.start = /evil"],
        &["get", "lxc.bogus"],
        &["unset", "lxc.bogus"],
        &["set", "lxc.uts.name"],
        &["get"],
    ] {
        run(words).exits(1);
        assert_eq!(read(), after, "{words:?}");
    }
    suite.run("lxc-config", &["get", "lxc.uts.name", "-P", dir.arg(), "-n", "undefined"]).exits(1);
}

#[test]
fn many_at_once_lose_nothing() {
    needs!(ours);
    let (suite, dir) = (Suite::ours(), Lxcpath::new());
    let name = dir.name("many");
    std::fs::create_dir(dir.join(&name)).unwrap();
    std::fs::write(dir.join(&name).join("config"), "# kept\n").unwrap();
    let set = |n: usize| {
        let value = format!("N{n}={n}");
        suite.spawn("lxc-config", &["set", "lxc.environment", &value, "-P", dir.arg(), "-n", &name])
    };
    let all: Vec<_> = (0..20).map(set).collect();
    all.into_iter().for_each(|one| drop(one.wait().ok()));
    let text = std::fs::read_to_string(dir.join(&name).join("config")).unwrap();
    assert_eq!(text.lines().count(), 21, "{text}");
}

/// Killed at any instant, a change is made as a whole or not at all, and leaves nothing that stays.
#[test]
fn a_change_that_is_killed_is_whole_or_not_at_all() {
    needs!(ours);
    let (suite, dir) = (Suite::ours(), Lxcpath::new());
    let name = dir.name("killed");
    std::fs::create_dir(dir.join(&name)).unwrap();
    let file = dir.join(&name).join("config");
    let long = "# a comment that makes the file longer than a page\n".repeat(200);
    std::fs::write(&file, format!("{long}lxc.uts.name = n0\n")).unwrap();
    let value = |n: u32| format!("n{n}");
    for n in 1..=60 {
        let before = std::fs::read_to_string(&file).unwrap();
        let set =
            suite.spawn("lxc-config", &["set", "lxc.uts.name", &value(n), "-P", dir.arg(), "-n", &name]);
        std::thread::sleep(std::time::Duration::from_micros(u64::from(n) * 60));
        set.signal(rustix::process::Signal::KILL);
        drop(set);
        let after = std::fs::read_to_string(&file).unwrap();
        let new = format!("{long}lxc.uts.name = {}\n", value(n));
        assert!(after == before || after == new, "{}", &after[after.len().saturating_sub(200)..]);
    }
    suite.run("lxc-config", &["set", "lxc.uts.name", "last", "-P", dir.arg(), "-n", &name]).ok();
    assert_eq!(std::fs::read_dir(dir.join(&name)).unwrap().count(), 1);
}

#[test]
fn an_editor_changes_what_can_be_read() {
    needs!(ours);
    let (suite, dir) = (Suite::ours(), Lxcpath::new());
    let name = dir.name("edit");
    std::fs::create_dir(dir.join(&name)).unwrap();
    let file = dir.join(&name).join("config");
    std::fs::write(&file, "lxc.uts.name = a\n").unwrap();
    let edit = |editor: &str| {
        let mut command = suite.command("lxc-config");
        command.args(["edit", "-P", dir.arg(), "-n", &name]).env("VISUAL", editor);
        lxc_testkit::Running::spawn(command).wait()
    };
    edit("sed -i s/=.a/=.b/;sed -i s/=.*/=zzz/").exits(0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "lxc.uts.name =zzz\n");
    assert!(edit("true").exits(0).stdout.contains("not changed"));
    let refused = edit("sed -i s/uts/utz/").exits(1);
    assert!(refused.stderr.contains("did you mean 'lxc.uts.name'?"), "{refused}");
    edit("false").exits(1);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "lxc.uts.name =zzz\n");
    assert_eq!(std::fs::read_dir(dir.join(&name)).unwrap().count(), 1);
}

#[test]
fn a_running_container_is_asked() {
    needs!(root, ours);
    for starter in Suite::all() {
        let (suite, dir) = (Suite::ours(), Lxcpath::new());
        let name = dir.busybox("running").quick().build();
        dir.start(&starter, &name);
        let run =
            |words: &[&str]| suite.run("lxc-config", &[words, &["-P", dir.arg(), "-n", &name]].concat());
        run(&["set", "lxc.uts.name", "later"]).ok();
        assert_eq!(run(&["get", "lxc.uts.name"]).ok(), "later\n");
        assert_eq!(run(&["get", "--running", "lxc.uts.name"]).ok(), format!("{name}\n"));
        dir.kill(&suite, &name);
        run(&["get", "--running", "lxc.uts.name"]).exits(1);
    }
}

/// What the plan of a start is, is what check and show say.
#[test]
fn a_dry_run_starts_nothing() {
    needs!(root, ours);
    let (suite, dir) = (Suite::ours(), Lxcpath::new());
    let name = dir.busybox("dry").quick().build();
    let text = dir.run(&suite, "lxc-start", &name, &["--dry-run"]).ok();
    assert!(
        text.contains("new namespaces: mnt pid uts ipc net cgroup") && text.contains("  pivot\n"),
        "{text}"
    );
    assert_eq!(dir.state(&suite, &name), "STOPPED");
    assert!(dir.leftovers(&name).is_empty());
}

/// All configurations that packages bring are read as they are, and written back to the byte.
#[test]
fn packaged_configurations_are_read() {
    needs!(root, ours, peer);
    let (suite, dir) = (Suite::ours(), Lxcpath::new());
    let name = dir.name("packaged");
    std::fs::create_dir(dir.join(&name)).unwrap();
    let file = dir.join(&name).join("config");
    let run = |words: &[&str]| suite.run("lxc-config", &[words, &["-P", dir.arg(), "-n", &name]].concat());
    let own = suite.path("../share/lxc/config");
    let mut read = 0;
    for base in [Path::new("/usr/share/lxc/config"), &own, Path::new("/etc/lxc")] {
        for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
            let path = entry.path();
            // lxc.conf has another grammar.
            let is_ours = path.extension().is_some_and(|e| e == "conf") && !path.ends_with("lxc.conf");
            if !is_ours {
                continue;
            }
            std::fs::copy(&path, &file).unwrap();
            run(&["show", "--resolved"]).ok();
            assert_eq!(run(&["show"]).ok(), std::fs::read_to_string(&path).unwrap(), "{}", path.display());
            // A change that is taken back leaves the file as it was.
            run(&["set", "lxc.ephemeral", "1"]).ok();
            run(&["unset", "lxc.ephemeral"]).ok();
            assert_eq!(run(&["show"]).ok(), std::fs::read_to_string(&path).unwrap(), "{}", path.display());
            read += 1;
        }
    }
    assert!(read > 20, "only {read} files were found");
}

/// What a template of the peer makes is read, and checked, without a word.
#[test]
fn what_templates_make_is_read() {
    needs!(root, ours, peer, program "busybox");
    let (suite, dir) = (Suite::ours(), Lxcpath::new());
    let mut made = 0;
    for template in ["busybox", "none"] {
        let name = dir.name(template);
        let created = dir.run(&Suite::peer(), "lxc-create", &name, &["-t", template]);
        if created.code != 0 {
            continue;
        }
        let text = std::fs::read_to_string(dir.join(&name).join("config")).unwrap();
        let run =
            |words: &[&str]| suite.run("lxc-config", &[words, &["-P", dir.arg(), "-n", &name]].concat());
        assert_eq!(run(&["show"]).ok(), text);
        run(&["show", "--resolved"]).ok();
        made += 1;
    }
    assert!(made > 0, "no template of the peer made a container");
}
