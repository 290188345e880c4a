//! The commands, end to end: one file per command or theme.
//!
//! `needs!` at the top of a test says what it cannot do without; `cargo xtask test` shows what was skipped.

mod attach;
mod cgroup;
mod config;
mod console;
mod execute;
mod freeze;
mod info;
mod ls;
mod monitor;
mod monitord;
mod start;
mod stop;
mod wait;
