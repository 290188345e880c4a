//! Containers of ordinary users.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use lxc_testkit::net::HostDevices;
use lxc_testkit::user::{FIRST, LOGIN, UID};
use lxc_testkit::{OrdinaryUser, Suite, needs};

use super::storage::sh;

/// A whole life, by one suite's commands until it runs and by another's from then on.
fn life(starter: &Suite, manager: &Suite) {
    let user = OrdinaryUser::new();
    let name = user.dir.name("user");
    user.run(starter, "lxc-create", &name, "-t busybox -- >/dev/null 2>&1").exits(0);
    user.run(starter, "lxc-start", &name, "-d").exits(0);
    let of_manager = |command, arguments: &str| user.run(manager, command, &name, arguments).exits(0).stdout;
    assert_eq!(of_manager("lxc-info", "-sH"), "RUNNING\n");
    let inside = of_manager(
        "lxc-attach",
        "-- sh -c 'id -u; cat /proc/self/uid_map; echo x >/tmp/new; ls -ln /dev/console'",
    );
    let words: Vec<&str> = inside.split_whitespace().collect();
    assert_eq!(words[..4], ["0", "0", &FIRST.to_string(), "65536"], "{inside}");
    assert_eq!(words[6], "0", "the console belongs to root: {inside}");
    let made =
        std::fs::metadata(user.dir.join(&name).join("rootfs/tmp/new")).expect("a file of the container");
    assert_eq!(made.uid(), FIRST);
    assert!(user.sh(manager, "lxc-ls -P $P -f").exits(0).stdout.contains("true"));
    of_manager("lxc-stop", "-k");
    assert_eq!(of_manager("lxc-info", "-sH"), "STOPPED\n");
    user.dir.gone(manager, &name);
    of_manager("lxc-destroy", "");
    assert!(!user.dir.join(&name).exists());
}

#[test]
fn a_life() {
    needs!(root, ours, userns, ordinary_user);
    life(&Suite::ours(), &Suite::ours());
}

#[test]
fn with_the_peer() {
    needs!(root, ours, peer, userns, ordinary_user);
    life(&Suite::ours(), &Suite::peer());
    life(&Suite::peer(), &Suite::ours());
}

/// An archive of a root file system: its files get the container's ids, its device nodes are left out.
#[test]
fn of_an_image() {
    needs!(root, ours, userns, ordinary_user);
    let (user, ours) = (OrdinaryUser::new(), Suite::ours());
    let (tree, archive) = (user.dir.join(".tree"), user.dir.join("home/tree.tar.gz"));
    lxc_testkit::container::busybox_rootfs(&tree);
    sh(&format!(
        "cd {0} && echo hers >etc/hers && chown 5:6 etc/hers && chmod 4755 etc/hers && mknod dev/null c 1 3 && \
         tar --numeric-owner -czf {1} . && chmod 644 {1} && rm -r {0}",
        tree.display(),
        archive.display()
    ));
    let name = user.dir.name("image");
    user.run(&ours, "lxc-create", &name, &format!("-t local -- -f {}", archive.display())).ok();
    let root = user.dir.join(&name).join("rootfs");
    let meta = std::fs::metadata(root.join("etc/hers")).unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (FIRST + 5, FIRST + 6, 0o4755));
    assert!(!root.join("dev/null").exists());
    user.run(&ours, "lxc-start", &name, "-d -s lxc.init.cmd=/sbin/quick -s lxc.mount.auto=proc:mixed").ok();
    let said = user.run(&ours, "lxc-attach", &name, "-- stat -c %u:%g:%a /etc/hers").ok();
    assert_eq!(said, "5:6:4755\n");
    user.run(&ours, "lxc-stop", &name, "-k").ok();
    user.run(&ours, "lxc-destroy", &name, "").ok();
    assert!(!user.dir.join(&name).exists());
}

/// Copies, snapshots, an export and an import: with the container's ids, and nothing of them is left.
#[test]
fn copies_and_snapshots() {
    needs!(root, ours, userns, ordinary_user);
    let (user, ours) = (OrdinaryUser::new(), Suite::ours());
    let run = |command: &str, name: &str, arguments: &str| user.run(&ours, command, name, arguments);
    let boot = |name: &str, script: &str| {
        run("lxc-start", name, "-d").ok();
        let said = run("lxc-attach", name, &format!("-- sh -c '{script}'")).ok();
        run("lxc-stop", name, "-k").ok();
        said
    };
    let name = user.dir.name("source");
    run("lxc-create", &name, "-t busybox").ok();
    boot(&name, "echo one >/etc/marker");
    let (copy, layers, renamed) = (user.dir.name("copy"), user.dir.name("layers"), user.dir.name("renamed"));
    run("lxc-copy", &name, &format!("-N {copy}")).ok();
    assert_eq!(boot(&copy, "cat /etc/marker; hostname; stat -c %u /etc/marker"), format!("one\n{copy}\n0\n"));
    let meta = std::fs::metadata(user.dir.join(&copy).join("rootfs/etc/marker")).unwrap();
    assert_eq!(meta.uid(), FIRST);
    let own = std::fs::metadata(user.dir.join(&copy).join("config")).unwrap();
    assert_eq!(own.uid(), UID, "the configuration is the user's own");
    run("lxc-copy", &name, &format!("-s -N {layers}")).ok();
    assert_eq!(
        boot(
            &layers,
            "cat /etc/marker; rm -r /etc/init.d; mkdir /etc/init.d; echo two >/etc/marker; ls /etc/init.d"
        ),
        "one\n"
    );
    run("lxc-snapshot", &layers, "").ok();
    assert_eq!(boot(&layers, "cat /etc/marker; ls /etc/init.d; echo three >/etc/marker"), "two\n");
    run("lxc-snapshot", &layers, "-r snap0").ok();
    assert_eq!(boot(&layers, "cat /etc/marker"), "two\n");
    run("lxc-copy", &copy, &format!("-R -N {renamed}")).ok();
    assert_eq!(boot(&renamed, "hostname"), format!("{renamed}\n"));
    run("lxc-destroy", &renamed, "").ok();
    let imported = user.dir.name("imported");
    user.sh(
        &ours,
        &format!("cd $HOME && lxc export -P $P -n {name} && lxc import -P $P -n {imported} {name}.tar.zst"),
    )
    .ok();
    assert_eq!(boot(&imported, "cat /etc/marker; stat -c %u /etc/marker"), "one\n0\n");
    for gone in [&imported, &layers, &name] {
        run("lxc-destroy", gone, "-s").ok();
    }
    for gone in [&imported, &layers, &name, &copy, &renamed] {
        assert!(!user.dir.join(gone).exists(), "{gone}");
    }
    let refused = run("lxc-create", &name, "-t busybox -B loop").exits(1);
    assert!(refused.stderr.contains("Unprivileged users can only create"), "{refused}");
}

/// Through a home that nobody else may enter, and by Debian's names of the commands.
#[test]
fn in_a_closed_home() {
    needs!(root, ours, userns, ordinary_user);
    let (user, ours) = (OrdinaryUser::new(), Suite::ours());
    let name = user.dir.name("home");
    let script = format!(
        "umask 077; lxc-create -n {name} -t busybox && lxc-unpriv-start -n {name} && \
         lxc-unpriv-attach -n {name} -- /bin/echo here; lxc-stop -k -n {name}; stat -c '%u:%g %a' \
         .local/share/lxc/{name}; lxc-destroy -n {name}; ls -A .local/share/lxc"
    );
    assert_eq!(user.sh(&ours, &script).ok(), format!("here\n{UID}:{FIRST} 710\n"));
    let mode = user.dir.join("home").metadata().expect("the home").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

/// What the user may not map is refused before anything is made, with the line that would let it.
#[test]
fn ids_that_are_not_the_users() {
    needs!(root, ours, userns, ordinary_user);
    let (user, ours) = (OrdinaryUser::new(), Suite::ours());
    let name = user.dir.name("ids");
    let refused = |script: &str| user.sh(&ours, script).exits(1).stderr;
    let line = format!("lxc.idmap = u 0 {FIRST} 65537");
    std::fs::write(user.dir.join("home/bad"), format!("{line}\nlxc.idmap = g 0 {FIRST} 65536\n")).unwrap();
    let said = refused(&format!("lxc-create -P $P -n {name} -f $HOME/bad -t busybox"));
    assert!(
        said.contains(&format!("{line}: /etc/subuid gives {LOGIN} only {FIRST}-{}", FIRST + 65535)),
        "{said}"
    );
    assert!(said.contains(&format!("`{LOGIN}:{FIRST}:65537`")), "{said}");
    std::fs::write(user.dir.join("home/bad"), "lxc.net.0.type = empty\n").unwrap();
    let said = refused(&format!("lxc-create -P $P -n {name} -f $HOME/bad -t busybox"));
    assert!(said.contains("lxc.idmap is missing") && said.contains(&format!("u 0 {FIRST} 65536")), "{said}");
    assert!(!user.dir.join(&name).exists());
    user.run(&ours, "lxc-create", &name, "-t busybox").ok();
    let said = user.run(&ours, "lxc-start", &name, "-s lxc.idmap='u 70000 0 1'").exits(1).stderr;
    assert!(said.contains(&format!("lxc.idmap = u 70000 0 1: /etc/subuid gives {LOGIN} only")), "{said}");
    // What stands in the way of another user's container is not touched.
    assert!(user.dir.join(&name).join("config").exists());
}

/// A hook of the container runs with the user's rights, never with more.
#[test]
fn hooks_run_as_the_user() {
    needs!(root, ours, userns, ordinary_user);
    let (user, ours) = (OrdinaryUser::new(), Suite::ours());
    let name = user.dir.name("hooks");
    user.run(&ours, "lxc-create", &name, "-t busybox").ok();
    let hook = user
        .dir
        .host_script("hook", "{ id -ru; id -u; grep -E 'Cap(Prm|Eff)' /proc/self/status; } >$HOME/ids");
    user.run(&ours, "lxc-start", &name, &format!("-s lxc.hook.pre-start={hook}")).ok();
    let ids = std::fs::read_to_string(user.dir.join("home/ids")).expect("what the hook wrote");
    let words: Vec<&str> = ids.split_whitespace().collect();
    let uid = UID.to_string();
    assert_eq!(words[..2], [&*uid, &*uid]);
    assert!(words[3..].iter().step_by(2).all(|caps| u64::from_str_radix(caps, 16) == Ok(0)), "{ids}");
    user.run(&ours, "lxc-stop", &name, "-k").ok();
}

/// Where no cgroup is writable the container runs without, which the log says; limits that are asked for are refused.
#[test]
fn without_cgroups() {
    needs!(root, ours, userns, ordinary_user);
    let (user, ours) = (OrdinaryUser::new(), Suite::ours());
    let name = user.dir.name("bare");
    user.run(&ours, "lxc-create", &name, "-t busybox").ok();
    user.run(&ours, "lxc-start", &name, "-l WARN -o $HOME/log").ok();
    let log = std::fs::read_to_string(user.dir.join("home/log")).expect("the log");
    assert!(log.contains("no cgroup here is writable for this user"), "{log}");
    assert_eq!(lxc_testkit::process::cgroups_of(&name), Vec::<std::path::PathBuf>::new());
    user.run(&ours, "lxc-stop", &name, "-k").ok();
    let v2 = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let key = if v2 { "lxc.cgroup2.pids.max" } else { "lxc.cgroup.pids.max" };
    let said = user.run(&ours, "lxc-start", &name, &format!("-s {key}=10")).exits(1).stderr;
    assert!(said.contains(key), "{said}");
}

/// A v1 hierarchy in which somebody has given the user a cgroup is used.
#[test]
fn in_a_cgroup_of_its_own() {
    needs!(root, ours, userns, ordinary_user, cgroup_v1, file "/sys/fs/cgroup/pids");
    let (user, ours) = (OrdinaryUser::new(), Suite::ours());
    let name = user.dir.name("own");
    let own = format!("/sys/fs/cgroup/pids/{name}-of-user");
    std::fs::create_dir(&own).expect("make a cgroup");
    for file in ["", "/tasks", "/cgroup.procs"] {
        std::os::unix::fs::chown(format!("{own}{file}"), Some(UID), Some(UID)).expect("give it to the user");
    }
    user.run(&ours, "lxc-create", &name, "-t busybox").ok();
    let script = format!(
        "echo 0 >{own}/tasks; lxc-start -P $P -n {name} -s lxc.cgroup.pids.max=30 && \
                          lxc-cgroup -P $P -n {name} pids.max && lxc-attach -P $P -n {name} -- grep pids /proc/self/cgroup; \
                          lxc-stop -P $P -n {name} -k"
    );
    let said = user.sh(&ours, &script);
    let below = std::fs::read_dir(&own).expect("list it").flatten().filter(|e| e.path().is_dir()).count();
    let removed =
        lxc_testkit::within(std::time::Duration::from_secs(2), || std::fs::remove_dir(&own).is_ok());
    assert!(
        said.code == 0 && said.stdout.starts_with("30\n\n") && said.stdout.contains(":pids:/\n"),
        "{said}"
    );
    assert!(removed && below == 0, "cgroups stay in {own}");
}

/// A device by lxc-user-nic, with what the configuration says of it; the quota holds.
#[test]
fn with_a_network() {
    needs!(root, ours, userns, ordinary_user);
    let (user, ours) = (OrdinaryUser::new(), Suite::ours());
    let bridge = HostDevices::bridge("nu", "");
    let name = user.dir.name("net");
    user.defaults(&format!(
        "lxc.net.0.type = veth\nlxc.net.0.link = {}\nlxc.net.0.flags = up\nlxc.net.0.hwaddr = 02:00:00:00:00:07\n\
         lxc.net.0.mtu = 1400\nlxc.net.0.ipv4.address = 10.77.0.2/24",
        bridge.name()
    ));
    user.run(&ours, "lxc-create", &name, "-t busybox").ok();
    let said = user.run(&ours, "lxc-start", &name, "").exits(1).stderr;
    assert!(
        said.contains(&format!("lxc.net.0.link = {}", bridge.name())) && said.contains("lxc-usernet"),
        "{said}"
    );
    user.dir.gone(&ours, &name);
    user.allow(&format!("{LOGIN} veth {} 1\n", bridge.name()));
    user.run(&ours, "lxc-start", &name, "").ok();
    let link = user.run(&ours, "lxc-attach", &name, "-- ip addr show eth0").ok();
    for wanted in ["mtu 1400", "02:00:00:00:00:07", "10.77.0.2/24", ",UP"] {
        assert!(link.contains(wanted), "{wanted}: {link}");
    }
    assert!(user.sh(&ours, "lxc-ls -P $P -f -F NAME,IPV4").ok().contains("10.77.0.2"));
    let device = user.nics().split_whitespace().last().unwrap_or_default().to_string();
    let ports = lxc_testkit::net::sh(&format!("ip link show master {}", bridge.name()));
    assert!(ports.contains(&device), "{device}: {ports}");
    let again = user.dir.name("more");
    user.run(&ours, "lxc-create", &again, "-t busybox").ok();
    let said = user.run(&ours, "lxc-start", &again, "").exits(1).stderr;
    assert!(said.contains("Quota reached"), "{said}");
    user.run(&ours, "lxc-stop", &name, "-k").ok();
    assert_eq!(user.nics(), "");
    user.run(&ours, "lxc-start", &again, "").ok();
    user.run(&ours, "lxc-stop", &again, "-k").ok();
    let refused = user
        .run(
            &ours,
            "lxc-start",
            &name,
            &format!("-s lxc.net.0.type=macvlan -s lxc.net.0.link={}", bridge.name()),
        )
        .exits(1)
        .stderr;
    assert!(refused.contains("only root makes such devices"), "{refused}");
}

/// An ephemeral container takes its files with it, whoever they belong to.
#[test]
fn ephemeral() {
    needs!(root, ours, userns, ordinary_user);
    let (user, ours) = (OrdinaryUser::new(), Suite::ours());
    let name = user.dir.name("once");
    user.run(&ours, "lxc-create", &name, "-t busybox").ok();
    user.run(&ours, "lxc-start", &name, "-s lxc.ephemeral=1 -l DEBUG -o $HOME/log").ok();
    user.run(&ours, "lxc-stop", &name, "-k").ok();
    let gone = || !user.dir.join(&name).exists();
    let log = || std::fs::read_to_string(user.dir.join("home/log")).unwrap_or_default();
    assert!(
        lxc_testkit::within(lxc_testkit::patience(std::time::Duration::from_secs(10)), gone),
        "{}",
        log()
    );
}

/// What needs root is refused before anything is made; the rest works without an init, without /proc and without cgroups.
#[test]
fn what_is_left_to_root() {
    needs!(root, ours, userns, ordinary_user);
    let (user, ours) = (OrdinaryUser::new(), Suite::ours());
    let (name, other) = (user.dir.name("plain"), user.dir.name("host"));
    user.run(&ours, "lxc-create", &name, "-t busybox").ok();
    let said = user.run(&ours, "lxc-create", &other, "-t host").exits(1).stderr;
    assert!(said.contains("needs root") && !user.dir.join(&other).exists(), "{said}");
    let script = format!(
        "lxc-execute -P $P -n {other} -f $HOME/.config/lxc/default.conf -s lxc.rootfs.path=dir:$P/{name}/rootfs -- /bin/id -u"
    );
    assert_eq!(user.sh(&ours, &script).ok(), "0\n");
    user.run(&ours, "lxc-start", &name, "").ok();
    let said = user.run(&ours, "lxc-freeze", &name, "").exits(1).stderr;
    assert!(said.contains("no cgroup with freezer"), "{said}");
    let said = user.run(&ours, "lxc-device", &name, "add /dev/null").exits(1).stderr;
    assert!(said.contains("Only root"), "{said}");
    user.run(&ours, "lxc-stop", &name, "-k").ok();
    // A map that is none does not keep the files from being removed.
    let config = user.dir.join(&name).join("config");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text + "lxc.idmap = u 0 1 65536\n").unwrap();
    user.run(&ours, "lxc-destroy", &name, "").ok();
}
