//! Arbitrary seccomp policies.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "properties/seccomp.rs"]
mod property;

fuzz_target!(|bytes: &[u8]| property::holds(bytes));
