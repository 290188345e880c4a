//! What holds for any configuration file: reading never panics, keeps the text, and what was read can be read back.
//! The fuzzer looks for a file for which it does not; the tests of lxc-config replay the files it has collected.

use std::path::Path;

use lxc_config::device_rule::DeviceEntry;
use lxc_config::mount_entry::MountEntry;
use lxc_config::update::update;
use lxc_config::{Config, ConfigError, MemorySource, check, keys, split_command};

/// Panics if it does not hold for `text`.
pub fn holds(text: &[u8]) {
    let source = MemorySource::new().file("part", "lxc.net.0.type = veth\nlxc.hook.start = /x\n");
    let mut config = Config::new();
    let result = config.load_text(text, Path::new("config"), &source);
    // Random digits are the only bytes that reading may change.
    if !text.windows(6).any(|window| window == b"hwaddr") {
        assert_eq!(config.text(), text);
    }
    match result {
        Err(ConfigError::Invalid(error)) => drop(error.render()),
        Err(error @ ConfigError::Read { .. }) => panic!("{error}"),
        Ok(()) => {
            let mut again = Config::new();
            again.load_text(&config.text(), Path::new("config"), &source).unwrap();
            assert_eq!(again.values, config.values);
            // What it comes to can be read as well.
            let lines: String = config.effective().iter().map(|one| one.line() + "\n").collect();
            Config::new().load_text(lines.as_bytes(), Path::new("config"), &source).unwrap();
        }
    }
    let (new, _) = update(text);
    assert!(update(&new).1.is_empty(), "an updated file is up to date");
    let source = source.file("config", text);
    let all = check(Path::new("config"), &source).unwrap();
    all.iter().for_each(|diagnostic| drop(diagnostic.render()));
    for key in keys() {
        let _ = config.get(key.name);
        let _ = config.clear(key.name);
    }
    if let Ok(line) = std::str::from_utf8(text) {
        let _ = MountEntry::parse(line);
        let _ = DeviceEntry::parse(line, true);
        let _ = split_command(line);
    }
}
