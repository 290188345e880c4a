//! Templates: what fills the root file system of a new container and completes its configuration.
//!
//! Built-in ones run in this program; any other is a program with upstream's arguments
//! (spec: storage, section 8).

pub mod busybox;
pub mod compressed;
pub mod digest;
pub mod download;
pub mod external;
pub mod fetch;
pub mod host;
pub mod image;
pub mod local;
pub mod oci;
mod options;
pub mod unpack;

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use crate::error::{Doing, Error, Result};
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
    /// The container has a user namespace.
    pub mapped: bool,
    /// Whoever has asked for the container.
    pub dialog: Option<&'a dyn Dialog>,
}

/// Whoever has asked for a container, and sees what is going on.
pub trait Dialog: Debug {
    /// Shows a line.
    fn say(&self, text: &str);

    /// Asks for a word; `None`: nobody answers.
    fn ask(&self, question: &str) -> Option<String>;

    /// So many bytes of a file have arrived, of so many if that is known.
    fn received(&self, bytes: u64, all: Option<u64>);
}

impl Request<'_> {
    /// Tells the user something.
    pub fn say(&self, text: &str) {
        if let Some(dialog) = self.dialog.filter(|_| !self.quiet) {
            dialog.say(text);
        }
    }

    /// Tells the user how far a download is.
    fn received(&self, bytes: u64, all: Option<u64>) {
        if let Some(dialog) = self.dialog.filter(|_| !self.quiet) {
            dialog.received(bytes, all);
        }
    }

    /// Whether there is anybody to ask.
    fn can_ask(&self) -> bool {
        self.dialog.is_some() && !self.quiet
    }

    /// Asks the user for a word.
    fn ask(&self, question: &str) -> Option<String> {
        let dialog = self.dialog.filter(|_| !self.quiet)?;
        dialog.ask(question).map(|word| word.trim().to_string()).filter(|word| !word.is_empty())
    }
}

/// Lines of a template for the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines {
    /// The user's own come after them, and change what they say.
    pub before: String,
    /// What comes after the user's.
    pub after: String,
}

impl Lines {
    /// Puts them around the user's own. Where something comes before those the networks come last.
    pub fn around(&self, own: &str) -> String {
        let own = own.trim_end_matches('\n');
        let newline = if own.is_empty() { "" } else { "\n" };
        if self.before.is_empty() {
            return format!("{own}{newline}{}", self.after);
        }
        let (network, other): (Vec<&str>, Vec<&str>) =
            own.lines().partition(|line| line.trim_start().starts_with("lxc.net."));
        let section = |title: &str, lines: &[&str]| match lines {
            [] => String::new(),
            _ => format!("\n# {title}\n{}\n", lines.join("\n")),
        };
        let after: Vec<&str> = other.into_iter().chain(self.after.lines()).collect();
        [
            self.before.clone(),
            section("Container specific configuration", &after),
            section("Network configuration", &network),
        ]
        .concat()
    }
}

impl From<String> for Lines {
    fn from(after: String) -> Lines {
        Lines { before: String::new(), after }
    }
}

/// What a template has got ready with the caller's own rights, before there is a container.
#[derive(Debug)]
pub enum Prepared {
    /// Nothing was to be done.
    Nothing,
    /// No container is wanted: what was asked for is shown.
    Shown,
    /// An image of LXC.
    Image(image::Image),
    /// An image of the Open Container Initiative.
    Oci(Box<oci::Image>),
}

/// Where what was downloaded is kept.
pub fn cache_dir() -> PathBuf {
    match std::env::var_os("LXC_CACHE_PATH").filter(|p| !p.is_empty()) {
        Some(path) => PathBuf::from(path),
        None if rustix::process::geteuid().is_root() => Path::new(paths::LOCALSTATEDIR).join("cache/lxc"),
        None => paths::home().join(".cache/lxc"),
    }
}

/// Makes a directory for what is kept: nobody but its owner writes there, whatever the caller's mask says.
///
/// # Errors
/// It cannot be made.
pub fn make_cache(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.doing(|| format!("create {}", path.display()))
}

/// A template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Template {
    /// A small system around one static program.
    Busybox,
    /// An image of a public server.
    Download,
    /// Archives of this host.
    Local,
    /// An image of the Open Container Initiative.
    Oci,
    /// An overlay of the host's own root file system.
    Host,
    /// A program.
    Program(PathBuf),
}

/// Names of the built-in templates.
pub const BUILT_IN: [&str; 5] = ["busybox", "download", "host", "local", "oci"];

impl Template {
    /// Finds a template by name or absolute path.
    ///
    /// # Errors
    /// There is none.
    pub fn find(name: &str) -> Result<Template> {
        match name {
            "busybox" => return Ok(Template::Busybox),
            "download" => return Ok(Template::Download),
            "host" => return Ok(Template::Host),
            "local" => return Ok(Template::Local),
            "oci" => return Ok(Template::Oci),
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
            Template::Download => "download (built in)".to_string(),
            Template::Host => "host (built in)".to_string(),
            Template::Local => "local (built in)".to_string(),
            Template::Oci => "oci (built in)".to_string(),
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
            Template::Download => Some(download::HELP),
            Template::Host => Some(host::HELP),
            Template::Local => Some(local::HELP),
            Template::Oci => Some(oci::HELP),
            Template::Program(_) => None,
        }
    }

    /// Gets ready what needs the caller's own rights: files, and what servers have.
    ///
    /// # Errors
    /// The options are none, or something is not to be had.
    pub fn prepare(&self, request: &Request<'_>) -> Result<Prepared> {
        match self {
            Template::Download => Ok(match download::prepare(request)? {
                download::Outcome::Image(image) => Prepared::Image(image),
                download::Outcome::Listed => Prepared::Shown,
            }),
            Template::Local => local::prepare(request).map(Prepared::Image),
            Template::Oci => oci::prepare(request).map(|image| Prepared::Oci(Box::new(image))),
            Template::Busybox | Template::Host | Template::Program(_) => Ok(Prepared::Nothing),
        }
    }

    /// Fills the root file system. Returns the lines for the configuration; a program appends its own.
    pub fn run(&self, request: &Request<'_>, prepared: &Prepared) -> Result<Option<Lines>> {
        match (self, prepared) {
            (_, Prepared::Image(image)) => image.fill(request, &mut |text| request.say(text)).map(Some),
            (_, Prepared::Oci(image)) => image.fill(request).map(Lines::from).map(Some),
            (Template::Busybox, _) => busybox::run(request).map(Lines::from).map(Some),
            (Template::Host, _) => host::run(request).map(Lines::from).map(Some),
            (Template::Program(program), _) => external::run(program, request, &[]).map(|()| None),
            (Template::Download | Template::Local | Template::Oci, _) => {
                Err(Error::invalid("the image was not got ready"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_around_the_users() {
        let own = "lxc.net.0.type = veth\nlxc.idmap = u 0 1 1\nlxc.net.0.flags = up\n";
        let lines = Lines { before: "# D\nlxc.arch = x\n".into(), after: "lxc.uts.name = n\n".into() };
        assert_eq!(
            lines.around(own),
            "# D\nlxc.arch = x\n\n# Container specific configuration\nlxc.idmap = u 0 1 1\nlxc.uts.name = n\n\
             \n# Network configuration\nlxc.net.0.type = veth\nlxc.net.0.flags = up\n"
        );
        assert_eq!(Lines::from("b\n".to_string()).around("a\n"), "a\nb\n");
        assert_eq!(Lines::from("b\n".to_string()).around(""), "b\n");
    }
}
