//! lxc run: a container at once. The peer has no such command.

use lxc_testkit::pty::Terminal;
use lxc_testkit::{Lxcpath, Output, Running, Suite, needs, process};

fn run(arguments: &[&str]) -> Output {
    Suite::ours().run("lxc", &[&["run"], arguments].concat())
}

#[test]
fn a_command_runs_as_root_of_a_container_of_its_own() {
    needs!(root, ours, userns);
    let text = run(&["--", "sh", "-c", "id -u; echo $$; readlink /proc/self/ns/pid"]).ok();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "0");
    assert_ne!(Some(lines[2]), process::namespace(std::process::id(), "pid").to_str());
}

#[test]
fn its_status_is_the_commands() {
    needs!(root, ours, userns);
    run(&["--", "sh", "-c", "exit 7"]).exits(7);
    run(&["--", "sh", "-c", "kill -9 $$"]).exits(137);
    assert_ne!(run(&["--", "/nonexistent"]).code, 0);
}

#[test]
fn changes_are_thrown_away() {
    needs!(root, ours, userns);
    let marker = format!("/usr/marker-{}", std::process::id());
    let text = run(&["--", "sh", "-c", &format!("echo x >{marker}; cat {marker}")]).ok();
    assert_eq!(text, "x\n");
    assert!(!std::path::Path::new(&marker).exists());
    run(&["--", "test", "-e", &marker]).exits(1);
}

#[test]
fn input_and_output_are_passed_through() {
    needs!(root, ours, userns);
    let suite = Suite::ours();
    let mut command = suite.command("lxc");
    command.args(["run", "--", "sh", "-c", "cat; echo err >&2"]);
    let output = Running::with_input(command, b"input\n").wait().exits(0);
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("input\n", "err\n"));
    let mut command = suite.command("lxc");
    command.args(["run", "--", "sh", "-c", "tty; stty size"]);
    let (code, shown) = Terminal::spawn(&command, 33, 101).wait();
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("33 101"), "{shown}");
}

#[test]
fn nothing_is_left_of_it() {
    needs!(root, ours, userns);
    let name = format!("runt{}", std::process::id());
    run(&["-n", &name, "--", "true"]).ok();
    assert!(process::cgroups_of(&name).is_empty());
    assert!(!process::listens(&format!("/{name}/command")));
}

/// What killed runs have left is removed, but nothing else that is in the same place.
#[test]
fn containers_beside_it_stay() {
    needs!(root, ours);
    let (suite, dir) = (Suite::ours(), Lxcpath::new());
    let name = dir.busybox("beside").build();
    let killed = dir.join("killed");
    std::fs::create_dir(&killed).unwrap();
    std::fs::write(killed.join(".throwaway"), "").unwrap();
    lxc_testkit::net::sh(&format!(
        "touch -d '1 hour ago' {} {}",
        dir.join(&name).display(),
        killed.display()
    ));
    suite.run("lxc", &["run", "-P", dir.arg(), "--", "true"]).exits(0);
    assert!(dir.join(&name).join("config").exists() && !killed.exists());
}
