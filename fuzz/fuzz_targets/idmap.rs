//! Arbitrary maps of ids, and files subuid and subgid.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "properties/idmap.rs"]
mod property;

fuzz_target!(|bytes: &[u8]| property::holds(bytes));
