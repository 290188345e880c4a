//! The handle of one container: its name, where it is, and its configuration.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use lxc_config::Config;

use crate::error::{Doing, Error, Kind, Result};
use crate::protocol::Client;
use crate::source::Files;
use crate::state::State;
use crate::{paths, plan};

/// A container, defined or not. Handles share nothing: each has its own configuration in memory,
/// and the running container is asked through its monitor.
#[derive(Debug, Clone)]
pub struct Container {
    name: String,
    lxcpath: PathBuf,
    /// The configuration as loaded and changed by this handle.
    pub config: Config,
    defined: bool,
    loaded: bool,
    waited: bool,
}

/// Name of the configuration that a container gets when it has its new name.
pub(crate) const WAITING: &str = ".renamed";

/// Removes trailing slashes, as every program does with an lxcpath, and nothing else: the text
/// names the command socket.
pub fn normalize_lxcpath(path: &Path) -> PathBuf {
    let text = path.to_string_lossy();
    let trimmed = text.trim_end_matches('/');
    if trimmed.is_empty() && text.starts_with('/') { PathBuf::from("/") } else { PathBuf::from(trimmed) }
}

impl Container {
    /// The container `name` in `lxcpath`, with its configuration loaded if it has one.
    ///
    /// # Errors
    /// The name is none, or the configuration cannot be read: file, line, cause.
    pub fn open(name: &str, lxcpath: &Path) -> Result<Container> {
        let mut container = Container::without_config(name, lxcpath)?;
        let path = container.config_path();
        match container.load(&path).and_then(|()| container.load_waiting()) {
            Ok(()) => container.defined = true,
            // What it includes may have been here before the directory was renamed.
            Err(_) if container.load_waiting_alone().is_ok_and(|waited| waited) => container.defined = true,
            Err(e) if e.errno() == Some(lxc_sys::Errno::NOENT) => {}
            Err(e) => return Err(e),
        }
        Ok(container)
    }

    /// The container `name` in `lxcpath` without looking at its configuration.
    pub fn without_config(name: &str, lxcpath: &Path) -> Result<Container> {
        plan::check_name(name)?;
        Ok(Container {
            name: name.to_string(),
            lxcpath: normalize_lxcpath(lxcpath),
            config: Config::new(),
            defined: false,
            loaded: false,
            waited: false,
        })
    }

    /// The same container with the configuration of another file instead of its own.
    pub fn with_rcfile(name: &str, lxcpath: &Path, rcfile: &Path) -> Result<Container> {
        let mut container = Container::without_config(name, lxcpath)?;
        container.defined = container.config_path().exists();
        container.load(rcfile)?;
        Ok(container)
    }

    fn load(&mut self, path: &Path) -> Result<()> {
        self.config.load(path, &Files)?;
        self.loaded = true;
        for warning in self.config.warnings() {
            log::warn!("{warning}");
        }
        let log = &self.config.values.log;
        if log.file.is_some() || log.level.is_some() || log.syslog.is_some() {
            crate::log::apply_config(&self.config.values)?;
        }
        Ok(())
    }

    /// A root file system elsewhere may be one that was here before the directory was renamed, by somebody who was
    /// killed: then the configuration that waits beside is the container's. It is for the container of its host name.
    fn load_waiting(&mut self) -> Result<()> {
        let directory = self.directory();
        let is_here = |path: &String| path.split(':').any(|part| Path::new(part).starts_with(&directory));
        if self.config.values.rootfs.path.as_ref().is_some_and(is_here) {
            return Ok(());
        }
        self.load_waiting_alone().map(drop)
    }

    /// The same whatever the other configuration says. Returns whether one is waiting for this container.
    fn load_waiting_alone(&mut self) -> Result<bool> {
        let waiting = self.directory().join(WAITING);
        if !waiting.exists() {
            return Ok(false);
        }
        let mut config = Config::new();
        config.load(&waiting, &Files)?;
        if config.values.uts_name.as_deref() != Some(&self.name) {
            return Ok(false);
        }
        self.config = Config::new();
        self.waited = true;
        self.load(&waiting).map(|()| true)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory of containers that it is in.
    pub fn lxcpath(&self) -> &Path {
        &self.lxcpath
    }

    /// Its lxcpath, from wherever it is looked at, and its name.
    pub fn place(&self) -> (PathBuf, String) {
        (paths::absolute(&self.lxcpath), self.name.clone())
    }

    /// Its own directory. What is written down of it is found from everywhere.
    pub fn directory(&self) -> PathBuf {
        paths::absolute(&self.lxcpath).join(&self.name)
    }

    /// Its configuration file, whether it exists or not.
    pub fn config_path(&self) -> PathBuf {
        self.directory().join("config")
    }

    /// Whether it has a configuration file.
    pub fn is_defined(&self) -> bool {
        self.defined
    }

    /// Whether a configuration was loaded, from its own or another file.
    pub fn has_config(&self) -> bool {
        self.loaded
    }

    /// Whether its configuration is one that waited for a rename that was killed.
    pub(crate) fn has_waited(&self) -> bool {
        self.waited
    }

    /// Applies `KEY=VALUE`.
    pub fn define(&mut self, assignment: &str) -> Result<()> {
        self.config.define(assignment, &Files)?;
        Ok(())
    }

    /// Sets an item; an empty value clears it.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        self.config.set(key, value, &Files)?;
        Ok(())
    }

    /// Asks its monitor.
    pub fn client(&self) -> Client {
        Client::new(&self.lxcpath, &self.name)
    }

    /// Its state.
    pub fn state(&self) -> Result<State> {
        self.client().state()
    }

    /// Whether the caller may control it.
    pub fn may_control(&self) -> bool {
        self.client().may_control()
    }

    /// An error unless it runs.
    pub fn require_running(&self) -> Result<()> {
        match self.state()? {
            State::Stopped => Err(Error::new(Kind::NotRunning, format!("{} is not running", self.name))),
            _ => Ok(()),
        }
    }

    /// Writes the configuration of a container that is not complete: nobody reads it yet, and all of it is written to
    /// disk when it is.
    pub(crate) fn write_new(&mut self) -> Result<()> {
        let path = self.config_path();
        let what = || format!("write {}", path.display());
        let mut file = File::options().write(true).create_new(true).mode(0o640).open(&path).doing(what)?;
        file.write_all(&self.config.text()).doing(what)?;
        self.defined = true;
        Ok(())
    }

    /// Writes the configuration to the container's own file: atomically, keeping mode and owner.
    pub fn save(&mut self) -> Result<()> {
        let path = self.config_path();
        crate::files::replace(&path, &self.config.text(), 0o640)?;
        // It is newer than one that a rename has left waiting.
        let _ = std::fs::remove_file(self.directory().join(WAITING));
        self.defined = true;
        Ok(())
    }
}
