//! The door: all lxc-* commands in one program.
#![no_main]

lxc_sys::main!(lxc_cli::run);
