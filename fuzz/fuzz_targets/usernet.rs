//! Arbitrary files lxc-usernet and nics.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "properties/usernet.rs"]
mod property;

fuzz_target!(|bytes: &[u8]| property::holds(bytes));
