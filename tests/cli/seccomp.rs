//! Seccomp policies.

use lxc_testkit::{Lxcpath, Output, Suite, needs};

/// Runs perl, of the host, under a policy.
fn under(suite: &Suite, policy: &str, script: &str) -> Output {
    let dir = Lxcpath::new();
    let file = dir.join("policy");
    std::fs::write(&file, policy).unwrap();
    let name = dir.name("seccomp");
    std::fs::create_dir(dir.join(&name)).unwrap();
    let config = format!(
        "lxc.rootfs.path = dir:/\nlxc.autodev = 0\nlxc.apparmor.profile = unconfined\nlxc.seccomp.profile = {}\n",
        file.display()
    );
    std::fs::write(dir.join(&name).join("config"), config).unwrap();
    let script = script.replace("DIR", dir.arg());
    dir.run(suite, "lxc-execute", &name, &["--", "/usr/bin/perl", "-e", &script])
}

/// mkdir(2) on x86_64 with several modes: the error number of each.
const MKDIR: &str = r#"$| = 1; for $m (1, 448, 511, 512) { $p = "DIR/d$m"; $r = syscall(83, $p, $m); print "$m ", $r < 0 ? $!+0 : "made", "\n"; }"#;

/// A policy, the status of a program that calls mkdir under it, and what it saw.
#[track_caller]
fn sees(policy: &str, code: i32, seen: [&str; 4]) {
    ours_sees(policy, code, seen);
    if let Ok(peer) = Suite::find_peer() {
        suite_sees(&peer, policy, code, seen);
    }
}

/// The same where the peer knows no such policy.
#[track_caller]
fn ours_sees(policy: &str, code: i32, seen: [&str; 4]) {
    suite_sees(&Suite::ours(), policy, code, seen);
}

#[track_caller]
fn suite_sees(suite: &Suite, policy: &str, code: i32, seen: [&str; 4]) {
    let printed: String = ["1", "448", "511", "512"]
        .iter()
        .zip(seen)
        .filter(|(_, s)| !s.is_empty())
        .map(|(m, s)| format!("{m} {s}\n"))
        .collect();
    let output = under(suite, policy, MKDIR);
    let head: String = policy.chars().take(80).collect();
    assert_eq!((output.code, output.stdout), (code, printed), "{suite} under {head}");
}

/// 128 and SIGSYS.
const BAD_CALL: i32 = 159;

#[test]
fn every_action() {
    needs!(root, ours, program "perl", machine "x86_64");
    let ended = ["", "", "", ""];
    for (action, code, seen) in
        [("errno 5", 0, "5"), ("errno 38", 0, "38"), ("errno 010", 0, "10"), ("errno 0", 0, "made")]
    {
        sees(&format!("2\ndenylist\n[all]\nmkdir {action}\n"), code, [seen; 4]);
    }
    // Nobody is to be asked; the peer's lxc-execute would wait for ever.
    ours_sees("2\ndenylist\nmkdir notify\n", 0, ["38"; 4]);
    ours_sees("2\ndenylist\nmkdir errno 0x10\n", 0, ["16"; 4]);
    for action in ["kill", "kill_process", "trap", "", "# why"] {
        sees(&format!("2\ndenylist\n[all]\nmkdir {action}\n"), BAD_CALL, ended);
    }
}

/// Everything but mkdir, by name and by number.
#[test]
fn every_default() {
    needs!(root, ours, program "perl", machine "x86_64");
    let others = || syscalls::x86_64::Sysno::iter().filter(|call| call.name() != "mkdir");
    let names: String = others().map(|call| format!("{}\n", call.name())).collect();
    let allowed: String = others().map(|call| format!("{} allow\n", call.name())).collect();
    let numbers: String = others().map(|call| format!("{}\n", call.id())).collect();
    let ended = ["", "", "", ""];
    sees(&format!("1\nallowlist\n{numbers}"), BAD_CALL, ended);
    sees(&format!("1\nallowlist\n{numbers}83\n"), 0, ["made"; 4]);
    for (style, code, seen) in [
        ("allowlist", BAD_CALL, ended),
        ("whitelist", BAD_CALL, ended),
        ("allowlist kill", BAD_CALL, ended),
        ("allowlist trap", BAD_CALL, ended),
        ("allowlist errno 5", 0, ["5"; 4]),
    ] {
        sees(&format!("2\n{style}\n{names}"), code, seen);
    }
    sees(&format!("2\nallowlist errno 5\n{names}mkdir allow [1,511,==]\n"), 0, ["5", "5", "made", "5"]);
    sees(&format!("2\ndenylist errno 6\n{allowed}"), 0, ["6"; 4]);
    sees("2\nallowlist allow\nmkdir errno 7\n", 0, ["7"; 4]);
}

#[test]
fn every_operator() {
    needs!(root, ours, program "perl", machine "x86_64");
    for (signs, seen) in [
        (["==", "SCMP_CMP_EQ"], ["made", "made", "7", "made"]),
        (["!=", "SCMP_CMP_NE"], ["7", "7", "made", "7"]),
        (["<", "SCMP_CMP_LT"], ["7", "7", "made", "made"]),
        (["<=", "SCMP_CMP_LE"], ["7", "7", "7", "made"]),
        ([">", "SCMP_CMP_GT"], ["made", "made", "made", "7"]),
        ([">=", "SCMP_CMP_GE"], ["made", "made", "7", "7"]),
    ] {
        for sign in signs {
            sees(&format!("2\ndenylist\nmkdir errno 7 [1,511,{sign}]\n"), 0, seen);
        }
    }
    for sign in ["&=", "SCMP_CMP_MASKED_EQ"] {
        let policy = format!("2\ndenylist\nmkdir errno 7 [1,0x1c0,{sign},0x1f8]\n");
        sees(&policy, 0, ["made", "7", "made", "made"]);
    }
    ours_sees("2\ndenylist\nmkdir errno 7 [1,511,>=] [1,511,<=]\n", 0, ["made", "made", "7", "made"]);
    sees("2\ndenylist\nmkdir errno 7 [1,511,==] [0,0,==]\n", 0, ["made"; 4]);
    // Several rules for one call.
    sees("2\ndenylist\nmkdir errno 7 [1,511,==]\nmkdir errno 8 [1,448,==]\n", 0, ["made", "8", "7", "made"]);
    sees("2\nblacklist\n[x86_64]\nmkdir errno 9\n[arm]\nmkdir errno 8\n", 0, ["9"; 4]);
}

/// A program for i386 that calls mkdir(2) and ends with the error number: an ELF header, a program header, the code.
#[rustfmt::skip]
const MKDIR_I386: &[u8] = &[
    0x7f, b'E', b'L', b'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 1, 0, 0, 0, 0x54, 0x80, 4, 8, 0x34, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0x34, 0, 0x20, 0, 1, 0, 0, 0, 0, 0, 0, 0,
    1, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 4, 8, 0, 0x80, 4, 8, 0x76, 0, 0, 0, 0x76, 0, 0, 0, 5, 0, 0, 0, 0, 0x10, 0, 0,
    // mov eax, 39; mov ebx, path; mov ecx, 0; int 0x80; neg eax; mov ebx, eax; mov eax, 1; int 0x80; path
    0xb8, 39, 0, 0, 0, 0xbb, 0x74, 0x80, 4, 8, 0xb9, 0, 0, 0, 0, 0xcd, 0x80, 0xf7, 0xd8, 0x89, 0xc3, 0xb8, 1, 0, 0, 0,
    0xcd, 0x80, 0x90, 0x90, 0x90, 0x90, b'/', 0,
];

/// Each section of a policy is for the calls of its architecture, and for no others.
#[test]
fn sections_are_for_their_architectures() {
    needs!(root, ours, program "perl", machine "x86_64");
    let policy = "2\ndenylist\n[x86]\nmkdir errno 5\n[x86_64]\nmkdir errno 6\n[x32]\nmkdir errno 7\n[arm64]\nmkdirat errno 8\n";
    let script = r#"open F, ">DIR/i386"; binmode F; print F pack("H*", "CODE"); close F; chmod 0755, "DIR/i386";
        $p = "/"; for $n (83, 0x40000053, 258) { print syscall($n, $n == 258 ? (-100, $p) : $p, 0) < 0 ? $!+0 : "made", " "; }
        $e = system "DIR/i386"; print $e >> 8, "\n";"#;
    let code: String = MKDIR_I386.iter().map(|b| format!("{b:02x}")).collect();
    let run = |policy: &str| under(&Suite::ours(), policy, &script.replace("CODE", &code)).exits(0).stdout;
    // Without a policy: the directory exists, and the kernel may not know x32.
    let free = run("2\ndenylist\n[all]\nkexec_load errno 1\n");
    let words: Vec<&str> = free.split_whitespace().collect();
    assert_eq!(
        (words[0], words[2], words[3]),
        ("17", "17", "17"),
        "does this kernel run i386 programs? {free}"
    );
    assert_eq!(run(policy), "6 7 17 5\n");
    assert_eq!(run("2\ndenylist\n[all]\nmkdir errno 9\n"), "9 9 17 9\n");
}

/// Every call with arguments that mean nothing: what the policy denies fails as it says, and all else as ever.
#[test]
fn the_usual_policy_call_by_call_as_with_the_peer() {
    needs!(root, ours, program "perl");
    let policy = std::fs::read_to_string(Suite::ours().path("../share/lxc/config/common.seccomp")).unwrap();
    // Without those that end, stop or copy the process, or wait for the disks, or are the kernel's own affair.
    let script = r#"%skip = map { $_ => 1 } 15, 34, 56, 57, 58, 60, 153, 162, 219, 231, 335, 336, 435;
        for $n (0 .. 462) { next if $skip{$n}; $r = syscall($n, -1, -1, -1, -1, -1, -1); print "$n ", $r < 0 ? $!+0 : "ok", "\n"; }
        $p = "/nonexistent"; print "umount ", syscall(166, $p, 1) < 0 ? $!+0 : "ok", " ", syscall(166, $p, 2) < 0 ? $!+0 : "ok", "\n";"#;
    let run = |suite: &Suite| {
        let output = under(suite, &policy, script).exits(0);
        output.stdout.lines().map(str::to_string).collect::<Vec<_>>()
    };
    let ours = run(&Suite::ours());
    for denied in ["246 1", "304 1", "175 1", "313 1", "176 1", "umount 13 2"] {
        assert!(ours.iter().any(|l| l == denied), "{denied:?} is not in {ours:?}");
    }
    Suite::compare(|suite| run(suite));
    // The file of ours says what the distribution's says.
    let theirs = "/usr/share/lxc/config/common.seccomp";
    if Suite::find_peer().is_ok() {
        let explained = |file: &str| Suite::ours().run("lxc", &["seccomp", "explain", file]).ok();
        let own = Suite::ours().path("../share/lxc/config/common.seccomp");
        assert_eq!(explained(own.to_str().unwrap()), explained(theirs));
    }
}

#[test]
fn a_system_under_the_usual_policy_is_confined_and_so_is_what_attaches() {
    needs!(root, ours);
    let (suite, dir) = (Suite::ours(), Lxcpath::new());
    let policy = suite.path("../share/lxc/config/common.seccomp");
    let name = dir.busybox("system").line(format!("lxc.seccomp.profile = {}", policy.display())).build();
    dir.start(&suite, &name);
    let status = |arguments: &[&str]| {
        let script = ["--", "grep", "^Seccomp:", "/proc/self/status"];
        dir.run(&suite, "lxc-attach", &name, &[arguments, &script].concat()).ok()
    };
    assert_eq!(dir.sh(&suite, &name, "grep ^Seccomp: /proc/1/status"), "Seccomp:\t2\n");
    assert_eq!(status(&[]), "Seccomp:\t2\n");
    assert_eq!(status(&["-eLSM"]), "Seccomp:\t0\n");
    dir.run(&suite, "lxc-stop", &name, &["-r", "-t", "20"]).ok();
    assert_eq!(status(&[]), "Seccomp:\t2\n");
    dir.run(&suite, "lxc-stop", &name, &["-t", "20"]).ok();
    dir.gone(&suite, &name);
}

#[test]
fn a_policy_that_is_wrong_is_named_before_anything_is_made() {
    needs!(root, ours);
    let (suite, dir) = (Suite::ours(), Lxcpath::new());
    for (text, said) in [
        ("2\ndenylist\nmkdir log\n", "policy:3: 'log' is not an action"),
        ("5\ndenylist\n", "policy:1: the first line must be the version"),
        ("2\ndenylist\nmkdir allow\n", "policy:3: the rule says what holds anyway"),
    ] {
        std::fs::write(dir.join("policy"), text).unwrap();
        let name =
            dir.busybox("wrong").quick().line(format!("lxc.seccomp.profile = {}/policy", dir.arg())).build();
        let output = dir.run(&suite, "lxc-start", &name, &["-d"]).exits(1);
        assert!(output.stderr.contains(said), "{output}");
        dir.gone(&suite, &name);
    }
    let name = dir.busybox("missing").quick().line("lxc.seccomp.profile = /nonexistent").build();
    let output = dir.run(&suite, "lxc-start", &name, &["-d"]).exits(1);
    assert!(output.stderr.contains("read /nonexistent: No such file"), "{output}");
}

/// The filter is there before the last steps of the start: who dies of it then has not become init.
#[test]
fn a_start_that_its_own_policy_kills_has_failed() {
    needs!(root, ours);
    let dir = Lxcpath::new();
    let file = dir.join("policy");
    std::fs::write(&file, "2\ndenylist\n[all]\nsetsid kill_process\n").unwrap();
    let name = dir.busybox("dies").line(format!("lxc.seccomp.profile = {}", file.display())).build();
    let output = dir.run(&Suite::ours(), "lxc-start", &name, &[]);
    assert_eq!(output.code, 1, "{}", output.stderr);
    let why = "the child was killed by signal 31 while the container was set up";
    assert!(output.stderr.contains(why), "{}", output.stderr);
}

#[test]
fn a_policy_is_explained() {
    needs!(ours);
    let (suite, dir) = (Suite::ours(), Lxcpath::new());
    let file = dir.join("policy");
    std::fs::write(&file, "2\ndenylist\nreject_force_umount\n[all]\nkexec_load errno 1\nnonsense kill\n")
        .unwrap();
    let text = suite.run("lxc", &["seccomp", "explain", file.to_str().unwrap()]).ok();
    assert!(text.starts_with("what no rule names: allow\n"), "{text}");
    assert!(text.contains("errno 1 (Operation not permitted)") && text.contains("no such call"), "{text}");
    suite.run("lxc", &["seccomp", "explain", "/nonexistent"]).exits(1);
}

/// What the packaged configuration of containers says is in force.
#[test]
fn the_common_configuration_starts() {
    needs!(root, ours);
    let (suite, dir) = (Suite::ours(), Lxcpath::new());
    let share = suite.path("../share/lxc/config/common.conf");
    let name = dir.busybox("common").quick().line(format!("lxc.include = {}", share.display())).build();
    dir.start(&suite, &name);
    let text = dir.sh(
        &suite,
        &name,
        "ls -l /dev/tty1 /dev/console | awk '{ print $NF }'; ls /dev/lxc; grep ^Seccomp: /proc/1/status",
    );
    assert!(text.contains("lxc/tty1\n") && text.contains("Seccomp:\t2\n"), "{text}");
    let refused =
        dir.run(&suite, "lxc-attach", &name, &["--", "sh", "-c", "mknod /tmp/kmsg c 1 11 && cat /tmp/kmsg"]);
    assert!(refused.stderr.contains("not permitted"), "{refused}");
}

/// A program under a filter starts a container: only `allow_nesting` puts another upon it.
#[test]
fn filters_nest_where_that_is_wanted() {
    needs!(root, ours, program "perl");
    let inner = "2\ndenylist\nmkdir errno 5\n";
    for (nesting, expected) in [("0", "1 made\n"), ("1", "1 5\n")] {
        let (suite, dir) = (Suite::ours(), Lxcpath::new());
        std::fs::write(dir.join("inner"), inner).unwrap();
        let name = dir.name("inner");
        std::fs::create_dir(dir.join(&name)).unwrap();
        let config = format!(
            "lxc.rootfs.path = dir:/\nlxc.autodev = 0\nlxc.apparmor.profile = unconfined\nlxc.seccomp.profile = {}/inner\n\
             lxc.seccomp.allow_nesting = {nesting}\nlxc.cgroup.relative = 1\n",
            dir.arg()
        );
        std::fs::write(dir.join(&name).join("config"), config).unwrap();
        let perl = format!(
            "$p = q({}/made); $r = syscall(83, $p, 1); print '1 ', $r < 0 ? $!+0 : 'made', qq(\\n);",
            dir.arg()
        );
        // The outer one by hand: nothing else of a container stands between.
        let load = "syscall(157, 38, 1, 0, 0, 0) == 0 or die; \
             $f = pack('SCCLSCCLSCCLSCCL', 0x20,0,0,0, 0x15,0,1,163, 6,0,0,0x50001, 6,0,0,0x7fff0000); \
             $g = pack('Sx6P', 4, $f); syscall(317, 1, 0, $g) == 0 or die qq(filter $!); exec @ARGV;";
        let execute = suite.path("lxc-execute");
        let mut command = std::process::Command::new("perl");
        command.args(["-e", load]).arg(execute).args([
            "-P",
            dir.arg(),
            "-n",
            &name,
            "--",
            "/usr/bin/perl",
            "-e",
            &perl,
        ]);
        let output = lxc_testkit::Running::spawn(command).wait();
        assert_eq!(output.stdout, expected, "{output}");
    }
}
