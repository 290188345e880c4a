//! Confinement by SELinux: on a guest without a policy, which gets one here.

use std::process::Command;

use lxc_testkit::{Lxcpath, Running, Suite, needs};

const CONTAINER: &str = "u:r:container_t:s0";

/// What perl of the host, executed in a container with these lines, prints.
fn perl(dir: &Lxcpath, lines: &str, script: &str) -> String {
    let name = dir.name("keys");
    std::fs::create_dir(dir.join(&name)).unwrap();
    std::fs::write(
        dir.join(&name).join("config"),
        format!("lxc.rootfs.path = dir:/\nlxc.autodev = 0\n{lines}"),
    )
    .unwrap();
    let command = ["--", "/usr/bin/perl", "-e", script];
    dir.run(&Suite::ours(), "lxc-execute", &name, &command).exits(0).stdout
}

#[test]
fn contexts() {
    needs!(root, ours, selinux, program "secilc", program "perl", machine "x86_64");
    let (ours, dir) = (Suite::ours(), Lxcpath::new());
    std::fs::write(dir.join("policy.cil"), include_str!("selinux.cil")).unwrap();
    let mut compile = Command::new("secilc");
    compile.args(["-c", "33", "-f", "/dev/null", "-o"]).arg(dir.join("policy")).arg(dir.join("policy.cil"));
    Running::spawn(compile).wait().exits(0);
    std::fs::write("/sys/fs/selinux/load", std::fs::read(dir.join("policy")).unwrap())
        .expect("load the policy");
    std::fs::write("/sys/fs/selinux/enforce", "1").expect("enforce it");

    let label = |context: &str| format!("lxc.selinux.context = {context}");
    let name = dir.busybox("labelled").quick().line(label(CONTAINER)).build();
    dir.start(&ours, &name);
    let pid = dir.run(&ours, "lxc-info", &name, &["-pH"]).ok();
    let of_init = std::fs::read_to_string(format!("/proc/{}/attr/current", pid.trim())).unwrap();
    assert_eq!(of_init.trim_end_matches('\0'), CONTAINER);
    let attached = |arguments: &[&str]| {
        let look = ["--", "cat", "/proc/self/attr/current"];
        dir.run(&ours, "lxc-attach", &name, &[arguments, &look].concat()).ok().replace('\0', "")
    };
    assert_eq!(attached(&[]), CONTAINER);
    assert_eq!(attached(&["-eLSM"]), "u:r:host_t:s0");
    assert_eq!(attached(&["-c", "u:r:host_t:s0"]), "u:r:host_t:s0");
    dir.kill(&ours, &name);
    dir.gone(&ours, &name);

    // Without one it stays, and so it does for the one that says so.
    for lines in [&[][..], &["lxc.selinux.context = unconfined_t"]] {
        let name = lines.iter().fold(dir.busybox("plain").quick(), |b, line| b.line(*line)).build();
        dir.start(&ours, &name);
        assert_eq!(dir.sh(&ours, &name, "tr -d '\\0' </proc/1/attr/current"), "u:r:host_t:s0");
        dir.kill(&ours, &name);
    }

    // KEYCTL_GET_SECURITY of the session keyring.
    let of_keys = "$b = chr(0) x 99; syscall(250, 17, -3, $b, 99); print $b =~ /([^\\0]*)/";
    let keyring = |context: &str| format!("lxc.selinux.context.keyring = {context}\n");
    assert_eq!(perl(&dir, "", of_keys), "u:r:host_t:s0");
    assert_eq!(perl(&dir, &format!("{}\n", label(CONTAINER)), of_keys), CONTAINER);
    assert_eq!(perl(&dir, &keyring("u:r:locked_t:s0"), of_keys), "u:r:locked_t:s0");
    let both = format!("{}\n{}", label(CONTAINER), keyring("u:r:locked_t:s0"));
    assert_eq!(perl(&dir, &both, of_keys), "u:r:locked_t:s0");

    for (context, said) in [
        ("u:r:nobody_t:s0", "the policy of this host knows no such context"),
        ("u:r:locked_t:s0", "Permission denied"),
    ] {
        let name = dir.busybox("refused").quick().line(label(context)).build();
        let output = dir.run(&ours, "lxc-start", &name, &["-d"]);
        assert!(output.code == 1 && output.stderr.contains(said), "{context}: {output}");
        dir.gone(&ours, &name);
    }
}
