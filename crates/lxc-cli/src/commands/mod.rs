//! One file per command: its options, and what it does.

pub mod attach;
pub mod autostart;
pub mod cgroup;
pub mod config;
pub mod console;
pub mod copy;
pub mod create;
pub mod destroy;
pub mod device;
pub mod execute;
pub mod freeze;
pub mod gc;
pub mod info;
pub mod ls;
pub mod monitor;
pub mod monitord;
pub mod net;
pub mod run;
pub mod seccomp;
pub mod snapshot;
pub mod start;
pub mod stop;
pub mod unshare;
pub mod update_config;
pub mod usernsexec;
pub mod wait;
