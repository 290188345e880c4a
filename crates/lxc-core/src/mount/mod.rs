//! Everything mounted for a container. These functions run in the child, in the container's new
//! mount namespace, while the host's root is still `/`.

pub mod automount;
pub mod dev;
pub mod entries;
pub mod pivot;
pub mod tree;
