//! The text of a generated AppArmor profile (spec: security, section 3; apparmor.d(5)).
//!
//! It protects what is not namespaced: whatever the container may do elsewhere, it cannot write to the host's
//! settings below /proc/sys and /sys, nor mount a second, unguarded proc or sysfs over the guarded ones.

use std::collections::BTreeMap;
use std::fmt::Write;

use lxc_config::AppArmor;

use crate::plan::label::GeneratedProfile;

/// What the text depends on beside the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// The kernel has cgroup namespaces.
    pub cgroup_namespaces: bool,
    /// The kernel mediates the creation of user namespaces, and the parser knows that.
    pub user_namespaces: bool,
    /// Root of the container is not root of the host.
    pub unprivileged: bool,
}

/// File systems that may be mounted anywhere.
const ANYWHERE: &[&str] = &["tmpfs", "hugetlbfs", "mqueue", "fuse", "fuse.*"];
/// File systems that may be mounted at their place.
const AT_THEIR_PLACE: &[(&str, &str)] = &[
    ("binfmt_misc", "/proc/sys/fs/binfmt_misc/"),
    ("efivarfs", "/sys/firmware/efi/efivars/"),
    ("fusectl", "/sys/fs/fuse/connections/"),
    ("securityfs", "/sys/kernel/security/"),
    ("debugfs", "/sys/kernel/debug/"),
    ("proc", "/proc/"),
    ("sysfs", "/sys/"),
];
/// No access of any kind.
const UNTOUCHABLE: &[&str] = &[
    "@{PROC}/kcore",
    "@{PROC}/sysrq-trigger",
    "@{PROC}/acpi/**",
    "/sys/firmware/efi/efivars/**",
    "/sys/kernel/debug/{,**}",
];
/// Settings that belong to a namespace of the container, below /proc/sys.
const OWN_SYSCTLS: &[&str] =
    &["fs", "kernel/domainname", "kernel/hostname", "kernel/msg*", "kernel/sem*", "kernel/shm*", "net"];
/// What the container may write below /sys. What is below /sys/kernel is said with the policy namespace.
const OWN_SYS: &[&str] = &["class/net", "devices/virtual/net", "fs/cgroup", "kernel"];
/// Mounts of these cannot be taken elsewhere: their guarded places would be got round.
const GUARDED: &[&str] = &["dev/.lxc", "proc", "sys"];
/// Write, lock, link, execute.
const WRITING: &str = "wklx";

/// The whole profile.
pub fn text(profile: &GeneratedProfile, values: &AppArmor, features: &Features) -> String {
    let mut out = Rules(String::new());
    let _ = writeln!(out.0, "#include <tunables/global>");
    let _ = writeln!(out.0, "profile \"{}\" flags=(attach_disconnected,mediate_deleted) {{", profile.name);
    base(&mut out, features);
    if !features.unprivileged {
        out.rule("deny /proc/sys/fs/binfmt_misc/{,**} wklx");
    }
    if !values.allow_nesting {
        out.deny_all_but("/proc/sys/", OWN_SYSCTLS);
        out.deny_all_but("/sys/", OWN_SYS);
    }
    read_only_binds(&mut out);
    out.rule("unix (receive)");
    out.rule("unix peer=(label=@{profile_name})");
    if features.cgroup_namespaces {
        out.rule("mount fstype=cgroup -> /sys/fs/cgroup/**");
        out.rule("mount fstype=cgroup2 -> /sys/fs/cgroup/**");
    }
    policy_namespace(&mut out, profile, values.allow_nesting);
    if values.allow_nesting {
        nesting(&mut out, profile);
    }
    if features.unprivileged {
        unprivileged(&mut out);
    }
    for line in &values.raw {
        let _ = writeln!(out.0, "  {line}");
    }
    out.0.push_str("}\n");
    out.0
}

fn base(out: &mut Rules, features: &Features) {
    if features.user_namespaces {
        out.rule("userns");
    }
    for class in ["capability", "dbus", "file", "network", "umount"] {
        out.rule(class);
    }
    // Signals of the host's init and of monitors; to be looked at is for the tracer's profile to allow.
    for rule in ["signal (receive)", "signal peer=@{profile_name}"] {
        out.rule(rule);
    }
    for rule in ["ptrace (readby)", "ptrace (tracedby)", "ptrace peer=@{profile_name}"] {
        out.rule(rule);
    }
    // Shutdown scripts try it; a refusal that was said is not logged.
    out.rule("deny mount options=(ro, remount) -> /");
    out.rule("deny mount options=(ro, remount, silent) -> /");
    for fstype in ANYWHERE {
        out.rule(&format!("mount fstype={fstype}"));
    }
    for (fstype, place) in AT_THEIR_PLACE {
        out.rule(&format!("mount fstype={fstype} -> {place}"));
    }
    out.rule("mount options=(rw, nosuid, nodev, noexec, remount) -> /sys/");
    out.rule("mount options=(ro, nosuid, nodev, noexec, remount, strictatime) -> /sys/fs/cgroup/");
    for kind in ["slave", "shared", "private", "unbindable"] {
        for recursive in ["", "r"] {
            out.rule(&format!("mount options=(rw,make-{recursive}{kind}) -> /{{,**}}"));
        }
    }
    for source in all_but("/", GUARDED) {
        out.rule(&format!("mount options=(rw,bind) {source}"));
        out.rule(&format!("mount options=(rw,move) {source}"));
    }
    // A recursive bind of /dev would take /dev/.lxc with it.
    for source in all_but("/", &["dev", "proc", "sys"]) {
        out.rule(&format!("mount options=(rw,rbind) {source}"));
    }
    out.rule(&format!("deny @{{PROC}}/bus/** {WRITING}"));
    // What is below fs belongs to all; the place of binfmt_misc is one of its own.
    for path in all_but("/proc/sys/fs/", &["binfmt_misc"]) {
        out.rule(&format!("deny {path} {WRITING}"));
    }
    for path in UNTOUCHABLE {
        out.rule(&format!("deny {path} r{WRITING}"));
    }
}

/// Bind mounts may be made read-only, with whatever other restriction they have.
fn read_only_binds(out: &mut Rules) {
    let restrictions = ["nodev", "nosuid", "noexec"];
    for subset in 0..1u32 << restrictions.len() {
        for atime in [None, Some("noatime"), Some("strictatime")] {
            let mut options = vec!["ro", "remount", "bind"];
            options.extend((0..restrictions.len()).filter(|i| subset & 1 << i != 0).map(|i| restrictions[i]));
            options.extend(atime);
            for target in all_but("/", GUARDED) {
                out.rule(&format!("mount options=({}) -> {target}", options.join(",")));
            }
        }
    }
}

fn policy_namespace(out: &mut Rules, profile: &GeneratedProfile, nesting: bool) {
    match (profile.stacked, nesting) {
        (true, _) => {
            if !nesting {
                out.deny_all_but("/sys/kernel/", &["security/apparmor"]);
            }
            out.rule(&format!("change_profile -> \":{}:*\"", profile.file));
            out.rule(&format!("change_profile -> \":{}://*\"", profile.file));
        }
        (false, false) => out.rule(&format!("deny /sys/k*{{,/**}} {WRITING}")),
        (false, true) => {}
    }
}

fn nesting(out: &mut Rules, profile: &GeneratedProfile) {
    for rule in ["pivot_root", "ptrace", "signal", "mount"] {
        out.rule(rule);
    }
    // The fresh instances are there so that inner containers may mount theirs, not to be used.
    out.rule("deny /dev/.lxc/proc/{,**} rw");
    out.rule("deny /dev/.lxc/sys/{,**} rw");
    if !profile.stacked {
        out.rule(&format!("change_profile -> \"{}\"", profile.name));
    }
}

/// The kernel itself confines who is not root of the host.
fn unprivileged(out: &mut Rules) {
    for rule in [
        "pivot_root",
        "mount options=(rw,make-slave)",
        "mount options=(rw,make-rslave)",
        "mount options=(rw,make-shared)",
        "mount options=(rw,make-rshared)",
        "mount options=(rw,make-private)",
        "mount options=(rw,make-rprivate)",
        "mount options=(rw,make-unbindable)",
        "mount options=(rw,make-runbindable)",
        "mount options=(rw,bind)",
        "mount options=(rw,rbind)",
        "mount options=(ro,remount,bind)",
        "mount options=(ro,remount,bind,nodev)",
        "mount options=(ro,remount,bind,nosuid)",
        "mount options=(ro,remount,bind,noexec)",
        "mount options=(ro,remount,bind,nosuid,nodev)",
        "mount options=(ro,remount,bind,nosuid,noexec)",
        "mount options=(ro,remount,bind,nosuid,noexec,nodev)",
    ] {
        out.rule(rule);
    }
}

/// Rules, one a line.
struct Rules(String);

impl Rules {
    fn rule(&mut self, text: &str) {
        let _ = writeln!(self.0, "  {text},");
    }

    fn deny_all_but(&mut self, directory: &str, kept: &[&str]) {
        for path in all_but(directory, kept) {
            self.rule(&format!("deny {path} {WRITING}"));
        }
    }
}

/// Patterns that together match every path below a directory but some, and what is below those. A kept path
/// that ends in `*` keeps all files whose names begin so, but nothing below them.
///
/// A denial cannot be taken back by another rule, and there is no pattern for "not this word": so the words
/// are spelled, and at each letter whatever goes on otherwise is matched.
fn all_but(directory: &str, kept: &[&str]) -> Vec<String> {
    let mut root = Letters::default();
    for word in kept {
        let mut node = &mut root;
        for letter in word.chars() {
            node = node.next.entry(letter).or_default();
        }
        node.end = true;
    }
    let mut patterns = Vec::new();
    root.patterns(directory, &mut patterns);
    patterns
}

#[derive(Default)]
struct Letters {
    next: BTreeMap<char, Letters>,
    /// A kept path ends here.
    end: bool,
}

impl Letters {
    fn patterns(&self, so_far: &str, out: &mut Vec<String>) {
        if self.next.contains_key(&'*') {
            out.push(format!("{so_far}*/**"));
            return;
        }
        if self.end {
            out.push(format!("{so_far}?*{{,/**}}"));
            return;
        }
        let others: String = self.next.keys().collect();
        // `?` is a letter, not a slash.
        let other = if others == "/" { "?".to_string() } else { format!("[^{others}]") };
        out.push(format!("{so_far}{other}*{{,/**}}"));
        for (letter, node) in &self.next {
            node.patterns(&format!("{so_far}{letter}"), out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_else_is_spelled_out() {
        assert_eq!(
            all_but("/", &["proc", "pub"]),
            [
                "/[^p]*{,/**}",
                "/p[^ru]*{,/**}",
                "/pr[^o]*{,/**}",
                "/pro[^c]*{,/**}",
                "/proc?*{,/**}",
                "/pu[^b]*{,/**}",
                "/pub?*{,/**}"
            ]
        );
        assert_eq!(all_but("/k/", &["m*"]), ["/k/[^m]*{,/**}", "/k/m*/**"]);
        let nested = all_but("/", &["a/b"]);
        assert_eq!(nested, ["/[^a]*{,/**}", "/a?*{,/**}", "/a/[^b]*{,/**}", "/a/b?*{,/**}"]);
    }

    /// The patterns as apparmor.d(5) describes them.
    fn matches(patterns: &[String], path: &str) -> bool {
        patterns.iter().any(|pattern| {
            let regex = pattern
                .replace("{,/**}", "\u{1}")
                .replace("/**", "/\u{2}")
                .replace('.', "\\.")
                .replace('*', "[^/]*")
                .replace('?', "[^/]")
                .replace('\u{1}', "(|/.*)")
                .replace('\u{2}', ".+");
            regex_lite::Regex::new(&format!("^{regex}$")).is_ok_and(|r| r.is_match(path))
        })
    }

    #[test]
    fn no_path_is_forgotten() {
        let sysctls = all_but("/proc/sys/", OWN_SYSCTLS);
        for open in
            ["net", "net/ipv4/ip_forward", "kernel/hostname", "kernel/shmmax", "kernel/msgmni", "fs/x"]
        {
            assert!(!matches(&sysctls, &format!("/proc/sys/{open}")), "{open}");
        }
        for denied in [
            "vm/drop_caches",
            "kernel/core_pattern",
            "kernel/hostnam",
            "kernel/hostname2",
            "kernel/shm/x",
            "network",
        ] {
            // A path that ends where another goes on is no file of the kernel's.
            let real = denied != "kernel/hostnam";
            assert_eq!(matches(&sysctls, &format!("/proc/sys/{denied}")), real, "{denied}");
        }
        let sources = all_but("/", GUARDED);
        for bindable in ["/etc", "/dev/null", "/process", "/dev/.lx/y", "/sy/x", "/srv/a/b"] {
            assert!(matches(&sources, bindable), "{bindable}");
        }
        for guarded in ["/proc", "/proc/sys", "/sys/fs", "/dev/.lxc/proc", "/dev/.lxc"] {
            assert!(!matches(&sources, guarded), "{guarded}");
        }
    }

    fn generated(allow_nesting: bool, stacked: bool) -> String {
        let profile = GeneratedProfile { name: "lxc-c_</p>".into(), file: "lxc-c_<-p>".into(), stacked };
        let values = AppArmor { allow_nesting, raw: vec!["deny /x w,".into()], ..AppArmor::default() };
        let features = Features { cgroup_namespaces: true, user_namespaces: true, unprivileged: false };
        text(&profile, &values, &features)
    }

    #[test]
    fn nesting_opens_what_is_else_denied() {
        let (plain, nested) = (generated(false, true), generated(true, true));
        assert!(plain.contains("  deny /sys/kernel/[^s]*{,/**} wklx,\n"), "{plain}");
        assert!(!nested.contains("deny /sys/kernel/[^s]"), "{nested}");
        assert!(nested.contains("  pivot_root,\n"), "{nested}");
        assert!(plain.ends_with("  deny /x w,\n}\n"), "{plain}");
        assert!(generated(false, false).contains("  deny /sys/k*{,/**} wklx,\n"));
    }
}
