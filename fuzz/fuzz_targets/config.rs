//! Arbitrary configuration files.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "properties/config.rs"]
mod property;

fuzz_target!(|text: &[u8]| property::holds(text));
