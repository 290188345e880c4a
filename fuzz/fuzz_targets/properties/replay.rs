//! What the fuzzer has collected, replayed by the tests of the crate that a property is about.

use std::path::Path;

/// Does the same with every file of a target, of which there are more than `floor`.
pub fn replay(target: &str, floor: usize, holds: fn(&[u8])) {
    // Every crate that replays is two directories below the workspace.
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        if std::panic::catch_unwind(|| holds(&bytes)).is_err() {
            panic!("{}", path.display());
        }
        count += 1;
    }
    assert!(count > floor, "only {count} files in {}", directory.display());
}
