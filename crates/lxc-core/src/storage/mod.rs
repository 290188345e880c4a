//! Storage of root file systems: making and removing.

pub mod remove;

pub use remove::remove_directory;
