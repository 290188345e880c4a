//! The command socket's protocol: addresses, messages and the client side.
//!
//! The wire format is upstream's, so that each side may be the other program
//! (spec: command protocol).

pub mod address;
pub mod client;
pub mod wire;

pub use client::{Client, Pending, StateWait, TtyGrant};
