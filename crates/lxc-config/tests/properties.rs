//! What holds for every text and every assignment.

use std::path::Path;

use lxc_config::{Config, Empty, Kind, MemorySource, NetType, Network, Values, keys};
use proptest::prelude::*;

/// Assignments that are valid by themselves, so that random orders of them reach deep.
const ASSIGNMENTS: &[(&str, &str)] = &[
    ("lxc.uts.name", "a"),
    ("lxc.uts.name", " b "),
    ("lxc.utsname", "c"),
    ("lxc.tty.max", "4"),
    ("lxc.autodev", "0"),
    ("lxc.cap.drop", "kill mknod"),
    ("lxc.cap.keep", "none chown"),
    ("lxc.cgroup2.memory.max", "1G"),
    ("lxc.cgroup2.cpu.max", "1"),
    ("lxc.cgroup.memory.limit_in_bytes", "1G"),
    ("lxc.hook.start", "/a 'b'"),
    ("lxc.hook.stop", "/b"),
    ("lxc.hook.version", "1"),
    ("lxc.hook", ""),
    ("lxc.mount.auto", "proc:rw sys"),
    ("lxc.mount.auto", "cgroup:ro:force"),
    ("lxc.mount.entry", "proc proc proc"),
    ("lxc.namespace.clone", "net user"),
    ("lxc.namespace.share.net", "other"),
    ("lxc.net", ""),
    ("lxc.net.0", ""),
    ("lxc.net.0.type", "veth"),
    ("lxc.net.0.type", "macvlan"),
    ("lxc.net.0.link", "br0"),
    ("lxc.net.0.hwaddr", "10:66:6a:xx:xx:xx"),
    ("lxc.net.0.veth.pair", "v0"),
    ("lxc.net.0.ipv4.address", "10.0.3.2/24"),
    ("lxc.net.1.flags", "up"),
    ("lxc.net.10.name", "eth1"),
    ("lxc.network.type", "veth"),
    ("lxc.network.ipv4", "10.0.3.3/24"),
    ("lxc.prlimit.nofile", "10:20"),
    ("lxc.prlimit", ""),
    ("lxc.rootfs.path", "overlay:/l:/u"),
    ("lxc.rootfs.path", "/r"),
    ("lxc.rootfs", "/old"),
    ("lxc.rootfs.backend", "zfs"),
    ("lxc.sysctl.a", "1"),
    ("lxc.sysctl.b", "'2'"),
    ("lxc.proc.oom_score_adj", "10"),
    ("lxc.time.offset.boot", "-7ms"),
    ("lxc.time.offset.boot", "3s"),
    ("lxc.environment", "A=B"),
    ("lxc.include", "part"),
];

fn source() -> MemorySource {
    MemorySource::new().file(
        "part",
        "lxc.uts.name = part\nlxc.hook.start = /part\nlxc.net.0.type = veth\nlxc.net.0.link = part\nlxc.sysctl.a = 9\n\
         lxc.autodev = 0\nlxc.cap.drop = kill\n",
    )
}

fn read(text: &[u8], source: &MemorySource) -> Config {
    let mut config = Config::new();
    config.load_text(text, Path::new("config"), source).unwrap();
    config
}

fn assignment() -> impl Strategy<Value = (&'static str, &'static str)> {
    prop::sample::select(ASSIGNMENTS)
}

/// A text in which every line can be read, in varied style.
fn valid_text() -> impl Strategy<Value = String> {
    let style = prop::sample::select(&["", " ", "\t", "#", "\r"][..]);
    prop::collection::vec((assignment(), style, any::<bool>()), 0..12).prop_map(|lines| {
        let mut text = String::new();
        let source = source();
        for ((key, value), style, empty) in lines {
            let value = if empty { "" } else { value };
            let line = match style {
                "\r" => format!("{key} = {value}\r\n"),
                "#" => format!("# {key} = {value}\n\n{key}= {value}\n"),
                blank => format!("{blank}{key}{blank}={blank}{value}\n"),
            };
            // Some lines cannot follow others, such as cap.keep after cap.drop.
            let mut config = Config::new();
            let longer = format!("{text}{line}");
            if config.load_text(longer.as_bytes(), Path::new("config"), &source).is_ok() {
                text = longer;
            }
        }
        text
    })
}

/// Absent and explicit defaults mean the same, and so do networks without type, of type `empty`, and none at
/// all.
fn normalized(values: &Values) -> Values {
    let mut values = values.clone();
    values.autodev_tmpfs_size.get_or_insert(500_000);
    values.monitor_signal_pdeath.get_or_insert(9);
    for network in values.networks.values_mut() {
        network.kind.get_or_insert(NetType::Empty);
    }
    let nothing = Network { kind: Some(NetType::Empty), ..Network::default() };
    if values.rootfs.path.is_none() {
        values.rootfs.kind = None;
    }
    values.networks.retain(|_, network| *network != nothing);
    // Entries of a map have a name each: their order says nothing.
    values.sysctls.sort();
    values.prlimits.sort_by(|a, b| a.0.cmp(&b.0));
    values
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Config::new().load_text(&text, Path::new("config"), &source());
    }

    #[test]
    fn lines_that_look_like_ours_are_read_without_panic(
        lines in prop::collection::vec(("lxc\\.[a-z0-9.]{0,20}", "[ -~é\t]{0,20}"), 0..8)
    ) {
        let text: String = lines.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        let mut config = Config::new();
        if let Err(error) = config.load_text(text.as_bytes(), Path::new("config"), &source()) {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }

    #[test]
    fn values_of_known_keys_are_read_without_panic(
        at in 0usize..200, sub in "[a-z.]{0,6}", value in "[ -~é\t]{0,24}"
    ) {
        let key = keys().nth(at % keys().count()).unwrap();
        let name = key.name.replace("<n>", "0");
        for name in [format!("{name}.{sub}"), name] {
            let mut config = Config::new();
            let _ = config.set("lxc.net.0.type", "veth", &source());
            if let Err(lxc_config::ConfigError::Invalid(error)) = config.set(&name, &value, &source()) {
                let _ = error.render();
            }
            let _ = config.get(&name);
            let _ = config.clear(&name);
        }
    }

    #[test]
    fn an_untouched_text_stays(text in valid_text()) {
        let fixed = text.replace('x', "0").replace("l0c", "lxc").replace("ma0", "max");
        let config = read(fixed.as_bytes(), &source());
        prop_assert_eq!(config.text(), fixed.as_bytes());
    }

    /// The text always says what the values say.
    #[test]
    fn edits_and_reading_agree(
        text in valid_text(),
        edits in prop::collection::vec((assignment(), 0..4), 1..8)
    ) {
        let source = source();
        let mut config = read(text.as_bytes(), &source);
        for ((key, value), kind) in edits {
            let _ = match kind {
                // Removing an include leaves what it assigned until the next reading.
                _ if key == "lxc.include" && kind < 2 => continue,
                0 => config.clear(key),
                1 => config.set(key, "", &source),
                _ => config.set(key, value, &source),
            };
            let text = config.text();
            let again = read(&text, &source);
            prop_assert_eq!(normalized(&again.values), normalized(&config.values), "{}", String::from_utf8_lossy(&text));
        }
    }

    /// What a configuration comes to makes it anew.
    #[test]
    fn effective_assignments_make_the_same(text in valid_text()) {
        let source = source();
        let config = read(text.as_bytes(), &source);
        let lines = config.effective();
        let lines: String = lines.iter().map(|e| e.line() + "\n").collect();
        let again = read(lines.as_bytes(), &source);
        prop_assert_eq!(normalized(&again.values), normalized(&config.values), "{}", lines);
    }

    /// The names of today mean the same.
    #[test]
    fn an_updated_text_means_the_same(text in valid_text()) {
        let source = source();
        let lines = text.lines().filter(|l| !l.starts_with('#'));
        let text: String = lines.map(|l| format!("{l}\n")).collect();
        let (new, _) = lxc_config::update::update(text.as_bytes());
        prop_assert_eq!(lxc_config::update::update(&new).1, []);
        // A file of LXC 2 names one type of storage, for all its paths; and what files included is not looked at.
        let random = text.contains("hwaddr");
        if !random && !text.contains("rootfs") && !text.contains("include") && !text.contains("lxc.net ") {
            let (old, new) = (read(text.as_bytes(), &source), read(&new, &source));
            prop_assert_eq!(normalized(&new.values), normalized(&old.values), "{}", text);
        }
    }

    /// What reading a scalar returns can be assigned again.
    #[test]
    fn scalars_round_trip((key, value) in assignment()) {
        let source = source();
        let mut config = Config::new();
        let _ = config.set("lxc.net.0.type", "veth", &source);
        let is_scalar = lxc_config::find_key(key).is_some_and(|found| found.kind != Kind::List);
        if is_scalar && config.set(key, value, &source).is_ok() {
            let Ok(text) = config.get(key) else { return Ok(()) };
            let values = config.values.clone();
            config.set(key, &text, &source).unwrap();
            prop_assert_eq!(config.values, values);
        }
    }
}

#[test]
fn clearing_restores_the_default() {
    let source = source();
    for (key, value) in
        ASSIGNMENTS.iter().filter(|(key, value)| !value.is_empty() && !key.starts_with("lxc.net."))
    {
        let mut config = Config::new();
        if config.set(key, value, &source).is_ok() && *key != "lxc.include" && !key.starts_with("lxc.network")
        {
            config.clear(key).unwrap();
            assert_eq!(config.values, Values::default(), "{key}");
            assert_eq!(config.text(), b"", "{key}");
        }
    }
}

#[test]
fn defaults_that_are_written_out_are_values() {
    for key in keys().filter(|key| matches!(key.empty, Empty::Means(_))) {
        let mut config = Config::new();
        config.set(key.name, key.default, &source()).unwrap();
        assert_eq!(normalized(&config.values), normalized(&Values::default()), "{}", key.name);
    }
}
