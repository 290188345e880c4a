//! What the fuzzer has collected, replayed.

#[path = "../../../fuzz/fuzz_targets/properties/replay.rs"]
mod replay;
#[path = "../../../fuzz/fuzz_targets/properties/usernet.rs"]
mod usernet;

#[test]
fn usernet_files() {
    replay::replay("usernet", 20, usernet::holds);
}
