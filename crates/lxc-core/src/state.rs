//! States of a container, as numbered on the wire (spec: life cycle, section 1).

use std::fmt;

/// A container's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum State {
    /// No monitor answers.
    Stopped = 0,
    /// Being set up.
    Starting = 1,
    /// init was executed.
    Running = 2,
    /// init ended, being taken down.
    Stopping = 3,
    /// The start failed.
    Aborting = 4,
    /// Being frozen.
    Freezing = 5,
    /// Frozen.
    Frozen = 6,
    /// Being thawed; sent as a message only.
    Thawed = 7,
}

/// Number of states; also the answer "not in one of those states yet" of ADD_STATE_CLIENT.
pub const MAX_STATE: usize = 8;

impl State {
    /// All states by number.
    pub const ALL: [State; MAX_STATE] = [
        State::Stopped,
        State::Starting,
        State::Running,
        State::Stopping,
        State::Aborting,
        State::Freezing,
        State::Frozen,
        State::Thawed,
    ];

    /// The word shown to users.
    pub fn name(self) -> &'static str {
        match self {
            State::Stopped => "STOPPED",
            State::Starting => "STARTING",
            State::Running => "RUNNING",
            State::Stopping => "STOPPING",
            State::Aborting => "ABORTING",
            State::Freezing => "FREEZING",
            State::Frozen => "FROZEN",
            State::Thawed => "THAWED",
        }
    }

    /// The state of a number, if there is one.
    pub fn from_number(number: i64) -> Option<State> {
        usize::try_from(number).ok().and_then(|n| State::ALL.get(n)).copied()
    }

    /// The state of a word (upper case, exact).
    pub fn from_name(name: &str) -> Option<State> {
        State::ALL.into_iter().find(|s| s.name() == name)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
