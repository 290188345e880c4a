//! lxc-testkit
