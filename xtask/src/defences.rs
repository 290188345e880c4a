//! Whether the tests of security can fail: each defence is taken out of a copy of the sources, and a test must notice.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::setup::{self, For};
use crate::shell;

/// A defence, and the test that must fail without it.
struct Defence {
    /// What it is against.
    name: &'static str,
    /// A test of tests/cli.
    test: &'static str,
    /// What is changed: file, text that occurs in it once, and what stands there instead.
    changes: &'static [(&'static str, &'static str, &'static str)],
}

const ROOTFS: &str = "crates/lxc-core/src/rootfs/mod.rs";
const SCRIPT: &str = "crates/lxc-core/src/spawn/script.rs";
const USER_NIC: &str = "crates/lxc-user-nic/src/lib.rs";
const TARGET: &str = "crates/lxc-user-nic/src/target.rs";

/// How paths in a root file system are resolved.
const IN_ROOT: &str = "let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;";

/// The same for who is satisfied by a look before.
const LOOKED_AT_BEFORE: &str = "let first = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS; \
    let looked = rustix::fs::openat2(&self.fd, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), first); \
    let resolve = if looked.is_ok() { ResolveFlags::empty() } else { ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS };";

const DEFENCES: &[Defence] = &[
    Defence {
        name: "CVE-2015-1331: links in the place of locks",
        test: "security::locks_are_not_redirected",
        changes: &[("crates/lxc-core/src/lock.rs", ".custom_flags(libc::O_NOFOLLOW)", ".custom_flags(0)")],
    },
    Defence {
        name: "CVE-2015-1334: a false /proc",
        test: "security::a_false_proc",
        changes: &[(
            "crates/lxc-core/src/attach/context.rs",
            "format!(\"/proc/{pid}/status\")",
            "format!(\"/proc/{pid}/root/proc/1/status\")",
        )],
    },
    Defence {
        name: "CVE-2015-1335: mount targets outside",
        test: "security::mount_targets_that_are_links",
        changes: &[(ROOTFS, IN_ROOT, "let resolve = ResolveFlags::empty();")],
    },
    Defence {
        name: "CVE-2015-1335: mount targets that become links",
        test: "races::mount_targets",
        changes: &[(ROOTFS, IN_ROOT, LOOKED_AT_BEFORE)],
    },
    Defence {
        name: "CVE-2016-8649: a process that enters is looked into",
        test: "security::attach_shows_nothing_of_the_host",
        changes: &[(
            "crates/lxc-core/src/attach/mod.rs",
            "rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)",
            "rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable)",
        )],
    },
    Defence {
        name: "CVE-2016-10124: the caller's terminal",
        test: "security::the_callers_terminal_stays_outside",
        changes: &[(
            "crates/lxc-cli/src/commands/attach.rs",
            "Options { terminal: any_stdio_is_terminal(), ..Options::default() }",
            "Options { terminal: any_stdio_is_terminal() && false, ..Options::default() }",
        )],
    },
    Defence {
        name: "CVE-2017-5985: others' network namespaces",
        test: "user_nic::namespaces_of_others",
        changes: &[
            (
                TARGET,
                "&& belongs_to(fd.as_fd(), user.uid.as_raw())",
                "&& (true || belongs_to(fd.as_fd(), user.uid.as_raw()))",
            ),
            (
                TARGET,
                "user.act(|| rustix::fs::open(path, flags, Mode::empty()))?",
                "rustix::fs::open(path, flags, Mode::empty())",
            ),
        ],
    },
    Defence {
        name: "CVE-2018-6556: files opened as root",
        test: "user_nic::files_are_opened_by_the_caller",
        changes: &[(
            TARGET,
            "user.act(|| rustix::fs::open(path, flags, Mode::empty()))?",
            "rustix::fs::open(path, flags, Mode::empty())",
        )],
    },
    Defence {
        name: "CVE-2022-47952: answers that tell which files there are",
        test: "user_nic::namespaces_of_others",
        changes: &[(
            TARGET,
            "let target = opened.ok()",
            "if let Err(e) = &opened { return Err(e.to_string()); } let target = opened.ok()",
        )],
    },
    Defence {
        name: "CVE-2026-39402: others' devices on a bridge",
        test: "user_nic::devices_of_other_users",
        changes: &[(USER_NIC, "caller.is(&e.owner) && Entry", "(true || caller.is(&e.owner)) && Entry")],
    },
    Defence {
        name: "CVE-2026-39402: devices of others of a group",
        test: "user_nic::devices_of_a_group",
        changes: &[(
            "crates/lxc-user-nic/src/lib.rs",
            "if entry.owner != caller.login && !is_there(&mut netlink) {",
            "if entry.owner.is_empty() && !is_there(&mut netlink) {",
        )],
    },
    Defence {
        name: "more devices than allowed",
        test: "user_nic::quotas",
        changes: &[(USER_NIC, "used(&l.owner) < l.count", "used(&l.owner) < l.count + 1")],
    },
    Defence {
        name: "CVE-2019-5736: the program's own file",
        test: "security::the_program_cannot_be_overwritten",
        changes: &[("crates/lxc-cli/src/commands/attach.rs", "protect::run_protected()?;", "")],
    },
    Defence {
        name: "CVE-2024-21626: descriptors as working directories",
        test: "security::working_directories",
        changes: &[
            (ROOTFS, "let resolve = ResolveFlags::NO_MAGICLINKS;", "let resolve = ResolveFlags::empty();"),
            (ROOTFS, "_ => Err(Errno::XDEV),", "_ => Ok(()),"),
        ],
    },
    Defence {
        name: "CVE-2025-31133, CVE-2025-52565: devices of a hostile image",
        test: "security::devices_of_a_hostile_image",
        changes: &[(ROOTFS, IN_ROOT, "let resolve = ResolveFlags::empty();")],
    },
    Defence {
        name: "CVE-2025-31133, CVE-2025-52881: a procfs that goes elsewhere",
        test: "races::procfs",
        changes: &[(
            "crates/lxc-core/src/mount/automount.rs",
            "let found = find_in(proc.as_fd(), path)?;",
            "let found = root.find(format!(\"proc/{path}\"))?;",
        )],
    },
    Defence {
        name: "CVE-2025-52565: a console that leads elsewhere",
        test: "races::the_console",
        changes: &[(
            "crates/lxc-core/src/mount/dev.rs",
            "let target = dev.make_file(path, 0)?;\n    let held",
            "let up = rustix::fs::openat(dev.fd(), \"..\", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).doing(|| \"..\")?; \
             let target = Root::of(up, \"\").make_file(format!(\"dev/{path}\"), 0)?;\n    let held",
        )],
    },
    Defence {
        name: "CVE-2025-52565: a /dev that goes elsewhere",
        test: "races::devices",
        changes: &[(ROOTFS, IN_ROOT, LOOKED_AT_BEFORE)],
    },
    Defence {
        name: "read-only mounts whose target goes elsewhere",
        test: "races::read_only_entries",
        changes: &[(
            "crates/lxc-core/src/mount/entries.rs",
            "rustix::mount::mount_remount(&*fd_path(mount.as_fd()), MountFlags::BIND | rest | keep, \"\")",
            "rustix::mount::mount_remount(&*fd_path(root.find(&entry.target).doing(what)?.as_fd()), MountFlags::BIND | rest | keep, \"\")",
        )],
    },
    Defence {
        name: "links in a root file system that is filled",
        test: "security::a_root_file_system_that_was_used",
        changes: &[(ROOTFS, IN_ROOT, "let resolve = ResolveFlags::empty();")],
    },
    Defence {
        name: "CVE-2025-52881: writes to a false procfs",
        test: "security::writes_to_a_false_procfs",
        changes: &[(
            "crates/lxc-core/src/spawn/child/mod.rs",
            "let Some(proc) = child.proc.take() else { return Ok(()) };",
            "for (name, value) in &child.plan.values.sysctls { std::fs::write(Path::new(\"/proc/sys\").join(limits::dotted_path(name)?), value).doing(|| \"write\")?; } let Some(proc) = child.proc.take() else { return Ok(()) };",
        )],
    },
    Defence {
        name: "lines in values",
        test: "security::lines_in_values",
        changes: &[(
            "crates/lxc-config/src/config.rs",
            "if value.contains(['\\n', '\\r']) {",
            "if value.contains(['\\0']) {",
        )],
    },
    Defence {
        name: "links in the place of a copy's etc/hostname",
        test: "copy::names_are_written_inside",
        changes: &[(ROOTFS, IN_ROOT, "let resolve = ResolveFlags::empty();")],
    },
    Defence {
        name: "links in the place of a copy's etc/hosts",
        test: "copy::names_are_written_inside",
        changes: &[("share/hooks/clonehostname", "[ ! -L \"$root$path\" ] || return 1", ":")],
    },
    Defence {
        name: "setuid programs of a container",
        test: "security::setuid_programs_of_a_container",
        changes: &[("crates/lxc-core/src/lifecycle/making.rs", "from_mode(0o710)", "from_mode(0o711)")],
    },
    Defence {
        name: "commands of other users",
        test: "security::commands_of_other_users",
        changes: &[(
            "crates/lxc-core/src/monitor/server.rs",
            "peer.uid.is_root() ||",
            "true || peer.uid.is_root() ||",
        )],
    },
    Defence {
        name: "descriptors of the caller",
        test: "security::descriptors_of_the_caller",
        changes: &[
            (
                "crates/lxc-core/src/monitor/daemonize.rs",
                "process::close_all_but(keep, plan.options.last_kept_fd).doing(|| \"close descriptors\")?;",
                "",
            ),
            (
                "crates/lxc-core/src/spawn/finish.rs",
                "process::close_on_exec_from(last + 1)",
                "Ok::<(), lxc_sys::Errno>(())",
            ),
        ],
    },
    Defence {
        name: "the caller's environment",
        test: "security::the_callers_environment",
        changes: &[(
            "crates/lxc-core/src/spawn/child/mod.rs",
            "child.hooks.clone().inside()",
            "child.hooks.clone()",
        )],
    },
    Defence {
        name: "ids that are not the user's",
        test: "user::ids_that_are_not_the_users",
        changes: &[(
            "crates/lxc-core/src/plan/subordinate.rs",
            "if !is_own && !self.others && !self.covers(line) {",
            "if false && !is_own && !self.others && !self.covers(line) {",
        )],
    },
    Defence {
        name: "clients without number",
        test: "hostile::three_hundred_connections",
        changes: &[
            (
                "crates/lxc-core/src/monitor/server.rs",
                "MAX_CONNECTIONS: usize = 256",
                "MAX_CONNECTIONS: usize = 65536",
            ),
            (
                "crates/lxc-core/src/monitor/server.rs",
                "MAX_STRANGERS: usize = 16",
                "MAX_STRANGERS: usize = 65536",
            ),
        ],
    },
    Defence {
        name: "CVE-2017-5985: a pid that is another's by then",
        test: "user_nic::a_pid_that_is_anothers_by_then",
        changes: &[
            (TARGET, "pub struct Target(OwnedFd);", "pub struct Target(pub OwnedFd);"),
            (
                USER_NIC,
                "let mut last = Errno::EXIST;",
                "let mut last = Errno::EXIST; let again = std::fs::File::open(format!(\"/proc/{pid}/ns/net\")); \
                 let target = Target(again.map_err(|e| e.to_string())?.into());",
            ),
        ],
    },
    // A name that is none the kernel refuses as well; this is what nothing else would.
    Defence {
        name: "arguments that are nearly right",
        test: "user_nic::hostile_arguments",
        changes: &[
            (TARGET, "let pid: u32 = pid.parse()", "let pid: u32 = pid.trim().parse()"),
            (
                USER_NIC,
                "[\"create\", _, _, pid, kind, bridge, interface] =>",
                "[\"create\", _, _, pid, kind, bridge, interface, ..] =>",
            ),
        ],
    },
    Defence {
        name: "quotas of users who ask for many devices at once",
        test: "user_nic::many_at_once",
        changes: &[("crates/lxc-user-nic/src/registry.rs", "lock(&file)?;", "let _ = lock;")],
    },
    Defence {
        name: "capabilities that are dropped",
        test: "security::capabilities_and_privileges",
        changes: &[(SCRIPT, "|p| !p.drop_capabilities.is_empty()", "|_| false")],
    },
    Defence {
        name: "no_new_privs",
        test: "security::capabilities_and_privileges",
        changes: &[(SCRIPT, "|p| p.values.no_new_privs", "|_| false")],
    },
    Defence {
        name: "seccomp",
        test: "seccomp::a_system_under_the_usual_policy_is_confined_and_so_is_what_attaches",
        changes: &[(SCRIPT, "|p| p.filter.is_some()", "|_| false")],
    },
    Defence {
        name: "the caller's keyring",
        test: "keys::the_session_keyring_is_new",
        changes: &[(SCRIPT, "|p| !p.values.keyring_session", "|_| false")],
    },
    Defence {
        name: "rules for devices",
        test: "seccomp::the_common_configuration_starts",
        changes: &[(
            "crates/lxc-core/src/spawn/parent.rs",
            "items::apply_v1(parent.layout, parent.payload, &parent.plan.values.cgroup1_items, true)",
            "Ok(())",
        )],
    },
    Defence {
        name: "a sysfs that goes elsewhere",
        test: "races::sysfs",
        changes: &[(
            "crates/lxc-core/src/mount/automount.rs",
            "rustix::mount::mount_remount(&*fd_path(sys.as_fd()), flags, \"\")",
            "rustix::mount::mount_remount(&*fd_path(root.find(\"sys\").doing(what)?.as_fd()), flags, \"\").or(Ok::<(), Errno>(()))",
        )],
    },
    Defence {
        name: "slow clients",
        test: "hostile::slow_clients",
        changes: &[(
            "crates/lxc-core/src/monitor/server.rs",
            "PATIENCE: Duration = Duration::from_secs(10)",
            "PATIENCE: Duration = Duration::from_secs(1000)",
        )],
    },
    Defence {
        name: "requests of any length",
        test: "hostile::lengths_that_are_none",
        changes: &[("crates/lxc-core/src/monitor/server.rs", "if length > MAX_PAYLOAD {", "if false {")],
    },
    Defence {
        name: "the monitor's own confinement",
        test: "security::the_thread_that_serves",
        changes: &[(
            "crates/lxc-core/src/monitor/confine.rs",
            "if let Err(e) = rules.restrict_self() {",
            "if let Err(e) = rules.try_clone() {",
        )],
    },
];

/// Descriptions of changes that do not fit the sources any more.
pub fn stale() -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for defence in DEFENCES {
        for (file, from, _) in defence.changes {
            let text =
                std::fs::read_to_string(shell::root().join(file)).with_context(|| format!("read {file}"))?;
            let found = text.matches(from).count();
            if found != 1 {
                wrong.push(format!("{}: {file} has {from:?} {found} times", defence.name));
            }
        }
    }
    Ok(wrong)
}

/// `cargo xtask defences [FILTER]…`.
pub fn run(options: &[&str]) -> Result<()> {
    if !shell::is_root() {
        bail!("defences: the tests need root");
    }
    setup::run(For::Tests)?;
    let named = |d: &Defence| options.iter().any(|o| d.name.contains(o) || d.test.contains(o));
    let wanted = || DEFENCES.iter().filter(|d| options.is_empty() || named(d));
    let tree = std::path::absolute(shell::target().join("defences"))?;
    copy_sources(&tree)?;
    let mappers = tree.join("target/uidmap");
    if shell::target().join("uidmap").is_dir() && !mappers.exists() {
        std::fs::create_dir_all(tree.join("target"))?;
        std::os::unix::fs::symlink(std::path::absolute(shell::target().join("uidmap"))?, &mappers)?;
    }
    install(&tree).context("the sources as they are")?;
    let tests: Vec<&str> = wanted().map(|d| d.test).collect();
    if !pass(&tree, &tests)? {
        bail!("one of {} fails with its defence", tests.join(", "));
    }
    let mut unnoticed = 0;
    for defence in wanted() {
        let mut whole = Vec::new();
        for (file, from, to) in defence.changes {
            let path = tree.join(file);
            let text = std::fs::read_to_string(&path).with_context(|| format!("read {file}"))?;
            std::fs::write(&path, text.replacen(from, to, 1))?;
            whole.push((path, text));
        }
        install(&tree).with_context(|| format!("without the defence against {}", defence.name))?;
        // What is a race may need some tries.
        let mut noticed = false;
        for _ in 0..if defence.test.starts_with("races::") { 3 } else { 1 } {
            noticed = noticed || !pass(&tree, &[defence.test])?;
        }
        let word = if noticed { "noticed  " } else { "UNNOTICED" };
        println!("{word}  {}  ({})", defence.name, defence.test);
        unnoticed += usize::from(!noticed);
        // In reverse: a file may be changed twice.
        for (path, text) in whole.iter().rev() {
            std::fs::write(path, text)?;
        }
    }
    if unnoticed == 0 { Ok(()) } else { bail!("{unnoticed} defences can go without a test that notices") }
}

/// What git knows, as it is now. Files that are the same keep their time, so that little is built again.
fn copy_sources(tree: &Path) -> Result<()> {
    std::fs::create_dir_all(tree)?;
    let files = shell::read(
        Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard"])
            .current_dir(shell::root()),
    )?;
    for file in files.lines() {
        let (from, to) = (shell::root().join(file), tree.join(file));
        let Ok(wanted) = std::fs::read(&from) else { continue };
        if std::fs::read(&to).is_ok_and(|now| now == wanted) {
            continue;
        }
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::copy(&from, &to).with_context(|| format!("copy {file}"))?;
    }
    Ok(())
}

fn cargo(tree: &Path, words: &[&str]) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.args(words).current_dir(tree).stdout(Stdio::null()).stderr(Stdio::piped());
    cargo.env("RUSTFLAGS", "").env("LXC_TEST_PREFIX", tree.join("target/test-prefix"));
    cargo
}

fn install(tree: &Path) -> Result<()> {
    let output = cargo(tree, &["xtask", "install", "--quick", "--prefix", "target/test-prefix"]).output()?;
    if !output.status.success() {
        bail!("it does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Whether all of some tests succeed.
fn pass(tree: &Path, tests: &[&str]) -> Result<bool> {
    let words = ["test", "--quiet", "--package", "lxc", "--test", "cli", "--", "--exact"];
    let skips = tree.join("target/skips");
    std::fs::write(&skips, "")?;
    let output = cargo(tree, &[&words, tests].concat())
        .env(lxc_testkit::skip::FILE_VARIABLE, &skips)
        .stdout(Stdio::piped())
        .output()?;
    // A test that did not run has shown nothing.
    let text = String::from_utf8_lossy(&output.stdout);
    let distinct = tests.iter().collect::<std::collections::BTreeSet<_>>().len();
    if !text.contains(&format!("running {distinct} test")) {
        bail!("no such test among {}: {text}", tests.join(", "));
    }
    let skipped = std::fs::read_to_string(&skips)?;
    if skipped.is_empty() { Ok(output.status.success()) } else { bail!("skipped here: {skipped}") }
}
