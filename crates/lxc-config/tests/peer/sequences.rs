//! Many operations on one container, what is listed, and files that one side writes and the other reads.

use std::collections::BTreeSet;
use std::path::Path;

use lxc_config::{Config, MemorySource, Source, is_supported, keys};

use super::{Answer, NEW_KEYS, Series, VALUES, all_series, explained, names, peer};

/// Sequences, and operations in each.
const SEQUENCES: usize = 250;
const LENGTH: usize = 16;

/// Numbers that are the same in every run (Marsaglia, Xorshift RNGs, 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// The keys for which no answer of ours is deliberately another, with the values that they accept.
fn comparable() -> Option<Vec<(String, Vec<&'static str>)>> {
    let all = all_series();
    let script: String = all.iter().map(Series::script).collect();
    let mut answers = peer(&script)?.into_iter();
    let mut different = BTreeSet::new();
    for series in &all {
        let theirs: Vec<Answer> = answers.by_ref().take(series.steps.len() + 2).skip(2).collect();
        let differs = |((operation, ours), theirs): &(&(&str, Answer), &Answer)| {
            ours != *theirs && explained(series, operation, theirs, ours).is_some()
        };
        if series.steps.iter().zip(&theirs).any(|pair| differs(&pair)) {
            different.insert(series.key.clone());
        }
    }
    let source = MemorySource::new();
    let accepted = |key: &String| -> Vec<&'static str> {
        let accepts = |value: &&&str| {
            let mut config = Config::new();
            let _ = config.set("lxc.net.0.type", "veth", &source);
            config.set(key, value, &source).is_ok()
        };
        // The peer writes blanks at the ends of a value without the quotes that they need.
        VALUES.iter().filter(|value| value.trim() == **value).filter(accepts).copied().collect()
    };
    let apart = [
        // It takes the other keys of its network with it, which makes the rest wait.
        "lxc.net.0.type",
        // 5.0 answers with the list that the other key has set.
        "lxc.cap.drop",
        "lxc.cap.keep",
        // With a map a save of 5.0 is done by a helper in a user namespace, which cannot write here.
        "lxc.idmap",
    ];
    let keys = names().into_iter().filter(|key| !different.contains(key) && !apart.contains(&key.as_str()));
    let with_values = keys.map(|key| (key.clone(), accepted(&key))).filter(|(_, values)| values.len() > 1);
    Some(with_values.collect())
}

/// Files on the disk, which both sides read.
struct Disk;

impl Source for Disk {
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        std::fs::read(path)
    }
    fn list(&self, _: &Path) -> std::io::Result<Vec<std::ffi::OsString>> {
        Ok(Vec::new())
    }
    fn is_dir(&self, _: &Path) -> bool {
        false
    }
    fn env(&self, _: &str) -> Option<String> {
        None
    }
    fn random(&self) -> u8 {
        0
    }
}

fn ask(config: &Config, key: &str) -> Answer {
    config.get(key).map_or_else(|e| Answer::Errno(e.errno()), Answer::Text)
}

#[test]
fn sequences_and_saved_files_are_alike() {
    lxc_testkit::needs!(program "python3");
    let Some(comparable) = comparable() else {
        fn here() {}
        return lxc_testkit::skip::record(std::any::type_name_of_val(&here), "needs upstream's liblxc.so.1");
    };
    assert!(comparable.len() > 40, "only {} keys can be compared", comparable.len());
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut script, mut expected, mut what) = (String::new(), Vec::new(), Vec::new());
    let source = MemorySource::new();
    let asked: Vec<&String> = comparable.iter().map(|(key, _)| key).collect();
    let mut theirs_saved = Vec::new();
    for number in 0..SEQUENCES {
        let mut config = Config::new();
        let mut history = format!("sequence {number}:");
        let mut step = |line: String, answer: Answer, history: &str| {
            script += &line;
            expected.push(answer);
            what.push(format!("{history} then {line}"));
        };
        step("new\n".into(), Answer::Done(true), &history);
        let typed = config.set("lxc.net.0.type", "veth", &source).is_ok();
        step("set\tlxc.net.0.type\tveth\n".into(), Answer::Done(typed), &history);
        for _ in 0..LENGTH {
            let (key, values) = &comparable[random.below(comparable.len())];
            if random.below(5) == 0 {
                let done = config.clear(key).is_ok();
                step(format!("clear\t{key}\n"), Answer::Done(done), &history);
                history += &format!(" clear {key};");
            } else {
                let value = values[random.below(values.len())];
                let done = config.set(key, value, &source).is_ok();
                step(format!("set\t{key}\t{value}\n"), Answer::Done(done), &history);
                history += &format!(" {key} = {value};");
            }
        }
        for key in &asked {
            step(format!("get\t{key}\n"), ask(&config, key), &history);
        }
        let (ours, theirs) =
            (dir.path().join(format!("ours{number}")), dir.path().join(format!("theirs{number}")));
        std::fs::write(&ours, config.text()).expect("write our file");
        step(format!("save\t{}\n", theirs.display()), Answer::Done(true), &history);
        // What we wrote says the same to them.
        step("new\n".into(), Answer::Done(true), &history);
        step(format!("load\t{}\n", ours.display()), Answer::Done(true), &history);
        for key in &asked {
            step(format!("get\t{key}\n"), ask(&config, key), &format!("{history} reading our file"));
        }
        theirs_saved.push((theirs, config, history));
    }
    let answers = peer(&script).expect("it answered before");
    assert_eq!(answers.len(), expected.len());
    let compared = answers.iter().zip(&expected).zip(&what);
    let wrong: Vec<String> = compared
        .filter(|((theirs, ours), _)| theirs != ours)
        .map(|((theirs, ours), what)| format!("{what}: {theirs:?}, ours {ours:?}"))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {} differ, first\n{}",
        wrong.len(),
        expected.len(),
        wrong[..wrong.len().min(5)].join("\n")
    );
    // And what they wrote says the same to us.
    for (file, before, history) in theirs_saved {
        let mut config = Config::new();
        config.load(&file, &Disk).unwrap_or_else(|e| panic!("{history}: {e}"));
        for key in &asked {
            assert_eq!(ask(&config, key), ask(&before, key), "{history} reading their file: {key}");
        }
    }
}

#[test]
fn lists_of_keys_are_alike() {
    lxc_testkit::needs!(program "python3");
    let prefixes = [
        "",
        "lxc.net.0",
        "lxc.net.1",
        "lxc.net.9",
        "lxc.net",
        "lxc.hook",
        "lxc.cap",
        "lxc.cgroup",
        "lxc.console",
        "lxc.apparmor",
        "lxc.selinux",
        "lxc.mount",
        "lxc.rootfs",
        "lxc.uts",
        "lxc.seccomp",
        "lxc.signal",
        "lxc.start",
        "lxc.monitor",
        "lxc.keyring",
        "lxc.log",
        "lxc.tty",
        "lxc.init",
        "lxc.time",
        "lxc.bogus",
        "lxc.cgroup2",
    ];
    let supported: Vec<String> = names()
        .into_iter()
        .chain(keys().map(|k| k.name.to_owned()))
        .chain(["lxc.net.".into(), "lxc".into()])
        .collect();
    for kind in ["veth", "macvlan", "ipvlan", "vlan", "phys", "empty", "none"] {
        let source = MemorySource::new();
        let mut config = Config::new();
        let mut script = String::from("new\n");
        for (key, value) in [("lxc.net.0.type", kind), ("lxc.net.1.type", "empty")] {
            config.set(key, value, &source).expect("a type");
            script += &format!("set\t{key}\t{value}\n");
        }
        prefixes.iter().for_each(|prefix| script += &format!("keys\t{prefix}\n"));
        supported.iter().for_each(|key| script += &format!("supported\t{key}\n"));
        let Some(answers) = peer(&script) else {
            fn here() {}
            return lxc_testkit::skip::record(
                std::any::type_name_of_val(&here),
                "needs upstream's liblxc.so.1",
            );
        };
        let (lists, flags) = answers[3..].split_at(prefixes.len());
        // Names that 5.0 does not have, one that 7.0 has no more, and one that is no hook.
        let known = |text: String| -> String {
            text.lines()
                .filter(|l| !NEW_KEYS.contains(l) && !["lxc.cgroup", "autodevtmpfssize"].contains(l))
                .map(|l| format!("{l}\n"))
                .collect()
        };
        for (prefix, theirs) in prefixes.iter().zip(lists) {
            let list = config.keys(Some(*prefix).filter(|p| !p.is_empty()));
            let ours = list.map_or_else(|e| Answer::Errno(e.errno()), |text| Answer::Text(known(text)));
            let theirs = match theirs {
                Answer::Text(text) => &Answer::Text(known(text.clone())),
                other => other,
            };
            assert_eq!(theirs, &ours, "keys below {prefix:?} with a network of type {kind}");
        }
        for (key, theirs) in supported.iter().zip(flags) {
            // Accepted for old files, and in no list of 7.0.
            if !NEW_KEYS.contains(&key.as_str()) && key != "lxc.cgroup" {
                assert_eq!(theirs, &Answer::Done(is_supported(key)), "{key}");
            }
        }
    }
}
