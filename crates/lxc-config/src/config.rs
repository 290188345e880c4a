//! One container's configuration: its values and its text.

use std::path::{Path, PathBuf};

use crate::diagnostic::{ConfigError, Diagnostic, GetError, Problem};
use crate::document::Document;
use crate::keys::{Empty, Kind, Legacy, Place, Target, Unresolved, split_storage_type};
use crate::lexer::{self, Statement};
use crate::load::{Fault, Loader, unknown_key, with_random_digits};
use crate::source::Source;
use crate::values::Values;

/// A line of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    /// Index into the configuration's files.
    pub file: u32,
    pub line: u32,
}

/// One assignment that took place.
#[derive(Debug, Clone)]
pub(crate) struct Assignment {
    pub target: Target,
    /// `None` where a program made it.
    pub origin: Option<Origin>,
    /// Whether its line is in an included file, and so not in the text.
    pub included: bool,
    /// Whether the line gives the key no value: it clears, or is about the type of storage.
    pub clears: bool,
}

/// What one container's configuration says, as typed values and as the text that a save writes.
///
/// The values may be changed freely by whoever resolves them; only [`Config::set`] and [`Config::clear`]
/// carry a change into the text.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The values of all keys.
    pub values: Values,
    pub(crate) document: Document,
    /// All files read, in the order in which they were begun.
    pub(crate) files: Vec<PathBuf>,
    pub(crate) assignments: Vec<Assignment>,
    pub(crate) warnings: Vec<Diagnostic>,
}

impl Config {
    /// The defaults, without text.
    pub fn new() -> Config {
        Config::default()
    }

    /// Reads a file on top of what is there, includes at their place. The first error ends the reading; what
    /// stands before it stays applied.
    pub fn load(&mut self, path: &Path, source: &dyn Source) -> Result<(), ConfigError> {
        let text = source.read(path).map_err(|error| ConfigError::Read { path: path.to_owned(), error })?;
        self.load_text(&text, path, source)
    }

    /// [`Config::load`] with the content of the file already at hand.
    pub fn load_text(&mut self, text: &[u8], name: &Path, source: &dyn Source) -> Result<(), ConfigError> {
        Loader::new(self, source).load(text, name)
    }

    /// Applies `KEY=VALUE` of a command line, which is written like a line of a file.
    pub fn define(&mut self, assignment: &str, source: &dyn Source) -> Result<(), ConfigError> {
        let error = |problem| invalid(assignment.to_owned(), problem);
        match lexer::statement(assignment.as_bytes()) {
            Statement::Assignment { key, value, .. } => {
                let name = &assignment[key];
                let target = match Target::resolve(name) {
                    Ok(target) => target,
                    Err(_) => match Legacy::resolve(name, &self.values) {
                        Some(Legacy::Renamed(new)) => {
                            let target = Target::resolve(&new).map_err(|_| error(unknown_key(name)))?;
                            let problem = Problem::LegacyKey { key: name.to_owned(), replacement: Some(new) };
                            self.warnings.push(Diagnostic::without_file(assignment.to_owned(), problem));
                            target
                        }
                        _ => return Err(error(unknown_key(name))),
                    },
                };
                self.assign(target, name, &assignment[value], source)
            }
            Statement::MissingEquals { .. } => Err(error(Problem::MissingEquals)),
            Statement::Nothing => {
                let name = assignment.split('=').next().unwrap_or(assignment).trim();
                Err(error(unknown_key(name)))
            }
        }
    }

    /// Assigns a value, in the values and in the text. The empty value clears; list keys get another entry.
    pub fn set(&mut self, key: &str, value: &str, source: &dyn Source) -> Result<(), ConfigError> {
        let target = self.resolve(key).map_err(|_| invalid(format!("{key} = {value}"), unknown_key(key)))?;
        self.assign(target, key, value, source)
    }

    /// Puts the default of a key back and removes its lines from the text.
    pub fn clear(&mut self, key: &str) -> Result<(), ConfigError> {
        let error = |problem| invalid(key.to_owned(), problem);
        let target = self.resolve(key).map_err(|_| error(unknown_key(key)))?;
        target.clear(&mut self.values).map_err(|cause| {
            error(Problem::InvalidValue { key: key.to_owned(), reason: cause.to_string(), expected: "" })
        })?;
        self.clear_text(&target);
        Ok(())
    }

    /// The value of a key as text, as the API returns it; empty where nothing is set.
    pub fn get(&self, key: &str) -> Result<String, GetError> {
        match self.resolve(key) {
            Ok(target) => target.get(&self.values),
            Err(Unresolved::NetworkKey(index)) if self.values.networks.contains_key(&index) => {
                Err(GetError::Missing)
            }
            Err(_) => Err(GetError::Invalid),
        }
    }

    /// The names of all keys, or those that the API lists below a prefix, one a line.
    pub fn keys(&self, prefix: Option<&str>) -> Result<String, GetError> {
        crate::listing::list(&self.values, prefix)
    }

    /// What a save writes.
    pub fn text(&self) -> Vec<u8> {
        self.document.text().to_vec()
    }

    /// The text with other values in some lines, for another container. `change` is asked about each line of its own
    /// that assigns something, with key and value; included files are not looked at.
    pub fn rewritten(&self, change: &mut dyn FnMut(&str, &str) -> Option<String>) -> Vec<u8> {
        let mut document = self.document.clone();
        document.number_networks();
        document.rewrite(change);
        document.text().to_vec()
    }

    /// The first file that was read.
    pub fn file(&self) -> Option<&Path> {
        self.files.first().map(PathBuf::as_path)
    }

    /// All files that were read, includes among them, in the order in which they were begun.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Warnings of everything read so far.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// File and line of the last assignment of a key; nothing where a program made it.
    pub fn origin(&self, key: &str) -> Option<(PathBuf, u32)> {
        let target = self.resolve(key).ok()?;
        let last = self.assignments.iter().rev().find(|assignment| assignment.target == target)?;
        last.origin.map(|origin| (self.files[origin.file as usize].clone(), origin.line))
    }

    /// File and both lines where one file gives a key a value for the second time, without clearing it in between.
    pub fn assigned_twice(&self, key: &str) -> Option<(PathBuf, u32, u32)> {
        let target = self.resolve(key).ok()?;
        let mut before: Option<Origin> = None;
        for assignment in &self.assignments {
            if assignment.clears && (assignment.target == target || assignment.target.covers(&target)) {
                before = None;
            } else if assignment.target == target {
                match (before, assignment.origin) {
                    (Some(early), Some(late)) if early.file == late.file && early.line < late.line => {
                        return Some((self.files[late.file as usize].clone(), early.line, late.line));
                    }
                    (_, origin) => before = origin,
                }
            }
        }
        None
    }

    /// The key of a name, of today or of LXC 1 where programs still use it.
    fn resolve(&self, name: &str) -> Result<Target, Unresolved> {
        Target::resolve(name).or_else(|error| match Legacy::resolve_in_api(name, &self.values) {
            Some(new) => Target::resolve(&new),
            None => Err(error),
        })
    }

    fn assign(
        &mut self,
        target: Target,
        key: &str,
        value: &str,
        source: &dyn Source,
    ) -> Result<(), ConfigError> {
        let error = |problem| invalid(format!("{key} = {value}"), problem);
        if value.contains(['\n', '\r']) {
            return Err(error(Problem::LineBreak));
        }
        if value.contains('\0') {
            return Err(error(Problem::NulByte));
        }
        if matches!(target.key.place, Place::Include) {
            return self.include(target, value, source);
        }
        let digits = if target.key.has_random_digits() { with_random_digits(value, source) } else { None };
        let value = digits.as_deref().unwrap_or(value);
        match target.set(&mut self.values, value, source) {
            Ok(None) => {}
            Ok(Some(reason)) => {
                let problem = Problem::DoubtfulValue { key: key.to_owned(), reason };
                self.warnings.push(Diagnostic::without_file(format!("{key} = {value}"), problem));
            }
            Err(cause) => {
                let expected = target.key.value;
                return Err(error(Problem::InvalidValue {
                    key: key.to_owned(),
                    reason: cause.reason,
                    expected,
                }));
            }
        }
        self.write(&target, value);
        Ok(())
    }

    /// Carries an assignment that took place into the text.
    fn write(&mut self, target: &Target, value: &str) {
        let value = match target.key.empty {
            Empty::Means(stand_in) if value.is_empty() => stand_in,
            _ if value.is_empty() => return self.clear_text(target),
            _ => value,
        };
        self.prepare_text(target);
        match target.key.kind {
            Kind::List => self.document.append(target, value),
            Kind::Scalar | Kind::Map => match self.remembered_type(target, value) {
                Some(kind) => self.document.replace(target, &format!("{kind}:{value}")),
                None => self.document.replace(target, value),
            },
        }
        self.assignments.push(Assignment {
            target: target.clone(),
            origin: None,
            included: false,
            clears: false,
        });
    }

    /// A root file system path without type has that of an earlier assignment, whose line is about to go.
    fn remembered_type(&self, target: &Target, value: &str) -> Option<&str> {
        let is_bare_path = target.key.name == "lxc.rootfs.path" && split_storage_type(value).0.is_none();
        self.values.rootfs.kind.as_deref().filter(|_| is_bare_path)
    }

    /// Removes a key from the text. What an included file assigns must be cleared there as well.
    fn clear_text(&mut self, target: &Target) {
        self.prepare_text(target);
        let included = self.assignments.iter().any(|old| old.included && target.covers(&old.target));
        match target.key.empty {
            Empty::Clear if included => self.document.override_included(target, ""),
            Empty::Means(_) if included => self.document.override_included(target, target.key.default),
            _ => self.document.remove(target),
        }
        self.assignments.push(Assignment {
            target: target.clone(),
            origin: None,
            included: false,
            clears: true,
        });
    }

    fn prepare_text(&mut self, target: &Target) {
        // Includes count as well: they may bring networks of their own.
        if target.key.family() == "net" || matches!(target.key.place, Place::Include) {
            self.document.number_networks();
        }
    }

    /// `lxc.include` from a program: the file is read at once. On an error nothing is changed.
    fn include(&mut self, target: Target, value: &str, source: &dyn Source) -> Result<(), ConfigError> {
        if value.is_empty() {
            self.document.remove(&target);
            return Ok(());
        }
        let values = self.values.clone();
        let (assignments, warnings) = (self.assignments.len(), self.warnings.len());
        match Loader::for_program(self, source).include(value, 0..value.len()) {
            Ok(()) => {
                self.document.append(&target, value);
                Ok(())
            }
            Err(fault) => {
                self.values = values;
                self.assignments.truncate(assignments);
                self.warnings.truncate(warnings);
                Err(match fault {
                    Fault::Here(_, problem) => invalid(format!("lxc.include = {value}"), problem),
                    Fault::Elsewhere(error) => error,
                })
            }
        }
    }
}

fn invalid(text: String, problem: Problem) -> ConfigError {
    ConfigError::Invalid(Box::new(Diagnostic::without_file(text, problem)))
}
