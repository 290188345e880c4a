//! What is done with a container as a whole. Each file is one operation on [`crate::Container`].

pub mod autostart;
pub mod configure;
pub mod create;
pub mod destroy;
pub mod devices;
pub mod discover;
pub mod freeze;
pub mod items;
mod networks;
pub mod start;
pub mod stats;
pub mod stop;
pub mod wait;
