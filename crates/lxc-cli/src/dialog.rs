//! What the making of a container tells whoever has asked for it, and asks them.

use std::cell::Cell;
use std::io::{BufRead, IsTerminal, Write};
use std::time::{Duration, Instant};

use lxc_core::template::Dialog;

use crate::size;

/// Lines on standard output; how far a download is on standard error, where that is a terminal.
#[derive(Debug)]
pub struct Terminal {
    draws: bool,
    /// When the line about a download was drawn; `None`: there is none.
    drawn: Cell<Option<Instant>>,
}

/// Between two drawings of a line.
const PAUSE: Duration = Duration::from_millis(100);

impl Terminal {
    /// Of this process.
    pub fn new() -> Terminal {
        Terminal { draws: std::io::stderr().is_terminal(), drawn: Cell::default() }
    }

    fn erase(&self) {
        if self.drawn.take().is_some() {
            // A terminal that is gone is no reason to stop.
            let _ = std::io::stderr().write_all(b"\r\x1b[K");
        }
    }
}

impl Default for Terminal {
    fn default() -> Terminal {
        Terminal::new()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.erase();
    }
}

impl Dialog for Terminal {
    fn say(&self, text: &str) {
        self.erase();
        // Nobody may be reading any more.
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    fn ask(&self, question: &str) -> Option<String> {
        let mut out = std::io::stdout();
        out.write_all(question.as_bytes()).and_then(|()| out.flush()).ok()?;
        let mut line = String::new();
        let n = std::io::stdin().lock().read_line(&mut line).ok()?;
        (n > 0).then_some(line)
    }

    fn received(&self, bytes: u64, all: Option<u64>) {
        if !self.draws || self.drawn.get().is_some_and(|drawn| drawn.elapsed() < PAUSE) {
            return;
        }
        self.drawn.set(Some(Instant::now()));
        let share = all
            .filter(|all| *all > 0)
            .map(|all| format!(" of {}, {} %", size::show(all), bytes.saturating_mul(100) / all));
        let text = format!("\r\x1b[K{}{}", size::show(bytes), share.unwrap_or_default());
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}
