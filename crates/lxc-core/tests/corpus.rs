//! What the fuzzer has collected, replayed.

use std::path::Path;

#[path = "../../../fuzz/fuzz_targets/properties/idmap.rs"]
mod idmap;
#[path = "../../../fuzz/fuzz_targets/properties/seccomp.rs"]
mod seccomp;
#[path = "../../../fuzz/fuzz_targets/properties/socket.rs"]
mod socket;

/// Does the same with every file of a target.
fn replay(target: &str, holds: fn(&[u8])) {
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
    assert!(count > 20, "only {count} files in {}", directory.display());
}

#[test]
fn seccomp_files() {
    replay("seccomp", seccomp::holds);
}

#[test]
fn socket_files() {
    replay("socket", socket::holds);
}

#[test]
fn idmap_files() {
    replay("idmap", idmap::holds);
}
