//! lxc-user-nic, called as nobody should.

use lxc_testkit::net::HostDevices;
use lxc_testkit::user::{GROUP, LOGIN};
use lxc_testkit::{OrdinaryUser, Suite, needs};

/// A script of the user's in which `$N` is the helper, `$B` the bridge and `$PID` a process in a network namespace of
/// the user's; each call is followed by its status.
fn script(user: &OrdinaryUser, bridge: &str, text: &str) -> String {
    let helper = Suite::ours().path("../libexec/lxc/lxc-user-nic");
    let whole = format!(
        "N={}; B={bridge}; exec 2>&1; call() {{ \"$N\" \"$@\"; echo \"= $?\"; }}
         unshare -Urn sleep 60 >/dev/null 2>&1 & PID=$!
         until [ \"$(readlink /proc/$PID/ns/net)\" != \"$(readlink /proc/self/ns/net)\" ]; do sleep 0.01; done
         until grep -q . /proc/$PID/uid_map; do sleep 0.01; done
         {text}\nkill $PID",
        helper.display()
    );
    user.sh(&Suite::ours(), &whole).exits(0).stdout
}

/// A script of root's in a network namespace and a process namespace of its own, where there is a bridge `$B`, `as UID`
/// runs a command as a user, and `netns UID` leaves in `$PID` a process of that user in a network namespace of the
/// user's.
fn roots_script(user: &OrdinaryUser, text: &str) -> std::process::Command {
    let helper = Suite::ours().path("../libexec/lxc/lxc-user-nic");
    let whole = format!(
        "N={}; B=ubr0; exec 2>&1
         as() {{ u=$1; shift; setpriv --reuid=$u --regid=$u --init-groups \"$@\"; }}
         call() {{ u=$1; shift; as $u $N \"$@\"; echo \"= $?\"; }}
         netns() {{
             setpriv --reuid=$1 --regid=$1 --init-groups unshare -Urn sleep 60 >/dev/null 2>&1 & PID=$!
             until grep -q . /proc/$PID/uid_map && [ \"$(cat /proc/$PID/comm)\" = sleep ]; do
                 kill -0 $PID || exit; sleep 0.01
             done
         }}
         ip link add $B type bridge\n{text}\nkill $(jobs -p) 2>/dev/null; true",
        helper.display()
    );
    let mut command =
        user.roots_shell(&Suite::ours(), "exec unshare -n -p -f --kill-child --mount-proc sh -c \"$1\"");
    command.arg(whole);
    command
}

/// The name of the host's device in the helper's answer.
fn device(answer: &str) -> &str {
    answer.split(':').nth(2).unwrap_or_default()
}

#[test]
fn quotas() {
    needs!(root, ours, userns, ordinary_user);
    let user = OrdinaryUser::new();
    let bridge = HostDevices::bridge("nq", "");
    let b = bridge.name();
    user.allow(&format!("# {LOGIN} veth {b} 9\n{LOGIN} veth {b} 2\n@{GROUP} veth {b} 1\n{LOGIN} veth none 1\nroot veth {b} 9\n"));
    let text = script(&user, b, "for i in 1 2 3 4; do call create - - $PID veth $B; done
        call create - - $PID veth none foo; call create - - $PID veth none bar; call create - - $PID veth other");
    let lines: Vec<&str> = text.lines().collect();
    for (i, line) in [0, 2, 4].iter().enumerate() {
        assert!(lines[*line].starts_with(&format!("eth{i}:")) && lines[line + 1] == "= 0", "{text}");
    }
    assert!(lines[6].contains("Quota reached") && lines[7] == "= 1", "{text}");
    // Another bridge has a quota of its own.
    assert!(lines[8].starts_with("foo:") && lines[9] == "= 0", "{text}");
    assert!(lines[10].contains("Quota reached") && lines[11] == "= 1", "{text}");
    assert!(lines[12].contains("lxc-usernet has no line") && lines[13] == "= 1", "{text}");
    let nics = user.nics();
    let counted = |owner: &str| nics.lines().filter(|l| l.starts_with(&format!("{owner} veth {b} "))).count();
    assert_eq!((counted(LOGIN), counted(&format!("@{GROUP}"))), (2, 1), "{nics}");
    // The namespace goes, and the devices with it: their records do not count.
    let ports = format!("ip -o link show master {b}");
    lxc_testkit::eventually("the devices are gone", || lxc_testkit::net::sh(&ports).is_empty());
    let text = script(&user, b, "call create - - $PID veth $B eth7");
    assert!(text.starts_with("eth7:") && text.ends_with("= 0\n"), "{text}");
    assert_eq!(user.nics().lines().count(), 1, "{}", user.nics());
}

/// A namespace that is not the caller's, and what is none, get one answer, byte by byte: nobody learns by it which
/// files there are (CVE-2017-5985, CVE-2018-6556, CVE-2022-47952).
#[test]
fn namespaces_of_others() {
    needs!(root, ours, userns, ordinary_user);
    let user = OrdinaryUser::new();
    let bridge = HostDevices::bridge("no", "");
    user.allow(&format!("{LOGIN} veth {} 9\n", bridge.name()));
    let secret = user.dir.join("secret");
    std::fs::create_dir(&secret).unwrap();
    std::fs::write(secret.join("there"), "").unwrap();
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let text = script(&user, bridge.name(), "
        for p in 1 $$ 4194305 0; do call create - - $p veth $B; done
        for f in /proc/1/ns/net /proc/self/ns/net /proc/$PID/ns/user /etc/passwd /nowhere $P/secret/there \
            $P/secret/missing $P/secret / /dev/null /dev/tty ''; do call delete - - \"$f\" veth $B veth0; done");
    let answers: Vec<&str> = text.lines().collect();
    assert_eq!(answers.len(), 32, "{text}");
    for pair in answers.chunks(2) {
        assert_eq!(pair, [answers[0], "= 1"], "{text}");
    }
    assert!(answers[0].ends_with("or is not the caller's"), "{text}");
    assert_eq!(user.nics(), "");
}

#[test]
fn hostile_arguments() {
    needs!(root, ours, userns, ordinary_user);
    let user = OrdinaryUser::new();
    let bridge = HostDevices::bridge("nh", "");
    let b = bridge.name();
    user.allow(&format!("{LOGIN} veth {b} 3\n{LOGIN} veth lo 3\n"));
    let text = script(&user, b, "
        call; call create; call create - - $PID veth $B a b; call destroy - - $PID veth $B
        call create - - $PID macvlan $B; call create - - x/../1 veth $B; call create - - -1 veth $B
        call create - - \"$PID \" veth $B; call create - - $PID veth ../$B; call create - - $PID veth ''
        call create - - $PID veth $B ../x; call create - - $PID veth $B \"a b\"; call create - - $PID veth $B lo
        call create - - $PID veth $B 0123456789abcdef; call create - - $PID veth lo
        call create - - $PID veth $B \"$(printf 'a\\nb')\"; call create - - $PID veth $B ''");
    let (mut good, mut bad) = (0, 0);
    for line in text.lines() {
        match line {
            "= 0" => good += 1,
            "= 1" => bad += 1,
            _ => {}
        }
    }
    assert_eq!((good, bad), (0, 17), "{text}");
    assert_eq!(user.nics(), "");
    let devices = lxc_testkit::net::sh(&format!("ip link show master {b}"));
    assert_eq!(devices, "", "nothing stays on the bridge");
}

/// Only what was made for the caller is removed, and only with a namespace of the caller's in hand.
#[test]
fn removing() {
    needs!(root, ours, userns, ordinary_user);
    let user = OrdinaryUser::new();
    let (bridge, other) = (HostDevices::bridge("nd", ""), HostDevices::pair("nd"));
    user.allow(&format!("{LOGIN} veth {} 2\n", bridge.name()));
    let text = script(
        &user,
        bridge.name(),
        &format!(
            "
        call create - - $PID veth $B; D=$(ls /sys/class/net/$B/brif)
        call delete - - /proc/$PID/ns/net veth $B {}; call delete - - /proc/1/ns/net veth $B $D
        call delete - - /proc/$PID/ns/net veth none $D; call delete - - /proc/$PID/ns/net veth $B $D
        call delete - - /proc/$PID/ns/net veth $B $D",
            other.name()
        ),
    );
    let codes: Vec<&str> = text.lines().filter(|l| l.starts_with("= ")).collect();
    assert_eq!(codes, ["= 0", "= 1", "= 1", "= 1", "= 0", "= 1"], "{text}");
    assert_eq!(user.nics(), "");
    lxc_testkit::net::sh(&format!("ip link show {}", other.name()));
    assert!(!std::path::Path::new("/sys/class/net").join(device(&text)).exists());
}

/// The caller's descriptors, limits, environment and signals have no power over the helper: the registry stays whole.
#[test]
fn a_hostile_surrounding() {
    needs!(root, ours, userns, ordinary_user);
    let user = OrdinaryUser::new();
    let bridge = HostDevices::bridge("ns", "");
    user.allow(&format!("{LOGIN} veth {} 30\n", bridge.name()));
    let text = script(&user, bridge.name(), "
        call create - - $PID veth $B 0<&- 1>&- 2>&-; call create - - $PID veth $B >/dev/full
        (ulimit -f 0; call create - - $PID veth $B); (ulimit -n 8; call create - - $PID veth $B)
        (ulimit -v 20000 2>/dev/null; call create - - $PID veth $B)
        (PATH=/nowhere; IFS=@; LD_PRELOAD=/nowhere; export PATH IFS LD_PRELOAD; call create - - $PID veth $B)
        (trap '' CHLD PIPE; call create - - $PID veth $B)
        for i in 1 2 3 4 5 6 7 8; do $N create - - $PID veth $B & kill -STOP $! 2>/dev/null; kill -KILL $!; done; wait %2 2>/dev/null
        for j in 1 2 3; do call create - - $PID veth $B; done");
    // It does what it is asked for. Only where a limit is in its way it may say what this machine keeps root from.
    let answers: Vec<bool> = text.lines().filter(|l| l.starts_with("= ")).map(|l| l == "= 0").collect();
    let denied = text.lines().filter(|l| l.ends_with("limit: Operation not permitted (os error 1)")).count();
    assert_eq!(answers.len(), 8, "{text}");
    assert!(answers[3..].iter().all(|done| *done), "{text}");
    assert_eq!(answers[..3].iter().filter(|done| !**done).count(), denied, "{text}");
    // Whatever came of each call: what is a port is recorded.
    let nics = user.nics();
    let recorded: Vec<&str> = nics.lines().filter_map(|l| l.split(' ').nth(3)).collect();
    let ports = std::fs::read_dir(format!("/sys/class/net/{}/brif", bridge.name())).expect("ports").flatten();
    for port in ports {
        let port = port.file_name().to_string_lossy().into_owned();
        assert!(recorded.contains(&&*port), "{port} is not in {nics:?}: {text}");
    }
    assert!(nics.lines().all(|l| l.split(' ').count() == 4) && recorded.len() >= 5, "{nics}{text}");
}

/// A process whose pid is taken by another, or that changes its namespaces, between the look and the deed: the namespace
/// is held by a descriptor.
#[test]
fn racing_processes() {
    needs!(root, ours, userns, ordinary_user);
    let user = OrdinaryUser::new();
    let bridge = HostDevices::bridge("np", "");
    user.allow(&format!("{LOGIN} veth {} 1000\n", bridge.name()));
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    // A process that goes from its own network namespace to nowhere at all, again and again.
    let text = script(&user, bridge.name(), "
        i=0; while [ $i -lt 60 ]; do i=$((i + 1)); unshare -Urn true & $N create - - $! veth $B >/dev/null 2>&1; done
        wait %3 2>/dev/null; for r in 1 2 3; do $N create - - $PID veth $B >/dev/null; done; echo done");
    assert!(text.ends_with("done\n"), "{text}");
    assert_eq!(own, std::fs::read_link("/proc/self/ns/net").unwrap());
    let ports = format!("ip -o link show master {}", bridge.name());
    lxc_testkit::eventually("the devices go with their namespaces", || {
        lxc_testkit::net::sh(&ports).is_empty()
    });
    // None whose other end was to go elsewhere has stayed on the host.
    for line in user.nics().lines() {
        let device = line.split(' ').nth(3).unwrap_or_default();
        assert!(!std::path::Path::new("/sys/class/net").join(device).exists(), "{line}");
    }
}

/// A process that was the caller's is gone when the device is made, and another has its pid: the device does not go to
/// that one's network namespace (CVE-2017-5985).
#[test]
fn a_pid_that_is_anothers_by_then() {
    needs!(root, ours, userns, ordinary_user, file "/proc/sys/kernel/ns_last_pid");
    let user = OrdinaryUser::new();
    user.allow(&format!("{LOGIN} veth ubr0 9\n"));
    // The helper has looked, and waits for another one.
    let nics = std::fs::File::create(user.dir.join("run/nics")).unwrap();
    rustix::fs::fcntl_lock(&nics, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    let text = "netns $U; X=$PID
        setpriv --reuid=$U --regid=$U --init-groups $N create - - $X veth $B eth7 & H=$!
        until ls -l /proc/$H/fd | grep -q lxc/nics; do kill -0 $H || exit; sleep 0.01; done
        kill -KILL $X; wait $X
        for try in 1 2 3 4 5 6 7 8 9; do
            echo $((X - 1)) >/proc/sys/kernel/ns_last_pid; sleep 60 >/dev/null 2>&1 & [ $! != $X ] || break
        done
        [ $! = $X ] || exit
        touch $P/ready; wait $H; echo \"= $?\"; ip -o link show eth7";
    let running = lxc_testkit::Running::spawn(roots_script(&user, text));
    lxc_testkit::eventually("the pid is another's", || user.dir.join("ready").exists());
    rustix::fs::fcntl_lock(&nics, rustix::fs::FlockOperation::Unlock).unwrap();
    let output = running.wait();
    assert!(output.stdout.contains("eth7:") && output.stdout.contains("= 0\n"), "{output}");
    assert!(output.stdout.contains("\"eth7\" does not exist"), "{output}");
}

/// Many that ask at once get no more than they would one after the other.
#[test]
fn many_at_once() {
    needs!(root, ours, userns, ordinary_user);
    let user = OrdinaryUser::new();
    let bridge = HostDevices::bridge("nm", "");
    let b = bridge.name();
    user.allow(&format!("{LOGIN} veth {b} 3\n"));
    let text = script(
        &user,
        b,
        "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
            { $N create - - $PID veth $B >/dev/null 2>&1 && echo made || echo refused; } & all=\"$all $!\"; done
         wait $all; ls /sys/class/net/$B/brif | wc -l",
    );
    let count = |what: &str| text.lines().filter(|l| *l == what).count();
    assert_eq!((count("made"), count("refused"), count("3")), (3, 9, 1), "{text}");
    assert_eq!(user.nics().lines().count(), 3, "{}", user.nics());
}

/// What a group may have, two of its members have together; and neither removes what is the other's.
#[test]
fn two_members_of_a_group() {
    use lxc_testkit::user::UID;
    needs!(root, ours, userns, ordinary_user);
    let user = OrdinaryUser::new();
    let second = UID + 2;
    let add = |file: &str, change: &dyn Fn(String) -> String| {
        let path = user.dir.join("etc").join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, change(text)).unwrap();
    };
    add("passwd", &|text| format!("{text}second:x:{second}:{second}::/:/bin/sh\n"));
    add("group", &|text| {
        let with = text.replace(&format!(":{LOGIN}\n"), &format!(":{LOGIN},second\n"));
        format!("{with}second:x:{second}:\n")
    });
    user.allow(&format!("@{GROUP} veth ubr0 2\nsecond veth ubr0 1\n"));
    let text = format!(
        "S={second}; netns $U; A=$PID; netns $S
        D=$(as $U $N create - - $A veth $B one | cut -d: -f3)
        call $U create - - $A veth $B two
        call $S create - - $PID veth $B own
        call $S create - - $PID veth $B more
        call $S delete - - /proc/$PID/ns/net veth $B $D
        call $S delete - - /proc/$A/ns/net veth $B $D
        call $U delete - - /proc/$A/ns/net veth $B $D
        call $S create - - $PID veth $B more"
    );
    let output = lxc_testkit::Running::spawn(roots_script(&user, &text)).wait();
    let codes: Vec<&str> = output.stdout.lines().filter(|l| l.starts_with("= ")).collect();
    assert_eq!(codes, ["= 0", "= 0", "= 1", "= 1", "= 1", "= 0", "= 0"], "{output}");
    for said in ["Quota reached", "has no end in that network namespace", "is not the caller's"] {
        assert!(output.stdout.contains(said), "{said}: {output}");
    }
}

/// CVE-2026-39402: a device of another user's is not removed by whoever may have devices on the same bridge.
#[test]
fn devices_of_other_users() {
    needs!(root, ours, userns, ordinary_user);
    let user = OrdinaryUser::new();
    let (bridge, other) = (HostDevices::bridge("nv", ""), HostDevices::pair("nv"));
    let (b, device) = (bridge.name(), other.name());
    lxc_testkit::net::sh(&format!("ip link set {device} master {b}"));
    user.allow(&format!("{LOGIN} veth {b} 2\n"));
    let records = format!("somebody veth {b} {device}\n@somebody veth {b} {device}\n");
    std::fs::write(user.dir.join("run/nics"), &records).unwrap();
    let text = script(&user, b, &format!("call delete - - /proc/$PID/ns/net veth $B {device}"));
    assert!(text.contains("was not made for") && text.ends_with("= 1\n"), "{text}");
    lxc_testkit::net::sh(&format!("ip link show {device}"));
    assert_eq!(user.nics(), records);
}

/// CVE-2018-6556: nothing that the caller names is opened with more rights than the caller has.
#[test]
fn files_are_opened_by_the_caller() {
    use rustix::fs::inotify;
    needs!(root, ours, userns, ordinary_user);
    let user = OrdinaryUser::new();
    let bridge = HostDevices::bridge("nf", "");
    user.allow(&format!("{LOGIN} veth {} 9\n", bridge.name()));
    let secret = user.dir.join("secret");
    std::fs::write(&secret, "").unwrap();
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let watcher = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&watcher, &secret, inotify::WatchFlags::OPEN).unwrap();
    let text = script(&user, bridge.name(), "call delete - - $P/secret veth $B veth0");
    assert!(text.ends_with("= 1\n"), "{text}");
    let seen = rustix::io::read(&watcher, &mut [0; 256]);
    assert_eq!(seen, Err(rustix::io::Errno::AGAIN), "somebody opened it");
}

/// What a group may have is not each member's: a device goes only with the namespace that its other end is in.
#[test]
fn devices_of_a_group() {
    needs!(root, ours, userns, ordinary_user);
    let user = OrdinaryUser::new();
    let bridge = HostDevices::bridge("ng", "");
    let b = bridge.name();
    user.allow(&format!("@{GROUP} veth {b} 2\n"));
    let text = script(
        &user,
        b,
        "D=$($N create - - $PID veth $B eth0 | cut -d: -f3); echo $D
         unshare -Urn sleep 60 >/dev/null 2>&1 & OTHER=$!
         until [ \"$(readlink /proc/$OTHER/ns/net)\" != \"$(readlink /proc/self/ns/net)\" ]; do sleep 0.01; done
         until grep -q . /proc/$OTHER/uid_map; do sleep 0.01; done
         call create - - $OTHER veth $B eth0
         call delete - - /proc/$OTHER/ns/net veth $B $D
         call delete - - /proc/$PID/ns/net veth $B $D; kill $OTHER",
    );
    let device = text.lines().next().unwrap_or_default();
    let refused = format!("{device} on {b} has no end in that network namespace\n= 1\n= 0\n");
    assert!(!device.is_empty() && text.ends_with(&refused), "{text}");
    assert!(!user.nics().contains(device), "{}", user.nics());
}

/// Whoever does not read the answer keeps nobody from making devices.
#[test]
fn an_answer_that_nobody_reads() {
    needs!(root, ours, userns, ordinary_user);
    let user = OrdinaryUser::new();
    let bridge = HostDevices::bridge("nw", "");
    let b = bridge.name();
    user.allow(&format!("{LOGIN} veth {b} 9\n"));
    let text = script(
        &user,
        b,
        "(dd if=/dev/zero bs=65536 count=1 2>/dev/null; $N create - - $PID veth $B one 2>&1) | { sleep 4; echo over; } &
         until ip link show master $B | grep -q veth; do sleep 0.05; done
         call create - - $PID veth $B two; wait $!",
    );
    let two = text.find("two:").unwrap_or_else(|| panic!("{text}"));
    assert!(two < text.find("over").expect("the other one ends"), "{text}");
    // What nobody has heard of is taken back.
    assert!(lxc_testkit::within(std::time::Duration::from_secs(5), || user.nics().lines().count() <= 1));
}
