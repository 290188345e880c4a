//! The works: the life of a container.
//!
//! See ARCHITECTURE.md for the rooms and for the order of a start.
#![forbid(unsafe_code)]

pub mod attach;
pub mod cgroup;
pub mod console;
pub mod container;
pub mod error;
pub mod files;
pub mod gc;
pub mod global;
pub mod hooks;
pub mod lifecycle;
pub mod lock;
pub mod log;
pub mod lsm;
pub mod monitor;
pub mod monitord;
pub mod mount;
pub mod network;
pub mod paths;
pub mod plan;
pub mod program;
pub mod protocol;
pub mod rootfs;
pub mod seccomp;
pub mod source;
pub mod spawn;
pub mod state;
pub mod storage;
pub mod template;
pub mod terminal;
pub mod unshare;

pub use container::Container;
pub use error::{Error, Kind, Result};
pub use state::State;
