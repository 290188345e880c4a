//! The commands, end to end: one file per command or theme.
//!
//! `needs!` at the top of a test says what it cannot do without; `cargo xtask test` shows what was skipped.

mod apparmor;
mod attach;
mod autostart;
mod bad_input;
mod cgroup;
mod config;
mod console;
mod create;
mod destroy;
mod device;
mod execute;
mod freeze;
mod gc;
mod hooks;
mod hostile;
mod info;
mod inside;
mod interop;
mod keys;
mod kill;
mod limits;
mod ls;
mod monitor;
mod monitord;
mod net;
mod net_add;
mod network;
mod notify;
mod openvswitch;
mod run;
mod seccomp;
mod security;
mod session;
mod start;
mod stop;
mod stress;
mod systemd;
mod unshare;
mod update_config;
mod user;
mod user_nic;
mod usernsexec;
mod wait;
