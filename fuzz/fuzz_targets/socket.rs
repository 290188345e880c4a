//! Arbitrary clients of the command socket.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "properties/socket.rs"]
mod property;

fuzz_target!(|bytes: &[u8]| property::holds(bytes));
