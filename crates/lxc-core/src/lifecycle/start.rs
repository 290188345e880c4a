//! Starting.

use std::borrow::Cow;
use std::os::fd::OwnedFd;

use lxc_config::{GlobalConfig, HookType};
use lxc_sys::{Errno, socket};

use crate::cgroup::GroupSet;
use crate::container::Container;
use crate::error::{Doing, Error, Kind, Result};
use crate::lock::{self, Creation};
use crate::monitor::{Begin, Exit, StartFailure, daemonize, supervise};
use crate::plan::{Host, Plan, RootfsPlan, StartOptions, Storage, locate};
use crate::protocol::address::command_socket;
use crate::state::State;
use crate::storage::dependents;
use crate::{global, log, network};

/// How a start succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// It runs in the hands of a daemon.
    Daemon,
    /// It ran in the foreground and ended.
    Ended(Exit),
}

impl From<Error> for StartFailure {
    fn from(error: Error) -> StartFailure {
        StartFailure { error, trace: String::new() }
    }
}

impl Container {
    /// Decides how the container would be started, without starting it.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn plan(&self, options: StartOptions) -> Result<Plan> {
        let plan = self.plan_with(options, &global::load())?;
        self.check_links(&plan)?;
        Ok(plan)
    }

    fn plan_with(&self, options: StartOptions, global: &GlobalConfig) -> Result<Plan> {
        let pattern = global.get("lxc.cgroup.pattern").flatten().map(str::to_string);
        let host = Host::detect(&self.config.values, pattern);
        Plan::resolve(self.name(), self.lxcpath(), &self.config, options, &host)
    }

    /// Whether the host has what the networks need. A pre-start hook may make it first.
    fn check_links(&self, plan: &Plan) -> Result<()> {
        if !plan.hooks(HookType::PreStart).is_empty() {
            return Ok(());
        }
        network::link::check(&plan.values).map_err(|e| locate(e, &self.config))
    }

    /// Starts the container. In the foreground it returns when the container ended.
    ///
    /// # Errors
    /// Why it does not run; nothing of it is left.
    pub fn start(&self, options: StartOptions) -> std::result::Result<Started, StartFailure> {
        let global = global::load();
        let controllers = global.get("lxc.cgroup.use").flatten();
        // Taken first: what one that runs has in use is no error. Who removes or replaces it from now on sees that it
        // runs; who has begun to is seen here.
        let listener = self.bind_whole()?;
        let plan = Box::new(self.plan_with(options, &global)?);
        self.check_image(&plan)?;
        self.check_links(&plan)?;
        if plan.options.daemonize {
            daemonize::start(plan, &self.config, listener, controllers)?;
            return Ok(Started::Daemon);
        }
        self.start_here(plan, listener, controllers).map(Started::Ended)
    }

    /// Whether its image may change: images of others that hold what has changed against it would be worth nothing.
    fn check_image(&self, plan: &Plan) -> Result<()> {
        let is_image = |rootfs: &RootfsPlan| matches!(rootfs.storage, Storage::Nbd { .. });
        if plan.rootfs.as_ref().is_some_and(is_image)
            && dependents::builders(&self.directory())?.is_none_or(|clones| !clones.is_empty())
        {
            return Err(Error::invalid(format!(
                "{} has clones, which its image must not change for",
                self.name()
            ))
            .with_hint("start a copy of it"));
        }
        Ok(())
    }

    fn check_complete(&self) -> Result<()> {
        match lock::creation(&self.directory())? {
            Creation::Complete => Ok(()),
            Creation::Ongoing => Err(Error::invalid("Ongoing container creation detected")),
            Creation::Incomplete => {
                Err(Error::invalid(format!("the creation or removal of {} was interrupted", self.name()))
                    .with_hint("remove the remains with lxc-destroy"))
            }
        }
    }

    /// The command socket of a container that is all there: what a rename or restore has left is ended first.
    fn bind_whole(&self) -> Result<OwnedFd> {
        let listener = self.bind()?;
        self.check_complete()?;
        if !self.is_unfinished() {
            return Ok(listener);
        }
        // Only of a container that is stopped.
        drop(listener);
        self.recover()?;
        let listener = self.bind()?;
        self.check_complete()?;
        if self.is_unfinished() {
            return Err(Error::invalid(format!("{} is being restored or renamed", self.name())));
        }
        Ok(listener)
    }

    /// The command socket: taking its name is what excludes a second start.
    fn bind(&self) -> Result<OwnedFd> {
        let name = command_socket(self.lxcpath(), self.name());
        match socket::listen_abstract(&name) {
            Err(Errno::ADDRINUSE) => match self.state()? {
                // Whoever had the name has just ended.
                State::Stopped => socket::listen_abstract(&name)
                    .doing(|| format!("Container \"{}\" appears to be already running", self.name())),
                _ => Err(Error::new(Kind::AlreadyRunning, "Container is already running")),
            },
            result => result.doing(|| "make the command socket"),
        }
    }

    /// In the foreground this process is the monitor.
    fn start_here(
        &self,
        plan: Box<Plan>,
        listener: OwnedFd,
        controllers: Option<&str>,
    ) -> std::result::Result<Exit, StartFailure> {
        log::start_ring();
        let failed = |error: Error| StartFailure { error, trace: log::take_ring().concat() };
        let pidfile = plan.options.pidfile.clone();
        if let Some(path) = &pidfile {
            daemonize::write_pidfile(path, rustix::process::getpid()).map_err(failed)?;
        }
        let made = daemonize::make_monitor_groups(&plan, controllers);
        if let (Err(_), Some(path)) = (&made, &pidfile) {
            let _ = std::fs::remove_file(path);
        }
        let (layout, groups) = made.map_err(failed)?;
        enter_unified(&groups);
        let begin = Begin {
            plan,
            config: Cow::Borrowed(&self.config),
            listener,
            layout,
            groups,
            network: None,
            report: None,
        };
        supervise::run(begin).map_err(failed)
    }
}

/// This process was not born in its cgroup v2: it moves there.
fn enter_unified(groups: &GroupSet) {
    if let Err(e) = groups.enter() {
        ::log::warn!("{e}");
    }
}

impl PartialEq for Error {
    fn eq(&self, other: &Error) -> bool {
        self.kind() == other.kind() && self.to_string() == other.to_string()
    }
}
