//! The container's state as its monitor knows it, and who is told of changes.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::paths;
use crate::protocol::wire::{Event, STATE_MESSAGE_LEN, StateMessage};
use crate::state::State;

/// Publishes state messages to lxc-monitord, where one runs.
#[derive(Debug)]
pub struct Publisher {
    name: String,
    fifo: Option<PathBuf>,
}

/// lxc-monitord's FIFO for an lxcpath.
pub fn monitord_fifo(lxcpath: &Path) -> Option<PathBuf> {
    // As upstream builds it: the lxcpath appended as it is.
    let mut dir = paths::runtime_dir()?.join("lxc").into_os_string();
    dir.push("/");
    dir.push(lxcpath.as_os_str());
    Some(PathBuf::from(dir).join("monitor-fifo"))
}

impl Publisher {
    /// For one container.
    pub fn new(lxcpath: &Path, name: &str) -> Publisher {
        Publisher { name: name.to_string(), fifo: monitord_fifo(lxcpath) }
    }

    /// A message to the daemon; nobody listening is the common case.
    fn publish(&self, message: &[u8; STATE_MESSAGE_LEN]) {
        let Some(fifo) = &self.fifo else { return };
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        if let Ok(fd) = rustix::fs::open(fifo, flags, Mode::empty())
            && let Err(e) = rustix::io::write(fd.as_fd(), message)
        {
            log::debug!("write to {}: {e}", fifo.display());
        }
    }

    /// A new state.
    pub fn state(&self, state: State) {
        log::info!("state {state}");
        self.publish(&StateMessage::state(&self.name, state).encode());
    }

    /// The end of init, as wait(2) says it.
    pub fn exit(&self, raw: i32) {
        self.publish(&StateMessage { name: self.name.clone(), event: Event::Exit(raw) }.encode());
    }
}
