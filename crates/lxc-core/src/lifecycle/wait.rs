//! Waiting for a state.

use std::time::{Duration, Instant};

use crate::container::Container;
use crate::error::{Error, Kind, Result};
use crate::protocol::client::StateWait;
use crate::protocol::wire::StateMask;
use crate::state::State;

impl Container {
    /// Waits until the container is in one of the states; `None` waits for ever.
    ///
    /// # Errors
    /// [`Kind::TimedOut`].
    pub fn wait(&self, states: &[State], timeout: Option<Duration>) -> Result<State> {
        let mut mask = StateMask::default();
        states.iter().for_each(|s| mask[*s as usize] = 1);
        let deadline = timeout.map(|t| Instant::now() + t);
        let wants_stopped = states.contains(&State::Stopped);
        loop {
            let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
            match self.client().wait_for(&mask) {
                Ok(StateWait::Now(state)) => return Ok(state),
                Ok(StateWait::Later(subscription)) => {
                    if left == Some(Duration::ZERO) {
                        return Err(self.timed_out());
                    }
                    match subscription.next(left)? {
                        Some(state) => return Ok(state),
                        None if wants_stopped => return Ok(State::Stopped),
                        // It ended while we waited for something else: perhaps it starts again.
                        None => {}
                    }
                }
                Err(e) if e.kind() == Kind::NotRunning => {
                    if wants_stopped {
                        return Ok(State::Stopped);
                    }
                }
                Err(e) => return Err(e),
            }
            if left == Some(Duration::ZERO) {
                return Err(self.timed_out());
            }
            let pause = Duration::from_millis(50);
            std::thread::sleep(left.map_or(pause, |l| l.min(pause)));
        }
    }

    fn timed_out(&self) -> Error {
        Error::new(Kind::TimedOut, format!("{} reached none of the states in time", self.name()))
    }
}
