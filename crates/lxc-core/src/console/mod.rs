//! A session on a container's console or tty, from outside.

use std::os::fd::AsFd;

use crate::container::Container;
use crate::error::Result;
use crate::protocol::TtyGrant;
use crate::terminal::proxy::{Ended, Proxy};
use crate::terminal::pty::{self, RawMode};

impl Container {
    /// Reserves a terminal: -1 for any tty, 0 for the console.
    pub fn console_grant(&self, number: i32) -> Result<TtyGrant> {
        self.client().tty(number)
    }

    /// Connects stdin and stdout to a terminal until it or the input ends, or the escape sequence
    /// (`escape` then `q`) is typed.
    pub fn console_session(&self, grant: &TtyGrant, escape: Option<u8>) -> Result<Ended> {
        let (stdin, stdout) = (rustix::stdio::stdin(), rustix::stdio::stdout());
        // A session of our own, where we lead no group: signals of the terminal are not for us.
        let _ = rustix::process::setsid();
        pty::copy_window_size(stdin, grant.ptx.as_fd());
        let raw = RawMode::enter(stdin);
        let ended = Proxy {
            input: Some(stdin),
            output: Some(stdout),
            ptx: grant.ptx.as_fd(),
            log: None,
            escape,
            outlive_input: false,
        }
        .run();
        drop(raw);
        ended
    }
}
