//! lxc-core
