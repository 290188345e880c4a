//! What is done with a container as a whole. Each file is one operation on [`crate::Container`].

pub mod archive;
pub mod autostart;
pub mod configure;
pub mod copy;
pub mod create;
pub mod destroy;
pub mod devices;
pub mod diff;
pub mod discover;
pub mod ephemeral;
pub mod freeze;
pub mod items;
pub(crate) mod making;
mod networks;
pub mod rename;
mod restore;
mod rewrite;
pub mod snapshot;
pub mod start;
pub mod stats;
pub mod stop;
pub mod wait;
