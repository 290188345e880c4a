//! The counter: the lxc-* commands. The only crate that prints.
#![allow(clippy::print_stdout, clippy::print_stderr)]

pub mod commands;
pub mod context;
pub mod dialog;
pub mod dispatch;
pub mod getopt;
pub mod help;
pub mod progress;
pub mod size;
pub mod table;

pub use dispatch::run;
