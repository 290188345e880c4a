//! From clone3 to exec: two processes that walk one script.

pub mod ahead;
pub mod channel;
pub mod child;
pub mod finish;
pub mod id_maps;
pub mod isolated;
pub mod parent;
pub mod script;
pub mod small_init;

pub use parent::{Spawned, spawn};
