//! Freezing and thawing: done by the client on the container's cgroup, with notices to the monitor.

use std::os::fd::AsFd;

use crate::cgroup::freezer;
use crate::container::Container;
use crate::error::{Error, Kind, Result};
use crate::state::State;

impl Container {
    /// Freezes all processes. Frozen already is fine.
    pub fn freeze(&self) -> Result<()> {
        self.set_frozen(true)
    }

    /// Thaws. Only a container that is frozen, or being frozen, is touched.
    pub fn unfreeze(&self) -> Result<()> {
        self.set_frozen(false)
    }

    fn set_frozen(&self, frozen: bool) -> Result<()> {
        let client = self.client();
        let state = client.state()?;
        match (frozen, state) {
            (_, State::Stopped) => {
                return Err(Error::new(Kind::NotRunning, format!("{} is not running", self.name())));
            }
            (true, State::Frozen) => return Ok(()),
            (true, _) | (false, State::Frozen | State::Freezing) => {}
            (false, _) => return Ok(()),
        }
        let (begin, end, back) = if frozen {
            (State::Freezing, State::Frozen, State::Running)
        } else {
            (State::Thawed, State::Running, State::Frozen)
        };
        let unified = client.limit_cgroup2_fd().ok();
        let directory = match unified {
            Some(fd) => Ok((fd, true)),
            None => client.limit_cgroup_fd("freezer"),
        };
        let (directory, v2) = directory.map_err(|e| e.during("find the container's freezer"))?;
        client.serve_state(begin)?;
        let done = if v2 {
            freezer::set_frozen_v2(directory.as_fd(), frozen, None)
        } else {
            freezer::set_frozen_v1(directory.as_fd(), frozen, None)
        };
        match done {
            Ok(()) => client.serve_state(end),
            Err(e) => {
                client.serve_state(back)?;
                Err(e)
            }
        }
    }
}
