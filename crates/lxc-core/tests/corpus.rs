//! What the fuzzer has collected, replayed.

#[path = "../../../fuzz/fuzz_targets/properties/idmap.rs"]
mod idmap;
#[path = "../../../fuzz/fuzz_targets/properties/replay.rs"]
mod replay;
#[path = "../../../fuzz/fuzz_targets/properties/seccomp.rs"]
mod seccomp;
#[path = "../../../fuzz/fuzz_targets/properties/socket.rs"]
mod socket;

#[test]
fn seccomp_files() {
    replay::replay("seccomp", 20, seccomp::holds);
}

#[test]
fn socket_files() {
    replay::replay("socket", 20, socket::holds);
}

#[test]
fn idmap_files() {
    replay::replay("idmap", 20, idmap::holds);
}
