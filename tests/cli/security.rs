//! Known holes of LXC and its kin, each tried. `cargo xtask defences` shows that each test fails without its defence.
//!
//! What belongs to commands with a file of tests of their own is there: lxc-user-nic (CVE-2017-5985, CVE-2018-6556,
//! CVE-2022-47952, CVE-2026-39402) and hostile clients of the command socket.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use lxc_testkit::net::sh;
use lxc_testkit::pty::Terminal;
use lxc_testkit::{Lxcpath, Suite, needs};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("look at a file").permissions().mode() & 0o7777
}

pub fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("list a directory").flatten();
    entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}

/// CVE-2015-1331: a link in the place of a lock file does not let its target be made or opened.
#[test]
fn locks_are_not_redirected() {
    needs!(root, ours);
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let name = dir.busybox("lock").build();
    let locks = format!("/run/lxc/lock/{}", dir.arg());
    std::fs::create_dir_all(&locks).unwrap();
    symlink(dir.join("victim"), format!("{locks}/.{name}")).unwrap();
    let said = dir.run(&ours, "lxc-destroy", &name, &[]).exits(1).stderr;
    assert!(said.contains("lock"), "{said}");
    assert!(!dir.join("victim").exists());
    assert!(dir.join(&name).join("config").exists(), "nothing was removed without the lock");
    // Nobody else may put such a link there.
    for directory in ["/run/lxc", "/run/lxc/lock", &*locks] {
        assert_eq!((mode(Path::new(directory)) & 0o022, std::fs::metadata(directory).unwrap().uid()), (0, 0));
    }
}

/// CVE-2015-1334: what the container has on its own /proc does not say with which rights an attached process runs.
#[test]
fn a_false_proc() {
    needs!(root, ours);
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let false_proc = dir.join("proc");
    for process in ["1", "self", "2", "3", "4"] {
        std::fs::create_dir_all(false_proc.join(process).join("attr")).unwrap();
        std::fs::write(false_proc.join(process).join("status"), "CapBnd:\t000001ffffffffff\nUid:\t0 0 0 0\n")
            .unwrap();
        std::fs::write(false_proc.join(process).join("attr/current"), "unconfined\n").unwrap();
    }
    let name = dir
        .busybox("proc")
        .quick()
        .line("lxc.mount.auto =")
        .line(format!("lxc.mount.entry = {} proc none bind 0 0", false_proc.display()))
        .line("lxc.cap.drop = sys_admin")
        .build();
    dir.start(&ours, &name);
    // CAP_SYS_ADMIN is one that init has not.
    let tried = dir.sh(&ours, &name, "mount -t tmpfs t /tmp 2>/dev/null && echo mounted; echo reached");
    assert_eq!(tried, "reached\n");
    assert_eq!(std::fs::read_to_string(false_proc.join("self/attr/current")).unwrap(), "unconfined\n");
}

/// CVE-2015-1335: a mount target that is a link to the host leads nowhere outside. `races` has those that become one.
#[test]
fn mount_targets_that_are_links() {
    needs!(root, ours);
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    std::fs::create_dir_all(dir.join("outside/there")).unwrap();
    let outside = dir.join("outside");
    let inside = outside.to_str().unwrap();
    let name = dir
        .busybox("target")
        .quick()
        .line("lxc.mount.entry = tmpfs target/made/deep tmpfs create=dir 0 0")
        .line("lxc.mount.entry = tmpfs target/there tmpfs create=dir 0 0")
        .line("lxc.mount.entry = tmpfs up/also tmpfs create=dir 0 0")
        .line("lxc.mount.entry = /dev/null target/file none bind,create=file 0 0")
        .build();
    let rootfs = dir.join(&name).join("rootfs");
    // The same path leads somewhere inside, too.
    std::fs::create_dir_all(rootfs.join(outside.strip_prefix("/").unwrap())).unwrap();
    symlink(&outside, rootfs.join("target")).unwrap();
    symlink(format!("../../../../../../../../../../../..{inside}"), rootfs.join("up")).unwrap();
    dir.start(&ours, &name);
    assert_eq!(names(&outside), ["there"], "a link outward was followed");
    // All of it is inside, where the same links lead within its own root.
    let mounts = dir.sh(&ours, &name, "cut -d' ' -f5 /proc/self/mountinfo");
    for mount in ["made/deep", "there", "file", "also"].map(|name| format!("{inside}/{name}")) {
        assert!(mounts.lines().any(|line| line == mount), "{mount} is not among {mounts}");
    }
    dir.kill(&ours, &name);
    // One of procfs leads nowhere at all.
    std::fs::remove_file(rootfs.join("target")).unwrap();
    symlink("/proc/self/root", rootfs.join("target")).unwrap();
    let said = dir.run(&ours, "lxc-start", &name, &["-d"]).exits(1).stderr;
    assert!(said.contains("target/"), "{said}");
    assert_eq!(names(&outside), ["there"], "a link of procfs was followed");
}

/// CVE-2016-8649: an attached process shows the container nothing of the host's while it enters.
#[test]
fn attach_shows_nothing_of_the_host() {
    needs!(root, ours, userns);
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let name = dir
        .busybox("spy")
        .init("/sbin/spy")
        .line("lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\nlxc.rootfs.options = idmap=container")
        .build();
    // What is no process of the container's own has the host's program.
    dir.script(
        &name,
        "sbin/spy",
        "trap 'exit 0' USR1; cd /proc; while :; do for p in [0-9]*; do \
         exe=$(readlink $p/exe) && case $exe in *busybox*) ;; *) echo \"$exe $(ls -l $p/fd)\" >>/seen ;; esac; \
         done; done 2>/dev/null",
    );
    dir.start(&ours, &name);
    for _ in 0..150 {
        assert_eq!(dir.sh(&ours, &name, "ls /proc/self/fd | wc -l"), "4\n", "0 to 2, and that of ls");
    }
    assert_eq!(dir.file(&name, "seen"), "");
    dir.kill(&ours, &name);
}

/// CVE-2016-10124: the terminal of whoever attaches is not the attached command's, who could type on it (TIOCSTI).
#[test]
fn the_callers_terminal_stays_outside() {
    needs!(root, ours);
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let name = dir.busybox("tty").quick().build();
    dir.start(&ours, &name);
    let mut command = ours.command("lxc-attach");
    let show = "for f in 0 1 2; do stat -Lc '%d %t:%T' /proc/self/fd/$f; done; stat -Lc '%d %t:%T' /dev/tty; echo end";
    command.args(["-P", dir.arg(), "-n", &name, "--", "sh", "-c", show]);
    let mut terminal = Terminal::spawn(&command, 24, 80);
    let shown = terminal.expect("end");
    let host = std::fs::metadata("/dev/pts").expect("the host's devpts").dev().to_string();
    let devices: Vec<&str> = shown.lines().filter_map(|l| l.split_whitespace().next()).collect();
    assert!(devices.len() >= 3, "{shown}");
    assert!(devices.iter().all(|d| *d != host), "a terminal of the host's ({host}): {shown}");
}

/// CVE-2019-5736: a command that the container has replaced by /proc/self/exe gets no program that can be written.
#[test]
fn the_program_cannot_be_overwritten() {
    needs!(root, ours);
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let name = dir.busybox("exe").init("/sbin/wait").build();
    let program = ours.path("lxc-attach");
    let before = std::fs::read(&program).expect("read our program");
    // The payload's program is that of whoever attaches, and somebody inside waits for it to end. The loop opens it:
    // `exec 3<` would end the shell, and with it the container, where the program has ended meanwhile.
    dir.script(
        &name,
        "sbin/wait",
        "trap 'exit 0' USR1; cd /proc; i=0; while :; do for p in [0-9]*; do [ $p -ne 1 ] || continue; \
         case $(readlink $p/exe) in ''|*busybox*) continue ;; esac; \
         while [ $i -lt 50 ]; do i=$((i + 1)); { echo owned >/proc/self/fd/3; } && echo written >>/seen && break; \
         usleep 2000; done 3</proc/$p/exe; i=0; done; done 2>/dev/null",
    );
    std::fs::write(dir.join(&name).join("rootfs/bin/trap"), "#!/proc/self/exe\n").unwrap();
    std::fs::set_permissions(dir.join(&name).join("rootfs/bin/trap"), PermissionsExt::from_mode(0o755))
        .unwrap();
    dir.start(&ours, &name);
    // A copy of the program is what is at stake: the attack succeeds where the defence is missing.
    let copy = dir.join("lxc-attach");
    std::fs::copy(&program, &copy).unwrap();
    for _ in 0..40 {
        let mut attach = Command::new(&copy);
        let _ = attach
            .args(["-P", dir.arg(), "-n", &name, "--", "/bin/trap"])
            .output()
            .expect("run a copy of lxc-attach");
    }
    dir.kill(&ours, &name);
    assert_eq!(dir.file(&name, "seen"), "");
    assert!(std::fs::read(&copy).unwrap() == before, "the program was overwritten");
}

/// CVE-2024-21626: a working directory that is a descriptor of the host's leads nowhere.
#[test]
fn working_directories() {
    needs!(root, ours);
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let name = dir.busybox("cwd").init("/sbin/look").build();
    dir.script(
        &name,
        "sbin/look",
        "{ /bin/pwd -P; ls -d ../*/cgroup.procs ../cgroup.procs cgroup.procs; } >/where 2>/dev/null; trap 'exit 0' USR1; \
         while :; do sleep 1000 & wait $!; done",
    );
    for number in 3..40 {
        let cwd = format!("lxc.init.cwd=/proc/self/fd/{number}");
        if dir.run(&ours, "lxc-start", &name, &["-d", "-s", &cwd]).code == 0 {
            lxc_testkit::eventually("init looked around", || !dir.file(&name, "where").is_empty());
            let shown = dir.file(&name, "where");
            dir.kill(&ours, &name);
            assert_eq!(shown, "/\n", "{cwd}");
        }
        std::fs::write(dir.join(&name).join("rootfs/where"), "").unwrap();
    }
    // The same for a command that is attached from such a directory.
    dir.start(&ours, &name);
    for number in 3..20 {
        let script = format!(
            "cd /proc/self/fd/{number} 2>/dev/null; exec {} -P {} -n {name} -- /bin/pwd -P",
            ours.path("lxc-attach").display(),
            dir.arg()
        );
        assert_eq!(sh(&script), "/\n", "{number}");
    }
}

/// CVE-2025-31133, CVE-2025-52565: devices and terminals that are made in an image's /dev land in it, wherever its links
/// point, and show the container nothing but themselves.
#[test]
fn devices_of_a_hostile_image() {
    needs!(root, ours);
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let outside = dir.join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "secret\n").unwrap();
    let name = dir
        .busybox("image")
        .quick()
        .line("lxc.autodev = 0\nlxc.mount.auto =\nlxc.tty.max = 1\nlxc.pty.max = 8")
        .build();
    let rootfs = dir.join(&name).join("rootfs");
    // The same path leads somewhere inside, too.
    let inside = rootfs.join(outside.strip_prefix("/").unwrap());
    std::fs::create_dir_all(&inside).unwrap();
    std::fs::write(inside.join("secret"), "").unwrap();
    let up = "../".repeat(12);
    let link = |node: &str| {
        let _ = std::fs::remove_file(rootfs.join("dev").join(node));
        symlink(format!("{up}{}/secret", outside.display()), rootfs.join("dev").join(node)).unwrap();
    };
    // A terminal is not shown elsewhere than in /dev.
    for node in ["console", "tty1"] {
        link(node);
        let said = dir.run(&ours, "lxc-start", &name, &["-d"]).exits(1).stderr;
        assert!(said.contains(&format!("/dev/{node}")), "{said}");
        std::fs::remove_file(rootfs.join("dev").join(node)).unwrap();
    }
    link("ptmx");
    link("null");
    dir.start(&ours, &name);
    let shown = dir.sh(&ours, &name, "timeout 1 cat /dev/console 2>/dev/null; cat /dev/null; echo looked");
    assert!(shown.ends_with("looked\n") && !shown.contains("secret"), "{shown}");
    dir.kill(&ours, &name);
    // The whole directory elsewhere.
    std::fs::remove_dir_all(rootfs.join("dev")).unwrap();
    symlink(&outside, rootfs.join("dev")).unwrap();
    dir.start(&ours, &name);
    dir.kill(&ours, &name);
    assert_eq!(names(&outside), ["secret"], "something was made outside");
    assert_eq!(std::fs::read_to_string(outside.join("secret")).unwrap(), "secret\n");
}

/// A template writes into the root file system that it is given, and nowhere else, though that was a container's before.
#[test]
fn a_root_file_system_that_was_used() {
    needs!(root, ours);
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let (outside, rootfs) = (dir.join("outside"), dir.join("used"));
    std::fs::create_dir_all(outside.join("sub")).unwrap();
    std::fs::write(outside.join("shadow"), "precious\n").unwrap();
    std::fs::create_dir_all(&rootfs).unwrap();
    for link in ["etc", "bin", "var", "tmp"] {
        symlink(&outside, rootfs.join(link)).unwrap();
    }
    let name = dir.name("used");
    dir.run(&ours, "lxc-create", &name, &["-t", "busybox", "--dir", rootfs.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(outside.join("shadow")).unwrap(), "precious\n");
    let mut left = names(&outside);
    left.sort();
    assert_eq!((left, mode(&outside)), (vec!["shadow".to_string(), "sub".into()], 0o755));
}

/// CVE-2025-52881: what is written to procfs goes there, whatever is mounted on the container's /proc.
#[test]
fn writes_to_a_false_procfs() {
    needs!(root, ours, program "nsenter");
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let file = dir.join("proc/sys/net/ipv4/ip_forward");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "untouched").unwrap();
    let name = dir
        .busybox("sysctl")
        .quick()
        .line("lxc.mount.auto =")
        .line(format!("lxc.mount.entry = {} proc none bind 0 0", dir.join("proc").display()))
        .line("lxc.sysctl.net.ipv4.ip_forward = 1")
        .build();
    dir.start(&ours, &name);
    let init = dir.init_pid(&ours, &name);
    assert_eq!(sh(&format!("nsenter -t {init} -n cat /proc/sys/net/ipv4/ip_forward")), "1\n");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "untouched");
}

/// A value with a line in it does not get into a configuration, where it would name a program that the host runs.
#[test]
fn lines_in_values() {
    needs!(root, ours);
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let name = dir.busybox("lines").build();
    let before = std::fs::read_to_string(dir.join(&name).join("config")).unwrap();
    for value in ["a\nlxc.hook.pre-start = /bin/false", "a\rlxc.hook.pre-start = /bin/false"] {
        let arguments = ["set", "-P", dir.arg(), "-n", &name, "lxc.uts.name", value];
        ours.run("lxc-config", &arguments).exits(1);
        let defined = format!("lxc.uts.name={value}");
        dir.run(&ours, "lxc-start", &name, &["-d", "-s", &defined]).exits(1);
    }
    // Names and directories get into values, too.
    let line = "x\nlxc.uts.name = y";
    let listing = dir.listing();
    for (command, of, more) in [
        ("lxc-create", line, &["-t", "busybox"][..]),
        ("lxc-copy", &*name, &["-N", line]),
        ("lxc-copy", &*name, &["-R", "-N", line]),
    ] {
        let said = dir.run(&ours, command, of, more).exits(1).stderr;
        assert!(said.contains("is not a valid container name"), "{said}");
    }
    assert_eq!(dir.listing(), listing);
    let elsewhere = dir.join("else\nlxc.uts.name = y");
    std::fs::create_dir(&elsewhere).unwrap();
    let place = elsewhere.to_str().unwrap();
    let copied = dir.run(&ours, "lxc-copy", &name, &["-N", "copy", "-p", place]).exits(1);
    let created = ours.run("lxc-create", &["-P", place, "-n", "made", "-t", "busybox"]).exits(1);
    for output in [copied, created] {
        assert!(output.stderr.contains("a value cannot contain a line break"), "{output}");
    }
    assert_eq!(names(&elsewhere), Vec::<String>::new());
    assert_eq!(std::fs::read_to_string(dir.join(&name).join("config")).unwrap(), before);
}

/// A program in a container that runs with its owner's rights cannot be run by a user of the host.
#[test]
fn setuid_programs_of_a_container() {
    needs!(root, ours, userns, program "setpriv");
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let config = dir.join("default.conf");
    std::fs::write(
        &config,
        "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\nlxc.net.0.type = empty\n",
    )
    .unwrap();
    let name = dir.name("suid");
    dir.run(&ours, "lxc-create", &name, &["-f", config.to_str().unwrap(), "-t", "busybox"]).ok();
    let program = dir.join(&name).join("rootfs/bin/busybox");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o4755)).unwrap();
    // By a shell: setpriv(1) itself still has its capabilities when it executes something.
    let try_it = format!(
        "setpriv --reuid=65534 --regid=65534 --clear-groups -- sh -c '{} id || echo refused' 2>/dev/null",
        program.display()
    );
    assert!(sh(&try_it).ends_with("refused\n"), "{}", sh(&try_it));
    assert_eq!(mode(&dir.join(&name)) & 0o007, 0);
    dir.start(&ours, &name);
    dir.kill(&ours, &name);
}

/// Another user of the host is refused by the command socket, even one who is root in a user namespace of its own.
#[test]
fn commands_of_other_users() {
    needs!(root, ours, program "setpriv", program "unshare");
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let name = dir.busybox("peer").quick().build();
    dir.start(&ours, &name);
    let stop = format!("{} -k -P {} -n {name}", ours.path("lxc-stop").display(), dir.arg());
    for shell in ["", "unshare -Ur "] {
        let script = format!(
            "HOME=/nowhere setpriv --reuid=65534 --regid=65534 --clear-groups -- {shell}{stop} 2>/dev/null || echo refused"
        );
        assert_eq!(sh(&script), "refused\n", "{shell}");
    }
    assert_eq!(dir.state(&ours, &name), "RUNNING");
}

/// No descriptor but those of stdio reaches init, whatever the caller had open.
#[test]
fn descriptors_of_the_caller() {
    needs!(root, ours);
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let name = dir.busybox("fds").init("/sbin/look").build();
    dir.script(
        &name,
        "sbin/look",
        "ls -l /proc/self/fd >/fds; trap 'exit 0' USR1; while :; do sleep 1000 & wait $!; done",
    );
    std::fs::write(dir.join("secret"), "").unwrap();
    let start = format!(
        "exec 7<{0}/secret 8</ 9>/dev/null; exec {1} -d -P {0} -n {name}",
        dir.arg(),
        ours.path("lxc-start").display()
    );
    sh(&start);
    lxc_testkit::eventually("init looked", || dir.file(&name, "fds").contains("2 ->"));
    let fds = dir.file(&name, "fds");
    assert!(!fds.contains("secret") && fds.lines().filter(|l| l.contains("->")).count() <= 4, "{fds}");
}

/// A start hook, which runs inside, does not see the environment of whoever starts the container.
#[test]
fn the_callers_environment() {
    needs!(root, ours);
    let (dir, ours) = (Lxcpath::new(), Suite::ours());
    let name = dir.busybox("env").quick().line("lxc.hook.start = /sbin/hook").build();
    dir.script(&name, "sbin/hook", "env >/env");
    let start = format!("SECRET=token {} -d -P {} -n {name}", ours.path("lxc-start").display(), dir.arg());
    sh(&start);
    assert!(!dir.file(&name, "env").contains("token"), "{}", dir.file(&name, "env"));
    let of_init = dir.sh(&ours, &name, "tr '\\0' '\\n' </proc/1/environ");
    assert!(!of_init.contains("token"), "{of_init}");
}

/// What the thread that serves the command socket is made to open is a cgroup or a terminal, and no file of the host's or
/// of the container's (Landlock).
#[test]
fn the_thread_that_serves() {
    needs!(root, ours, landlock, program "perl", machine "x86_64");
    let (ours, dir) = (Suite::ours(), Lxcpath::new());
    let name = dir.busybox("served").quick().build();
    dir.start(&ours, &name);
    // It serves by now, and so it is confined.
    assert_eq!(dir.state(&ours, &name), "RUNNING");
    let monitor = dir.monitor_pid(&name).expect("a monitor");
    let threads = std::fs::read_dir(format!("/proc/{monitor}/task")).expect("threads").flatten();
    let comm = |path: &PathBuf| std::fs::read_to_string(path.join("comm")).unwrap_or_default();
    let serves = threads.map(|t| t.path()).find(|t| comm(t) == "lxc-serve\n").expect("the thread");
    let config = dir.join(&name).join("config");
    let mut inject = std::process::Command::new("perl");
    inject.args(["-e", include_str!("inject.pl")]).arg(serves.file_name().unwrap());
    inject.args(["/etc/passwd", config.to_str().unwrap(), "/proc/1/environ", "/dev/pts"]).env("LC_ALL", "C");
    let said = lxc_testkit::Running::spawn(inject).wait().exits(0).stdout;
    let said: Vec<&str> = said.lines().map(|l| l.rsplit_once(": ").map_or("", |(_, what)| what)).collect();
    assert_eq!(said, ["Permission denied", "Permission denied", "Permission denied", "opened"]);
    // It goes on as if nothing had happened.
    assert_eq!(dir.state(&ours, &name), "RUNNING");
    dir.kill(&ours, &name);
    dir.gone(&ours, &name);
}

/// What is dropped is dropped for init, its children and whoever attaches, and is not got back by executing.
#[test]
fn capabilities_and_privileges() {
    needs!(root, ours);
    let (ours, dir) = (Suite::ours(), Lxcpath::new());
    let lines = ["lxc.cap.drop =", "lxc.cap.keep = chown setuid setgid", "lxc.no_new_privs = 1"];
    let name = lines.iter().fold(dir.busybox("caps").quick(), |b, line| b.line(*line)).build();
    dir.start(&ours, &name);
    let script =
        "for p in 1 self; do grep -E '^(Cap(Bnd|Eff|Prm)|NoNewPrivs)' /proc/$p/status; done | cut -f2";
    // CAP_CHOWN, CAP_SETGID, CAP_SETUID.
    let each = format!("{0}\n{0}\n{0}\n1\n", "00000000000000c1");
    assert_eq!(dir.sh(&ours, &name, script), each.repeat(2));
    assert_eq!(dir.sh(&ours, &name, "mount -t tmpfs none /mnt 2>/dev/null || echo refused"), "refused\n");
    dir.kill(&ours, &name);
}

/// The id of the host's boot, which would tell containers of one host, is not seen; nor is it changed from inside.
#[test]
fn the_boot_id_is_the_containers_own() {
    needs!(root, ours);
    const FILE: &str = "/proc/sys/kernel/random/boot_id";
    let (ours, dir) = (Suite::ours(), Lxcpath::new());
    let hosts = std::fs::read_to_string(FILE).unwrap();
    let name = dir.busybox("boot").quick().line("lxc.mount.auto = proc:rw").build();
    dir.start(&ours, &name);
    let own = dir.sh(&ours, &name, &format!("cat {FILE}"));
    assert!(own.len() == hosts.len() && own != hosts, "{own:?}");
    let script = format!("chmod 666 {FILE}; true >>{FILE}");
    dir.run(&ours, "lxc-attach", &name, &["--", "sh", "-c", &script]).exits(1);
    assert_eq!(dir.sh(&ours, &name, &format!("grep -c ' {FILE} ro' /proc/self/mountinfo")), "1\n");
    dir.kill(&ours, &name);
}
