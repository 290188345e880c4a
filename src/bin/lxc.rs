//! lxc
fn main() {}
