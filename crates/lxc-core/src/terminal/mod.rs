//! Pseudo-terminals, the console's ring buffer and log file, and raw mode.

pub mod log_file;
pub mod proxy;
pub mod pty;
pub mod ring;
