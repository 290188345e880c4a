//! The same assignments through upstream's library (5.0 or later), where it is installed: every key with good
//! and bad values must be accepted, refused and returned alike, but for the differences that [`explained`]
//! knows.

mod sequences;

use std::io::Write;
use std::process::{Command, Stdio};

use lxc_config::{Config, DEFAULT_ROOTFS_MOUNT, MemorySource, Sub, keys};

/// Values of all grammars; most are wrong for most keys.
const VALUES: &[&str] = &[
    "",
    "0",
    "1",
    "2",
    "-1",
    "010",
    "0x10",
    "08",
    "4294967295",
    "4294967296",
    "true",
    " 1",
    "1 ",
    "1kB",
    "5000",
    "auto",
    "a",
    "a b",
    "a//b/./",
    "/a/../b/",
    "../x",
    "none",
    "/",
    "up",
    "abcdefghijklmnopq",
    "veth",
    "x86_64",
    "x86",
    "sys_admin mknod",
    "chown",
    "NAME=v",
    "u 0 1 2",
    "dir:/a//b",
    "DEBUG",
    "9",
    "local3",
    "SIGPWR",
    "SIGRTMIN+3",
    "proc sys:ro",
    "proc:ro",
    "cgroup:mixed",
    "user NET",
    "5m",
    "7ns",
    "10.0.0.1/24",
    "10.1.1.1",
    "::1",
    "fe80::1/10",
    "dev",
    "router",
    "bridge",
    "l3s",
    "private",
    "vepa",
    "10:20",
    "unlimited",
    "ro,nosuid",
    "optional",
    "unix:@x",
    "create=dir",
    "1,2, 3",
    ",",
    "1.0.0.0/8",
];

/// Keys that 5.0 does not have.
const NEW_KEYS: &[&str] = &["lxc.environment.runtime", "lxc.environment.hooks"];

#[derive(Debug, Clone, PartialEq)]
enum Answer {
    Done(bool),
    Text(String),
    Errno(i32),
}

fn parse(line: &str) -> Answer {
    match line {
        "true" => Answer::Done(true),
        "false" => Answer::Done(false),
        number if !number.starts_with('"') => Answer::Errno(-number.parse::<i32>().unwrap()),
        // The only escapes of the answers in this test.
        text => Answer::Text(text[1..text.len() - 1].replace("\\n", "\n").replace("\\\"", "\"")),
    }
}

/// One value for one key: the operations in their order and our answers.
struct Series {
    key: String,
    /// Type of network 0, empty for none.
    kind: &'static str,
    value: &'static str,
    steps: Vec<(&'static str, Answer)>,
}

impl Series {
    fn run(key: &str, kind: &'static str, value: &'static str) -> Series {
        let source = MemorySource::new();
        let mut config = Config::new();
        let _ = config.set("lxc.net.0.type", kind, &source);
        let operations = ["get", "set", "get", "set", "get", "clear", "get"];
        let steps = operations.map(|operation| {
            let answer = match operation {
                "set" => Answer::Done(config.set(key, value, &source).is_ok()),
                "clear" => Answer::Done(config.clear(key).is_ok()),
                _ => match config.get(key) {
                    Ok(text) => Answer::Text(text),
                    Err(error) => Answer::Errno(error.errno()),
                },
            };
            (operation, answer)
        });
        Series { key: key.to_owned(), kind, value, steps: steps.into() }
    }

    /// The same for the peer; its first two answers are about the preparation.
    fn script(&self) -> String {
        let Series { key, kind, value, .. } = self;
        let mut script = format!("new\nset\tlxc.net.0.type\t{kind}\n");
        for (operation, _) in &self.steps {
            script += &match *operation {
                "set" => format!("set\t{key}\t{value}\n"),
                operation => format!("{operation}\t{key}\n"),
            };
        }
        script
    }
}

/// Why an answer of ours may differ.
fn explained(series: &Series, operation: &str, theirs: &Answer, ours: &Answer) -> Option<&'static str> {
    let Series { key, kind, value, .. } = series;
    let ours_is_absent = matches!(ours, Answer::Errno(22) | Answer::Done(false));
    let text = |answer: &Answer| match answer {
        Answer::Text(text) => text.clone(),
        _ => String::new(),
    };
    let (their_text, our_text) = (text(theirs), text(ours));
    let is_get = operation == "get";
    match key.as_str() {
        _ if their_text == "(null)" && our_text.is_empty() => Some("what is unset is empty"),
        _ if is_get && their_text == "(invalid)" => Some("a cleared choice is its default"),
        _ if is_get && their_text.starts_with('-') && our_text.parse() == Ok(u32::MAX) => {
            Some("unsigned is not negative")
        }
        "lxc.net.0.type" if their_text == "(null)" => Some("a refused type changes nothing"),
        key if key.starts_with("lxc.net.0") && kind.is_empty() && ours_is_absent => {
            Some("a refused value does not create a network")
        }
        key if key.starts_with("lxc.net.0") && kind.is_empty() && value.is_empty() => {
            Some("clearing what is not there is no error")
        }
        "lxc.net.0.link" | "lxc.net.0.name" | "lxc.net.0.veth.pair" if value.len() > 15 => {
            Some("long interface names are refused, not cut")
        }
        "lxc.net.0.ipv4.gateway" | "lxc.net.0.ipv6.gateway"
            if their_text == "dev" || their_text == "auto" =>
        {
            Some("gateways can be cleared")
        }
        "lxc.net.0.veth.vlan.id" if their_text == "0" => Some("no VLAN is not VLAN 0, as in 7.0"),
        "lxc.autodev.tmpfs.size" if our_text == "0" => Some("clearing is as if never set"),
        "lxc.monitor.signal.pdeath" if our_text == "9" => Some("clearing is as if never set"),
        "lxc.monitor.unshare" if our_text == "1" => Some("any number is yes"),
        "lxc.mount.fstab" if *ours == Answer::Done(true) => Some("clearing succeeds"),
        "lxc.tty.max" if our_text == "0" => Some("clearing clears"),
        "lxc.hook.version" | "lxc.init.uid" | "lxc.init.gid" | "lxc.seccomp.allow_nesting"
            if *ours == Answer::Done(false) =>
        {
            Some("what is no number is refused")
        }
        "lxc.apparmor.allow_incomplete"
        | "lxc.apparmor.allow_nesting"
        | "lxc.autodev"
        | "lxc.console.rotate"
        | "lxc.ephemeral"
        | "lxc.seccomp.allow_nesting"
        | "lxc.start.auto"
            if is_get && !matches!(their_text.as_str(), "0" | "1") =>
        {
            Some("refused numbers are not stored")
        }
        "lxc.cap.drop" | "lxc.cap.keep" | "lxc.log.level" | "lxc.log.syslog" | "lxc.rootfs.options"
            if is_get =>
        {
            Some("refused values change nothing")
        }
        "lxc.mount.auto" if is_get => Some("all automatic mounts are returned"),
        "lxc.proc.sub" if their_text == our_text.replace('\n', "") => Some("repeated values are on lines"),
        "lxc.rootfs.mount" if our_text == DEFAULT_ROOTFS_MOUNT => Some("another built-in default"),
        "lxc.seccomp.notify.proxy" if is_get => Some("the address can be assigned again"),
        "lxc.time.offset.boot" | "lxc.time.offset.monotonic"
            if their_text.replace([' ', '\n'], "") == our_text =>
        {
            Some("no blank and newline, as in 7.0")
        }
        _ => None,
    }
}

/// The names to try for a declared key.
fn names() -> Vec<String> {
    let mut names = Vec::new();
    for key in keys() {
        let name = key.name.replace("<n>", "0");
        match key.sub {
            Sub::None => names.push(name),
            Sub::Required(_) => names.push(format!("{name}.net")),
            Sub::Optional(_) => {
                let sub = if name == "lxc.cgroup" { "memory.sub" } else { "sub" };
                names.extend([format!("{name}.{sub}"), name]);
            }
        }
    }
    // Opening the log, reading files and random digits are no matter of grammar.
    names.retain(|name| !matches!(name.as_str(), "lxc.log.file" | "lxc.include" | "lxc.net.0.hwaddr"));
    names.retain(|name| !NEW_KEYS.contains(&name.as_str()));
    names.extend(["lxc.bogus", "lxc.net.x", "lxc.net.0.bogus", "lxc.hook.bogus"].map(str::to_owned));
    names
}

/// Every key with every value.
fn all_series() -> Vec<Series> {
    let mut all = Vec::new();
    for key in names() {
        let is_typed = key.contains("veth.") || key.contains("vlan.");
        let kinds: &[&str] = match key.starts_with("lxc.net.0") {
            true if is_typed => &["", "veth", "macvlan", "ipvlan", "vlan"],
            true => &["", "phys"],
            false => &[""],
        };
        for kind in kinds {
            all.extend(VALUES.iter().map(|value| Series::run(&key, kind, value)));
        }
    }
    all
}

/// The peer's answers to a script; nothing where it is not installed.
fn peer(script: &str) -> Option<Vec<Answer>> {
    let lxcpath = std::env::temp_dir().join(format!("lxc-config-peer-{}", std::process::id()));
    std::fs::create_dir_all(&lxcpath).ok()?;
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peer/peer.py");
    let mut child = Command::new("python3")
        .arg(program)
        .arg(&lxcpath)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut input = child.stdin.take()?;
    let script = script.to_owned();
    let writer = std::thread::spawn(move || input.write_all(script.as_bytes()));
    let output = child.wait_with_output().ok()?;
    let _ = writer.join();
    let _ = std::fs::remove_dir_all(&lxcpath);
    if !output.status.success() {
        return None;
    }
    Some(String::from_utf8(output.stdout).ok()?.lines().map(parse).collect())
}

#[test]
fn answers_are_those_of_upstream() {
    lxc_testkit::needs!(program "python3");
    if peer("new\n").is_none() {
        fn here() {}
        return lxc_testkit::skip::record(std::any::type_name_of_val(&here), "needs upstream's liblxc.so.1");
    }
    let all = all_series();
    let script: String = all.iter().map(Series::script).collect();
    let answers = peer(&script).unwrap();
    assert_eq!(answers.len(), script.lines().count());
    let mut answers = answers.into_iter();
    let mut unexplained = Vec::new();
    for series in &all {
        let theirs: Vec<Answer> = answers.by_ref().take(series.steps.len() + 2).skip(2).collect();
        // After one difference the two are in different states.
        let difference = series.steps.iter().zip(&theirs).find(|((_, ours), theirs)| ours != *theirs);
        if let Some(((operation, ours), theirs)) = difference
            && explained(series, operation, theirs, ours).is_none()
        {
            let Series { key, kind, value, .. } = series;
            unexplained.push(format!("{operation} {key} = {value:?} ({kind}): {theirs:?}, ours {ours:?}"));
        }
    }
    assert!(unexplained.is_empty(), "{} differences:\n{}", unexplained.len(), unexplained.join("\n"));
}
