//! lxc-ls.

use lxc_testkit::pty::Terminal;
use lxc_testkit::{Lxcpath, Suite, needs};

/// An lxcpath with a container that runs, one that is frozen, and two that are stopped; names sort alike.
struct Four {
    dir: Lxcpath,
    names: [String; 4],
}

impl Four {
    fn new(suite: &Suite) -> Four {
        let dir = Lxcpath::new();
        let running = dir.busybox("a").quick().build();
        let frozen = dir.busybox("b-with-a-long-name").quick().line("lxc.start.auto = 1").build();
        let grouped = dir.busybox("c").line("lxc.group = web,onboot").line("lxc.group = all").build();
        let mapped =
            dir.busybox("d").line("lxc.idmap = u 0 100000 65536").line("lxc.idmap = g 0 100000 65536");
        let mapped = mapped.line("lxc.group = web").build();
        dir.start(suite, &running);
        dir.start(suite, &frozen);
        dir.run(suite, "lxc-freeze", &frozen, &[]).ok();
        Four { dir, names: [running, frozen, grouped, mapped] }
    }

    /// Names replaced by others of the same length, so that columns stay.
    fn ls(&self, suite: &Suite, options: &[&str]) -> (i32, String) {
        let mut all = vec!["-P", self.dir.arg()];
        all.extend(options);
        let output = suite.run("lxc-ls", &all);
        (output.code, self.normal(&output.stdout))
    }

    fn normal(&self, text: &str) -> String {
        let mut text = text.to_string();
        for (name, letter) in self.names.iter().zip(["a", "b", "c", "d"]) {
            // The counter in a name may have one digit more or less in the other suite's run.
            let pad = " ".repeat(name.len());
            text = text.replace(&format!("{name} "), &format!("{letter}{} ", &pad[1..]));
            text = text.replace(name, letter);
        }
        text
    }
}

#[test]
fn lists_and_filters_are_alike() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let four = Four::new(suite);
        let all: [&[&str]; 20] = [
            &[],
            &["-1"],
            &["--active", "-1"],
            &["--running", "-1"],
            &["--frozen", "-1"],
            &["--stopped", "-1"],
            &["--defined", "-1"],
            &["--running", "--stopped", "-1"],
            &["--active", "--stopped", "-1"],
            &["-g", "web", "-1"],
            &["-g", "web,onboot", "-1"],
            &["-g", "none", "-1"],
            &["--filter", "^a", "-1"],
            &["--filter", "long|^c", "-1"],
            &["^[cd]", "-1"],
            &["^c", "^d", "-1"],
            &["--filter", "(", "-1"],
            &["--filter", "nothing", "-f"],
            &["--frozen"],
            &["-1", "-f", "--stopped"],
        ];
        all.map(|options| {
            let (code, out) = four.ls(suite, options);
            (options, code, out)
        })
    });
}

/// All names of one length, so that the widths of the columns are those of the other suite.
#[test]
fn tables_are_alike() {
    needs!(root, ours);
    let dir = Lxcpath::new();
    let names = ["ta", "tb", "tc"].map(|hint| dir.busybox(hint).quick().line("lxc.group = one,two").build());
    dir.start(&Suite::ours(), &names[0]);
    dir.start(&Suite::ours(), &names[1]);
    dir.run(&Suite::ours(), "lxc-freeze", &names[1], &[]).ok();
    let columns = "NAME,STATE,PID,AUTOSTART,GROUPS,INTERFACE,IPV4,IPV6,UNPRIVILEGED";
    let all: [&[&str]; 9] = [
        &["-f"],
        &["-f", "-F", columns],
        &["-f", "-F", "name, state ,pid"],
        &["-f", "-F", "UNPRIVILEGED,NAME"],
        &["-f", "-F", "NAME,SWAP", "--stopped"],
        &["-F", "NAME"],
        &["-f", "--running"],
        &["-f", "--stopped"],
        &["-f", "-F", "BOGUS"],
    ];
    Suite::compare(|suite| {
        all.map(|options| {
            // The same containers for both: the one of the two that did not start them is a mere observer.
            let output = suite.run("lxc-ls", &[&["-P", dir.arg()], options].concat());
            (options, output.code, output.stdout, output.stderr)
        })
    });
}

#[test]
fn addresses_and_interfaces_are_shown() {
    needs!(root, ours);
    let dir = Lxcpath::new();
    let name = dir.busybox("net").quick().build();
    dir.start(&Suite::ours(), &name);
    let script = "ip link set lo up; ip addr add 10.99.1.5/24 dev lo; ip addr add 10.99.1.10/24 dev lo";
    dir.sh(&Suite::ours(), &name, script);
    Suite::compare(|suite| {
        let columns = ["-f", "-F", "NAME,INTERFACE,IPV4,IPV6"];
        let ls = suite.run("lxc-ls", &[&["-P", dir.arg()], &columns[..]].concat()).ok();
        (ls, dir.run(suite, "lxc-info", &name, &["-i"]).ok())
    });
}

#[test]
fn what_is_not_a_container_is_not_listed() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        let name = dir.busybox("only").build();
        std::fs::create_dir(dir.join("empty")).unwrap();
        std::fs::create_dir_all(dir.join(".hidden")).unwrap();
        std::fs::write(dir.join(".hidden/config"), "").unwrap();
        std::fs::write(dir.join("file"), "").unwrap();
        let output = suite.run("lxc-ls", &["-P", dir.arg(), "-1"]);
        let missing = suite.run("lxc-ls", &["-P", "/nonexistent/path"]);
        (dir.normal(&output.ok(), &name), missing.code, missing.stdout, missing.stderr)
    });
}

#[test]
fn a_container_whose_configuration_is_wrong_is_skipped() {
    needs!(root, ours);
    for suite in Suite::all() {
        let dir = Lxcpath::new();
        let good = dir.busybox("good").build();
        let bad = dir.busybox("bad").line("lxc.bogus = 1").build();
        let output = suite.run("lxc-ls", &["-P", dir.arg(), "-1"]).exits(0);
        assert_eq!(output.stdout, format!("{good}\n"), "{suite}");
        assert!(
            output.stderr.contains(&format!("Failed to load config for {bad}")),
            "{suite}: {}",
            output.stderr
        );
    }
}

#[test]
fn names_fill_the_width_of_a_terminal() {
    needs!(root, ours);
    let dir = Lxcpath::new();
    let directories = ["ct-a", "ct-c", "ct-longname-dd"].map(|n| dir.join(n));
    for directory in &directories {
        std::fs::create_dir(directory).unwrap();
        std::fs::write(directory.join("config"), "lxc.net.0.type = empty\n").unwrap();
    }
    Suite::compare(|suite| {
        [80, 40, 31, 20, 10].map(|columns| {
            let mut command = suite.command("lxc-ls");
            command.args(["-P", dir.arg()]);
            (columns, Terminal::spawn(&command, 24, columns).wait())
        })
    });
}
