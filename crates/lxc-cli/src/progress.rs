//! How far a copy is, for whoever watches it on a terminal.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use lxc_core::storage::copy::{Copied, Progress};

use crate::context::Context;
use crate::size;

/// A line on standard error that is drawn again and again, and removed at the end.
pub struct Bar {
    draw: Box<dyn Fn(Copied) + Sync>,
}

/// Nothing is shown of what takes no time.
const DELAY: Duration = Duration::from_millis(400);

impl Bar {
    /// A line where a person sees it.
    pub fn new(context: &Context) -> Option<Bar> {
        if context.quiet || !std::io::stderr().is_terminal() {
            return None;
        }
        let begin = Instant::now();
        let draw = move |copied: Copied| {
            let passed = begin.elapsed();
            if passed < DELAY {
                return;
            }
            let rate = (copied.bytes as f64 / passed.as_secs_f64()) as u64;
            let text = format!(
                "\r\x1b[K{} in {} files, {}/s",
                size::show(copied.bytes),
                copied.entries,
                size::show(rate)
            );
            // A terminal that is gone is no reason to stop.
            let _ = std::io::stderr().write_all(text.as_bytes());
        };
        Some(Bar { draw: Box::new(draw) })
    }

    /// What the copying calls.
    pub fn hook(&self) -> Progress<'_> {
        &*self.draw
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        let _ = std::io::stderr().write_all(b"\r\x1b[K");
    }
}
