//! lxc-info.

use lxc_testkit::{Lxcpath, Suite, needs, skip};

/// What it prints, with what differs from container to container taken out.
fn info(dir: &Lxcpath, suite: &Suite, name: &str, options: &[&str]) -> (i32, Vec<String>, Vec<String>) {
    let output = dir.run(suite, "lxc-info", name, options);
    let mut out: Vec<_> = output.stdout.lines().map(|l| without_numbers(&dir.normal(l, name))).collect();
    if skip::cgroup_v1().is_err() && suite.name == "ours" {
        // There the peer has no statistics.
        out.retain(|l| !l.contains(" use:"));
    }
    (output.code, out, output.messages().iter().map(|m| dir.normal(m, name)).collect())
}

/// Numbers become `#`; their units may differ with them.
fn without_numbers(line: &str) -> String {
    let mut out = String::new();
    for c in line.chars() {
        let digit = c.is_ascii_digit() || c == '.' && out.ends_with('#');
        if !digit {
            out.push(c);
        } else if !out.ends_with('#') {
            out.push('#');
        }
    }
    for unit in [" bytes", " KiB", " MiB"] {
        out = out.replace(&format!("#{unit}"), "# UNIT");
    }
    out
}

#[test]
fn a_running_container_is_described_alike() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let name = dir.busybox("info").quick().build();
        dir.start(suite, &name);
        let all: [&[&str]; 11] = [
            &[],
            &["-H"],
            &["-s"],
            &["-sH"],
            &["-p"],
            &["-pH"],
            &["-i"],
            &["-iH"],
            &["-spH"],
            &["-S"],
            &["-SH", "-s"],
        ];
        all.map(|options| info(&dir, suite, &name, options))
    });
}

#[test]
fn a_stopped_and_a_frozen_container_are_described_alike() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let name = dir.busybox("info").quick().build();
        let all: [&[&str]; 5] = [&[], &["-H"], &["-sH"], &["-pH"], &["-S"]];
        let stopped = all.map(|options| info(&dir, suite, &name, options));
        dir.start(suite, &name);
        dir.run(suite, "lxc-freeze", &name, &[]).ok();
        (stopped, info(&dir, suite, &name, &["-s"]))
    });
}

#[test]
fn configuration_items_are_printed_alike() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let entries =
            ["lxc.mount.entry = proc a proc defaults 0 0", "lxc.environment = A=1", "lxc.environment = B=2"];
        let name = entries.iter().fold(dir.busybox("items"), |b, line| b.line(line)).build();
        let all: [&[&str]; 10] = [
            &["-c", "lxc.uts.name"],
            &["-H", "-c", "lxc.uts.name"],
            &["-c", "lxc.uts.name", "-c", "lxc.tty.max"],
            &["-H", "-c", "lxc.uts.name", "-c", "lxc.tty.max"],
            &["-c", "lxc.environment"],
            &["-H", "-c", "lxc.environment"],
            &["-c", "lxc.cap.drop"],
            &["-c", "lxc.init.cmd"],
            &["-c", "lxc.net.0.type"],
            &["-H", "-c", "lxc.hook.start"],
        ];
        all.map(|options| info(&dir, suite, &name, options))
    });
}

#[test]
fn an_unknown_item_is_named_and_no_failure() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("items").build();
        let output = dir.run(&suite, "lxc-info", &name, &["-c", "lxc.bogus"]).exits(0);
        assert!(output.stderr.contains("lxc.bogus invalid"), "{suite}: {output}");
    }
}

#[test]
fn an_undefined_container_is_an_error() {
    needs!(root, ours);
    Suite::compare(|suite| info(&Lxcpath::new(), suite, "nobody", &[]));
    Suite::compare(|suite| suite.run("lxc-info", &[]).messages());
}

#[test]
fn the_first_word_is_the_name_and_options_may_follow_it() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let name = dir.busybox("word").build();
        assert_eq!(suite.run("lxc-info", &[&name, "-sH", "-P", dir.arg()]).ok(), "STOPPED\n");
        assert_eq!(
            suite.run("lxc-info", &["--lxcp", dir.arg(), "--stat", &name, "--no-hum"]).code,
            1,
            "{suite}"
        );
        assert_eq!(
            suite.run("lxc-info", &["--lxcp", dir.arg(), "--state", &name, "--no-hum"]).ok(),
            "STOPPED\n"
        );
    }
}

#[test]
fn two_lxcpaths_are_refused() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let output = suite.run("lxc-info", &["-P", "/a", "-P", "/b", "-n", "x"]);
        (output.code, output.stderr)
    });
}

#[test]
fn the_version_is_one_line() {
    needs!(ours);
    for suite in Suite::all() {
        let text = suite.run("lxc-info", &["--version"]).ok();
        let parts: Vec<&str> = text.trim_end().split('.').collect();
        assert!(parts.len() == 3 && parts.iter().all(|p| p.parse::<u32>().is_ok()), "{suite}: {text:?}");
    }
}

#[test]
fn help_goes_to_standard_error() {
    needs!(ours);
    for suite in Suite::all() {
        for (option, code) in [("--help", 0), ("-h", 0), ("-?", 1), ("--bogus", 1), ("--usage", 0)] {
            let output = suite.run("lxc-info", &[option]);
            assert_eq!((output.code, output.stdout.as_str()), (code, ""), "{suite} {option}");
            assert!(output.stderr.contains("lxc-info"), "{suite} {option}: {}", output.stderr);
        }
    }
}
