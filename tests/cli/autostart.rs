//! lxc-autostart, and the keys lxc.start.* and lxc.group.

use std::time::{Duration, Instant};

use lxc_testkit::{Lxcpath, Suite, needs};

/// The names and keys of the specification's example.
const EXAMPLE: [(&str, &[&str]); 6] = [
    ("ct-1", &["lxc.start.auto = 1", "lxc.start.order = 10"]),
    ("ct-2", &["lxc.start.auto = 1", "lxc.start.order = 5", "lxc.group = onboot"]),
    (
        "ct-3",
        &[
            "lxc.start.auto = 1",
            "lxc.start.order = 20",
            "lxc.start.delay = 1",
            "lxc.group = web",
            "lxc.group = db",
        ],
    ),
    ("ct-4", &["lxc.start.order = 1", "lxc.group = web"]),
    ("ct-5", &["lxc.start.auto = 1", "lxc.start.order = 5", "lxc.group = db"]),
    ("ct-6", &["lxc.start.auto = 1", "lxc.start.order = 0", "lxc.group = onlyone"]),
];

/// The example's containers; the names are those given here with something in front.
fn example(dir: &Lxcpath) {
    let rootfs = dir.join(".rootfs");
    lxc_testkit::container::busybox_rootfs(&rootfs);
    for (name, lines) in EXAMPLE {
        let mut builder = dir.busybox(name).rootfs(&rootfs).quick();
        for line in lines {
            builder = builder.line(line);
        }
        builder.build();
    }
}

/// Runs it, with what tests add to names taken out.
fn autostart(dir: &Lxcpath, suite: &Suite, arguments: &[&str]) -> (i32, Vec<String>) {
    let output = suite.run("lxc-autostart", &[&["-P", dir.arg()], arguments].concat());
    let plain = |line: &str| {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let at = name.rfind('x').and_then(|x| name[..x].rfind(|c: char| !c.is_ascii_digit()));
        format!("{} {rest}", &name[..=at.unwrap_or(name.len() - 1)]).trim().to_string()
    };
    (output.code, output.stdout.lines().map(plain).collect())
}

#[test]
fn what_is_selected_and_in_which_order() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        example(&dir);
        let all: [&[&str]; 10] = [
            &["-L"],
            &["-L", "-a"],
            &["-L", "-A", "-a"],
            &["-L", "-g", "onboot,"],
            &["-L", "-g", "web", "-A"],
            &["-L", "-g", "web,db"],
            &["-L", "-g", "db", "-g", "web"],
            &["-L", "-r", "-a"],
            &["-L", "-s", "-a"],
            &["-L", "-g", "nobody"],
        ];
        all.map(|arguments| (arguments, autostart(&dir, suite, arguments)))
    });
}

#[test]
fn they_start_and_stop_in_order() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let dir = Lxcpath::new();
        example(&dir);
        let begin = Instant::now();
        let started = autostart(&dir, suite, &["-g", "web,onboot"]);
        // ct-3 is started before ct-2, which waits for its delay.
        assert!(begin.elapsed() >= Duration::from_secs(1), "{suite}: no delay");
        let mut seen = vec![started, autostart(&dir, suite, &["-L", "-a", "-s"])];
        seen.push(autostart(&dir, suite, &["-L", "-a"]));
        seen.push(autostart(&dir, suite, &["-r", "-g", "onboot"]));
        seen.push(autostart(&dir, suite, &["-s", "-t", "20", "-g", "web"]));
        seen.push(autostart(&dir, suite, &["-L", "-a", "-k"]));
        seen.push(autostart(&dir, suite, &["-k", "-a"]));
        seen.push(autostart(&dir, suite, &["-L", "-a", "-k"]));
        seen
    });
}

#[test]
fn failures_show_in_the_status() {
    needs!(root, ours);
    let (suite, dir) = (Suite::ours(), Lxcpath::new());
    let good = dir.busybox("good").quick().line("lxc.start.auto = 1").build();
    let bad = dir.busybox("bad").init("/missing").line("lxc.start.auto = 1").build();
    let output = suite.run("lxc-autostart", &["-P", dir.arg()]).exits(2);
    assert!(output.stderr.contains(&format!("Error starting container: {bad}")), "{output}");
    assert_eq!(dir.state(&suite, &good), "RUNNING");
    suite.run("lxc-autostart", &["-P", dir.arg()]).exits(1);
    suite.run("lxc-autostart", &["-P", "/nonexistent/path"]).exits(1);
}
