//! The configuration of a container: in memory, in its file, and of its running monitor.

use std::path::{Path, PathBuf};

use lxc_config::{Diagnostic, GetError};
use lxc_sys::Errno;

use crate::cgroup::layout;
use crate::container::Container;
use crate::error::{Doing, Error, Result};
use crate::global;
use crate::lock;
use crate::plan::{Host, Plan, StartOptions, advice};
use crate::source::Files;

/// What a look at a configuration found.
#[derive(Debug, Default)]
pub struct Checked {
    /// What is wrong with lines, in their order, warnings included.
    pub diagnostics: Vec<Diagnostic>,
    /// Why a container would not start with it, where its lines are all right.
    pub refused: Option<Error>,
    /// What has no effect here or contradicts itself, with the place of the key.
    pub advice: Vec<(advice::Advice, Option<(PathBuf, u32)>)>,
    /// All files that were read, in the order in which they were begun.
    pub files: Vec<PathBuf>,
}

impl Checked {
    /// Whether a container would start with it, as far as can be told without starting one.
    pub fn is_valid(&self) -> bool {
        self.refused.is_none() && self.diagnostics.iter().all(Diagnostic::is_warning)
    }
}

impl Container {
    /// The value of an item as text, as the API of LXC gives it; empty where nothing is set.
    ///
    /// # Errors
    /// EINVAL for an unknown key or network, ENOENT for an unknown key of a network, ENOSYS for `lxc.include`.
    pub fn get(&self, key: &str) -> Result<String> {
        let what = |e: GetError| Error::os(key, Errno::from_raw_os_error(e.errno()));
        self.config.get(key).map_err(what)
    }

    /// Clears an item, and with `lxc.net`, `lxc.net.N`, `lxc.hook` and other prefixes all below.
    ///
    /// # Errors
    /// The key is unknown.
    pub fn clear(&mut self, key: &str) -> Result<()> {
        Ok(self.config.clear(key)?)
    }

    /// Forgets the whole configuration in memory.
    pub fn clear_config(&mut self) {
        self.config = lxc_config::Config::new();
    }

    /// Names of all keys, or those that the API lists below a prefix, one a line.
    ///
    /// # Errors
    /// EINVAL: nothing is listed below that prefix.
    pub fn keys(&self, prefix: Option<&str>) -> Result<String> {
        let what = |e: GetError| Error::os(prefix.unwrap_or_default(), Errno::from_raw_os_error(e.errno()));
        self.config.keys(prefix).map_err(what)
    }

    /// The value of an item as the running container has it, generated names included. `None`: it is unset,
    /// unknown to the monitor, or the container does not run.
    ///
    /// # Errors
    /// The caller may not ask, or the monitor does not answer.
    pub fn running_item(&self, key: &str) -> Result<Option<String>> {
        match self.client().config_item(key) {
            Err(e) if e.errno().is_some_and(crate::protocol::client::means_stopped) => Ok(None),
            answer => answer,
        }
    }

    /// Reads a file on top of what is in memory; the container's own, under its lock, where none is named.
    ///
    /// # Errors
    /// File, line and cause; what stands before it is applied.
    pub fn load_config(&mut self, file: Option<&Path>) -> Result<()> {
        let _lock = match file {
            None => Some(lock::lock_container(self.lxcpath(), self.name())?),
            Some(_) => None,
        };
        let own = self.config_path();
        Ok(self.config.load(file.unwrap_or(&own), &Files)?)
    }

    /// Writes the configuration to a file; to the container's own, under its lock, where none is named, with
    /// the default configuration of lxc.conf where nothing is in memory yet.
    ///
    /// # Errors
    /// Why the file is as it was.
    pub fn save_config(&mut self, file: Option<&Path>) -> Result<()> {
        if let Some(file) = file {
            return crate::files::replace(file, &self.config.text(), 0o640);
        }
        if self.config.text().is_empty() && !self.has_config() {
            self.config.load(Path::new(global::load().default_config()), &Files)?;
        }
        let directory = self.directory();
        if !directory.is_dir() {
            use std::os::unix::fs::DirBuilderExt;
            std::fs::DirBuilder::new()
                .mode(0o770)
                .recursive(true)
                .create(&directory)
                .doing(|| format!("create {}", directory.display()))?;
        }
        let _lock = lock::lock_container(self.lxcpath(), self.name())?;
        self.save()
    }

    /// Changes the container's file: under its lock it is read, changed and written. When the change fails,
    /// the file stays as it is.
    ///
    /// # Errors
    /// There is no file, or the change was refused.
    pub fn change_config(&mut self, change: impl FnOnce(&mut Container) -> Result<()>) -> Result<()> {
        let _lock = lock::lock_container(self.lxcpath(), self.name())?;
        self.clear_config();
        let path = self.config_path();
        self.config.load(&path, &Files)?;
        change(self)?;
        self.save()
    }
}

/// Looks at a configuration file from every side without starting anything. `name` and `lxcpath` are those of
/// the container that it is for.
///
/// # Errors
/// The file itself cannot be read.
pub fn check(file: &Path, name: &str, lxcpath: &Path) -> Result<Checked> {
    let mut config = lxc_config::Config::new();
    let diagnostics = lxc_config::check_into(&mut config, file, &Files)?;
    let mut checked = Checked { files: config.files().to_vec(), diagnostics, ..Checked::default() };
    if checked.diagnostics.iter().all(Diagnostic::is_warning) {
        let global = global::load();
        let pattern = global.get("lxc.cgroup.pattern").flatten().map(str::to_string);
        let host = Host::detect(&config.values, pattern);
        checked.refused = Plan::resolve(name, lxcpath, &config, StartOptions::default(), &host).err();
        let unified = layout::detect(config.values.cgroup.relative, None).is_ok_and(|l| l.is_unified());
        let located = |a: advice::Advice| {
            let place = config.origin(&a.key);
            (a, place)
        };
        checked.advice = advice::advise(&config.values, &host, unified).into_iter().map(located).collect();
    }
    Ok(checked)
}
