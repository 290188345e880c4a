//! Templates: what fills the root file system of a new container and completes its configuration.
//!
//! Built-in ones run in this program; any other is a program with upstream's arguments
//! (spec: storage, section 8).

pub mod busybox;
pub mod external;
pub mod host;

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::paths;

/// What a template is told.
#[derive(Debug)]
pub struct Request<'a> {
    /// Name of the container.
    pub name: &'a str,
    /// Directory of the container.
    pub path: &'a Path,
    /// Directory to fill.
    pub rootfs: &'a Path,
    /// The user's options for the template.
    pub arguments: &'a [String],
    /// stdin, stdout and stderr of a program are /dev/null.
    pub quiet: bool,
}

/// A template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Template {
    /// A small system around one static program.
    Busybox,
    /// An overlay of the host's own root file system.
    Host,
    /// A program.
    Program(PathBuf),
}

/// Names of the built-in templates.
pub const BUILT_IN: [&str; 2] = ["busybox", "host"];

impl Template {
    /// Finds a template by name or absolute path.
    ///
    /// # Errors
    /// There is none.
    pub fn find(name: &str) -> Result<Template> {
        match name {
            "busybox" => return Ok(Template::Busybox),
            "host" => return Ok(Template::Host),
            _ => {}
        }
        let executable = |p: &Path| rustix::fs::access(p, rustix::fs::Access::EXEC_OK).is_ok() && p.is_file();
        if name.starts_with('/') {
            let path = PathBuf::from(name);
            return if executable(&path) {
                Ok(Template::Program(path))
            } else {
                Err(Error::invalid(format!("Bad template pathname: {name}")))
            };
        }
        let directories = [paths::template_dir(), PathBuf::from("/usr/share/lxc/templates")];
        directories
            .iter()
            .map(|d| d.join(format!("lxc-{name}")))
            .find(|p| executable(p))
            .map(Template::Program)
            .ok_or_else(|| {
                Error::invalid(format!("bad template: {name}: Template \"{name}\" not found")).with_hint(
                    format!(
                        "built in: {}; programs are looked for as lxc-{name} in {}",
                        BUILT_IN.join(", "),
                        directories[0].display()
                    ),
                )
            })
    }

    /// What the header of the configuration names.
    pub fn label(&self) -> String {
        match self {
            Template::Busybox => "busybox (built in)".to_string(),
            Template::Host => "host (built in)".to_string(),
            Template::Program(path) => path.display().to_string(),
        }
    }

    /// Whether it needs a directory to fill.
    pub fn fills_rootfs(&self) -> bool {
        *self != Template::Host
    }

    /// Prints the options of a built-in template; a program explains itself.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Template::Busybox => Some(busybox::HELP),
            Template::Host => Some(host::HELP),
            Template::Program(_) => None,
        }
    }

    /// Fills the root file system. Returns the lines to append to the configuration; a program
    /// appends its own.
    pub fn run(&self, request: &Request<'_>) -> Result<Option<String>> {
        match self {
            Template::Busybox => busybox::run(request).map(Some),
            Template::Host => host::run(request).map(Some),
            Template::Program(program) => external::run(program, request, &[]).map(|()| None),
        }
    }
}
