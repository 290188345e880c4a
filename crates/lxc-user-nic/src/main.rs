//! The setuid program; see the library.
#![no_main]

lxc_sys::main!(lxc_user_nic::run);
