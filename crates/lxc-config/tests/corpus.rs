//! What the fuzzer has collected, replayed.

#[path = "../../../fuzz/fuzz_targets/properties/config.rs"]
mod config;
#[path = "../../../fuzz/fuzz_targets/properties/replay.rs"]
mod replay;

#[test]
fn configuration_files() {
    replay::replay("config", 100, config::holds);
}
