//! Security labels: what a Linux security module confines the container by.

pub mod apparmor;
mod profile;
