//! What holds for any map of ids: it is refused, or no id has two meanings; and nobody may map what no file gives.

use std::path::Path;

use lxc_config::{Config, IdKind, MemorySource};
use lxc_core::plan::{Identity, Subordinate};
use lxc_core::unshare::parse_map;

/// Panics if it does not hold for a text, each line of which is taken for a map, an option and a line of subuid.
pub fn holds(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let given = Subordinate::of("me", (1000, 100), &text, &text);
    let mut config = Config::new();
    for line in text.lines() {
        let _ = config.set("lxc.idmap", line, &MemorySource::new());
        for map in parse_map(line).unwrap_or_default() {
            let identity = Identity { map: vec![map], ..Identity::default() };
            let _ = given.check(&identity).map_err(|e| e.to_string());
        }
    }
    // Read back as it is written.
    let mut again = Config::new();
    again
        .load_text(&config.text(), Path::new("config"), &MemorySource::new())
        .expect("what was set can be read");
    assert_eq!(again.values.idmap, config.values.idmap);
    let Ok(identity) = Identity::resolve(&config.values) else { return };
    for kind in [IdKind::Uid, IdKind::Gid] {
        let map = identity.map_text(kind);
        assert_eq!(map.lines().count(), identity.map.iter().filter(|m| m.kind == kind).count());
        for line in identity.map.iter().filter(|m| m.kind == kind) {
            for inside in [line.ns_id, line.ns_id + line.count - 1] {
                let Ok(inside) = u32::try_from(inside) else { panic!("{line:?}") };
                let outside = identity.host_id(kind, inside).expect("it is mapped");
                assert_eq!(identity.inside_id(kind, outside), Some(inside));
            }
        }
    }
    if identity.is_mapped() {
        let more = identity.with_caller();
        assert!(more.map.len() <= identity.map.len() + 2);
        let _ = given.check(&more).map_err(|e| e.to_string());
    }
}
