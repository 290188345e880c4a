//! What processes of a container see and may do, compared with the same container under the peer.

use lxc_testkit::{Lxcpath, Suite, needs};

/// Looks at everything that a configuration can change.
const LOOK: &str = r#"
section() { echo; echo \== $*; }
section mounts
# Without the numbers of mounts and devices, and the sizes that follow the machine.
while read id parent dev root point options rest; do echo $root $point $options ${rest#* - }; done </proc/self/mountinfo
section root; ls -A /
# Without the modes of the terminals, which are the console's business: the peer lets the owner execute them.
section dev; ls -lA /dev /dev/pts /dev/shm | awk '{ print $5 ~ /^136/ ? n : $1, $3, $4, $5, $NF }'
section dev links; for f in /dev/*; do [ -L $f ] && echo $f $(readlink $f); done
section init; tr '\0' '\n' </proc/1/environ | grep -v ^container_ttys= | sort; tr '\0' ' ' </proc/1/cmdline; echo
section status
# A shell blocks all signals for moments, before it waits for its children.
n=0; until status=$(cat /proc/1/status); echo "$status" | grep -q '^SigBlk:.0*$' || [ $((n += 1)) -gt 20 ]; do sleep 0.1; done
echo "$status" | grep -E '^(Name|Umask|Uid|Gid|Groups|NStgid|NSpid|NSsid|Seccomp|NoNewPrivs|Cap|Sig[BCI])'
section fds; for f in /proc/1/fd/*; do echo ${f##*/} $(readlink $f); done
section cwd; readlink /proc/1/cwd; readlink /proc/1/root
section cgroup; cat /proc/1/cgroup
section limits; cat /proc/1/limits
section adjustments; cat /proc/1/oom_score_adj /proc/1/timerslack_ns /proc/1/sched_policy 2>/dev/null
section maps; cat /proc/1/uid_map /proc/1/gid_map /proc/1/setgroups
section network; ip -o link; cat /proc/net/route
section system; hostname; uname -m; cat /proc/sys/kernel/domainname /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax
section writable; for d in / /proc/sys/kernel /sys /proc/sysrq-trigger /sys/fs/cgroup /sys/devices; do
  [ -w $d ] && echo $d; done
section tty; ls -l /dev/console /dev/tty1 /dev/ptmx 2>&1 | awk '{ print $3, $4, $5, $6 }'
"#;

/// The look under one suite, with what differs between any two starts taken out.
fn look(suite: &Suite, lines: &[&str]) -> Vec<String> {
    let dir = Lxcpath::new();
    let builder =
        lines.iter().fold(dir.busybox("look").quick(), |b, line| b.line(line.replace("PATH", dir.arg())));
    let name = builder.build();
    // For the variants that mount something.
    std::fs::create_dir(dir.join("src")).unwrap();
    std::fs::write(dir.join("fstab"), "tmpfs mnt tmpfs size=4k 0 0\n").unwrap();
    let output = dir.run(suite, "lxc-start", &name, &["-d"]);
    assert_eq!(output.code, 0, "{lines:?}: {output}");
    let text = dir.run(suite, "lxc-attach", &name, &["--clear-env", "--", "sh", "-c", LOOK]).exits(0).stdout;
    text.lines().map(|l| normal(&dir.normal(l, &name))).collect()
}

fn normal(line: &str) -> String {
    // The name of the source of a cgroup mount means nothing.
    for named in [" cgroup cgroup ", " cgroup2 cgroup ", " cgroup2 cgroup2 "] {
        if let (true, Some((kind, _))) = (line.contains(named), named.trim().split_once(' ')) {
            return line.replace(named, &format!(" {kind} none "));
        }
    }
    if line.contains(" /sys/fs/cgroup") {
        return line.replace(" tmpfs tmpfs ", " tmpfs none ");
    }
    // The peer forgets that the host's file system is mounted with noatime, where it mounts it with options.
    if line.contains("/NAME/rootfs / ") {
        return line.replace(",noatime", "").replace(",relatime", "");
    }
    // Inode numbers of pipes, and the numbers of terminals which other tests take at the same time.
    match line.split_once("pipe:[") {
        Some((before, _)) => format!("{before}pipe"),
        None => line.to_string(),
    }
}

/// Describes the differences, if there are any.
fn differences(lines: &[&str]) -> Option<String> {
    let ours = look(&Suite::ours(), lines);
    let peer = look(&Suite::peer(), lines);
    let only = |a: &[String], b: &[String]| a.iter().filter(|l| !b.contains(l)).cloned().collect::<Vec<_>>();
    let (more, less) = (only(&ours, &peer), only(&peer, &ours));
    if !more.is_empty() || !less.is_empty() {
        return Some(format!("{lines:?}\nonly ours: {more:#?}\nonly the peer: {less:#?}"));
    }
    // In which order the cgroup hierarchies are mounted does not matter.
    let ordered = |lines: &[String]| {
        lines.iter().filter(|l| !l.contains(" /sys/fs/cgroup")).cloned().collect::<Vec<_>>()
    };
    let (ours, peer) = (ordered(&ours), ordered(&peer));
    let differ = ours.iter().zip(&peer).find(|(a, b)| a != b);
    differ.map(|pair| format!("{lines:?}: the order differs: {pair:#?}"))
}

/// The peer drops these flags silently from a mount that binds.
#[test]
fn a_bind_mount_has_the_flags_that_were_asked_for() {
    needs!(root, ours);
    let dir = Lxcpath::new();
    let line = "lxc.mount.entry = /etc/hostname etc/file none bind,create=file,ro,nosuid,nodev,noexec 0 0";
    let name = dir.busybox("flags").quick().line(line).build();
    dir.start(&Suite::ours(), &name);
    let text = dir.sh(&Suite::ours(), &name, "grep ' /etc/file ' /proc/self/mountinfo");
    assert!(text.contains(" /etc/file ro,nosuid,nodev,noexec"), "{text}");
}

/// One test for each group of variants.
macro_rules! variants {
    ($($(#[$doc:meta])* $test:ident: [$([$($line:literal),*]),+ $(,)?])+) => {$(
        $(#[$doc])*
        #[test]
        fn $test() {
            needs!(root, ours, peer);
            let lines: &[&[&str]] = &[$(&[$($line),*]),+];
            if lines.concat().iter().any(|line| line.contains("lxc.idmap")) {
                needs!(peer_maps);
            }
            let all = [$(differences(&[$($line),*])),+];
            let found: Vec<String> = all.into_iter().flatten().collect();
            assert!(found.is_empty(), "{}", found.join("\n"));
        }
    )+};
}

variants! {
    an_ordinary_container: [[]]
    automatic_mounts: [
        ["lxc.mount.auto =", "lxc.mount.auto = proc:rw sys:rw"],
        ["lxc.mount.auto =", "lxc.mount.auto = proc sys:ro cgroup:ro"],
        ["lxc.mount.auto =", "lxc.mount.auto = cgroup:rw:force proc sys"],
        ["lxc.mount.auto =", "lxc.mount.auto = cgroup-full:mixed:force proc sys"],
        ["lxc.mount.auto ="],
    ]
    devices_and_terminals: [
        ["lxc.autodev = 0"],
        ["lxc.autodev.tmpfs.size = 100000"],
        ["lxc.tty.dir = lxc"],
        ["lxc.tty.max = 0"],
        ["lxc.console.path = none"],
    ]
    mount_entries: [
        ["lxc.mount.entry = PATH/src mnt none bind,ro 0 0"],
        ["lxc.mount.entry = PATH/src a/b/c none bind,create=dir 0 0"],
        ["lxc.mount.entry = /etc/hostname etc/file none bind,create=file 0 0"],
        ["lxc.mount.entry = /nonexistent mnt none bind,optional 0 0"],
        ["lxc.mount.entry = tmpfs mnt tmpfs rw,nosuid,nodev,noexec,relatime,size=8k,mode=0700 0 0"],
        ["lxc.mount.entry = PATH/src mnt none rbind,rslave,create=dir 0 0"],
        ["lxc.mount.fstab = PATH/fstab"],
    ]
    the_root_file_system: [
        ["lxc.rootfs.options = ro"],
        ["lxc.rootfs.options = nosuid,nodev"],
    ]
    capabilities: [
        ["lxc.cap.drop =", "lxc.cap.drop = sys_admin mknod net_raw"],
        ["lxc.cap.drop =", "lxc.cap.keep = chown sys_chroot kill net_bind_service setuid setgid"],
        ["lxc.cap.drop ="],
        ["lxc.no_new_privs = 1"],
    ]
    limits_and_settings: [
        ["lxc.prlimit.nofile = 100:200", "lxc.prlimit.core = unlimited", "lxc.prlimit.nproc = 500"],
        [
            "lxc.mount.auto =",
            "lxc.mount.auto = proc:rw sys",
            "lxc.sysctl.net.ipv4.ip_forward = 1",
            "lxc.sysctl.kernel.shmmax = 65536"
        ],
        ["lxc.proc.oom_score_adj = 10"],
    ]
    the_identity_of_init: [
        ["lxc.init.uid = 1000", "lxc.init.gid = 1001"],
        ["lxc.init.cwd = /tmp"],
        ["lxc.environment = A=1", "lxc.environment = B=two words", "lxc.environment = PATH=/bin"],
        ["lxc.arch = x86_64"],
    ]
    namespaces: [
        [
            "lxc.namespace.clone = mnt pid ipc uts net",
            "lxc.mount.auto =",
            "lxc.mount.auto = proc sys"
        ],
        ["lxc.uts.name = other.example.org"],
    ]
    /// The root file system is shown with other ids: nothing in it is changed.
    mapped_ids: [
        [
            "lxc.idmap = u 0 100000 65536",
            "lxc.idmap = g 0 100000 65536",
            "lxc.rootfs.options = idmap=container"
        ],
        [
            "lxc.idmap = u 0 100000 1000",
            "lxc.idmap = u 1000 200000 1000",
            "lxc.idmap = g 0 100000 1000",
            "lxc.idmap = g 1000 200000 1000",
            "lxc.rootfs.options = idmap=container",
            "lxc.mount.auto =",
            "lxc.mount.auto = proc sys cgroup:rw:force"
        ],
    ]
}
