//! The files that the fuzzer has collected, replayed.

use std::path::Path;

#[path = "../../../fuzz/fuzz_targets/properties/config.rs"]
mod property;

#[test]
fn the_property_holds_for_every_file() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/config");
    let mut count = 0;
    for entry in std::fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read(&path).unwrap();
        if std::panic::catch_unwind(|| property::holds(&text)).is_err() {
            panic!("{}", path.display());
        }
        count += 1;
    }
    assert!(count > 100, "only {count} files in {}", directory.display());
}
