//! Reading of files: lines in their order, includes at their place.

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::config::{Assignment, Config, Origin};
use crate::diagnostic::{ConfigError, Diagnostic, IncludedFrom, Location, Problem, cause};
use crate::keys::{Kind, Legacy, Place, Target, suggestion};
use crate::lexer::{self, Statement};
use crate::source::Source;

/// How deep includes may nest.
const DEPTH_MAX: usize = 64;
/// How many files one load may read: includes that multiply would otherwise never end.
const FILES_MAX: u32 = 4096;

/// Reads a file and everything that it includes and returns all errors and warnings in their order, not only
/// the first.
pub fn check(path: &Path, source: &dyn Source) -> Result<Vec<Diagnostic>, ConfigError> {
    check_into(&mut Config::new(), path, source)
}

/// [`check`], which leaves what could be read in a configuration.
pub fn check_into(
    config: &mut Config,
    path: &Path,
    source: &dyn Source,
) -> Result<Vec<Diagnostic>, ConfigError> {
    let text = source.read(path).map_err(|error| ConfigError::Read { path: path.to_owned(), error })?;
    let mut loader = Loader::new(config, source);
    loader.collected = Some(Vec::new());
    loader.load(&text, path)?;
    let mut all = loader.collected.unwrap_or_default();
    all.extend(overridden(config));
    Ok(all)
}

/// Lines that say nothing, since the same file assigns the key again. That another file does is what includes
/// are for.
fn overridden(config: &Config) -> Vec<Diagnostic> {
    let mut out = Vec::new();
    for (at, early) in config.assignments.iter().enumerate() {
        let (Some(origin), false) = (early.origin, early.clears || early.target.key.kind == Kind::List)
        else {
            continue;
        };
        let same = |late: &&Assignment| {
            late.target == early.target
                && late.origin.is_some_and(|o| o.file == origin.file && o.line > origin.line)
        };
        let Some(late) = config.assignments[at + 1..].iter().find(same).and_then(|late| late.origin) else {
            continue;
        };
        let key = early.target.name();
        let file = config.files[origin.file as usize].clone();
        out.push(Diagnostic {
            location: Some(Location { file, line: origin.line, column: 1 }),
            text: String::new(),
            length: 0,
            problem: Problem::Overridden { key, line: late.line },
            included_from: Vec::new(),
        });
    }
    out
}

/// One file that is being read.
struct Frame {
    /// Index into the configuration's files.
    file: u32,
    /// The line that is being read.
    line: u32,
}

/// An error about the line at hand, or one that already says where it is.
pub(crate) enum Fault {
    /// The part of the line that is wrong, and what is wrong with it.
    Here(Range<usize>, Problem),
    /// An error in an included file.
    Elsewhere(ConfigError),
}

/// What a line did.
struct Applied {
    target: Target,
    /// Where the value stands, and with which digits, if random ones were put into it.
    digits: Option<(Range<usize>, String)>,
}

/// Applies files to a configuration.
pub(crate) struct Loader<'a> {
    config: &'a mut Config,
    source: &'a dyn Source,
    stack: Vec<Frame>,
    files_left: u32,
    /// With a list, errors are collected there and reading goes on.
    collected: Option<Vec<Diagnostic>>,
    /// Even the first file is an included one.
    by_program: bool,
}

impl<'a> Loader<'a> {
    pub(crate) fn new(config: &'a mut Config, source: &'a dyn Source) -> Loader<'a> {
        Loader {
            config,
            source,
            stack: Vec::new(),
            files_left: FILES_MAX,
            collected: None,
            by_program: false,
        }
    }

    /// A loader for includes that stand in no file.
    pub(crate) fn for_program(config: &'a mut Config, source: &'a dyn Source) -> Loader<'a> {
        Loader { by_program: true, ..Loader::new(config, source) }
    }

    /// Applies a top-level file and keeps its text.
    pub(crate) fn load(&mut self, text: &[u8], path: &Path) -> Result<(), ConfigError> {
        self.enter(path);
        let mut text = Cow::Borrowed(text);
        // A usual line has about this length.
        let lines = text.len() / 24;
        self.config.assignments.reserve(lines);
        let mut read = Vec::with_capacity(lines);
        let mut digits = Vec::new();
        let mut result = Ok(());
        for line in lexer::lines(&text) {
            let start = line.content.start;
            let target = match self.line(&text[line.content], line.number) {
                Ok(applied) => applied.map(|applied| {
                    digits.extend(applied.digits.map(|(at, digits)| (start + at.start, digits)));
                    applied.target
                }),
                Err(error) => {
                    result = Err(error);
                    None
                }
            };
            read.push((line.end, target));
            if result.is_err() {
                break;
            }
        }
        // The chosen digits are part of the text from now on, so that the address survives a save.
        for (at, digits) in digits {
            text.to_mut()[at..at + digits.len()].copy_from_slice(digits.as_bytes());
        }
        self.config.document.append_file(&text, read);
        self.stack.pop();
        result
    }

    /// Begins a file.
    fn enter(&mut self, path: &Path) {
        self.stack.push(Frame { file: self.config.files.len() as u32, line: 0 });
        self.config.files.push(path.to_owned());
    }

    /// Applies one line; turns its error into one that says where it is.
    fn line(&mut self, content: &[u8], number: u32) -> Result<Option<Applied>, ConfigError> {
        if let Some(frame) = self.stack.last_mut() {
            frame.line = number;
        }
        match self.statement(content) {
            Ok(applied) => Ok(applied),
            Err(Fault::Elsewhere(error)) => Err(error),
            Err(Fault::Here(span, problem)) => {
                let diagnostic = self.diagnostic(content, span, problem);
                match &mut self.collected {
                    Some(collected) => {
                        collected.push(diagnostic);
                        Ok(None)
                    }
                    None => Err(Box::new(diagnostic).into()),
                }
            }
        }
    }

    fn statement(&mut self, content: &[u8]) -> Result<Option<Applied>, Fault> {
        if content.contains(&0) {
            let at = content.iter().take_while(|&&b| b != 0).count();
            return Err(Fault::Here(at..at + 1, Problem::NulByte));
        }
        match lexer::statement(content) {
            Statement::Nothing => Ok(None),
            Statement::MissingEquals { start } => {
                Err(Fault::Here(start..content.len(), Problem::MissingEquals))
            }
            Statement::Assignment { key, value, .. } => match std::str::from_utf8(content) {
                Ok(line) => self.assign(line, key, value),
                Err(error) => {
                    let at = error.valid_up_to();
                    Err(Fault::Here(at..at + 1, Problem::NotUtf8))
                }
            },
        }
    }

    fn assign(
        &mut self,
        line: &str,
        key: Range<usize>,
        value: Range<usize>,
    ) -> Result<Option<Applied>, Fault> {
        let name = &line[key.clone()];
        let text = &line[value.clone()];
        let target = match Target::resolve(name) {
            Ok(target) => target,
            Err(_) => match self.legacy(line, key.clone(), text)? {
                Some(target) => target,
                None => return Ok(None),
            },
        };
        let mut applied = Applied { target, digits: None };
        if matches!(applied.target.key.place, Place::Include) {
            if !text.is_empty() {
                self.include(text, value)?;
            }
        } else if !is_storage_type(name) {
            let mut chosen = None;
            if applied.target.key.has_random_digits() {
                chosen = with_random_digits(text, self.source);
            }
            let set =
                applied.target.set(&mut self.config.values, chosen.as_deref().unwrap_or(text), self.source);
            match set {
                Ok(None) => {}
                Ok(Some(reason)) => {
                    let problem = Problem::DoubtfulValue { key: name.to_owned(), reason };
                    self.warn(line, value.clone(), problem);
                }
                Err(error) => {
                    let expected = applied.target.key.value;
                    let problem =
                        Problem::InvalidValue { key: name.to_owned(), reason: error.reason, expected };
                    return Err(Fault::Here(if text.is_empty() { key } else { value }, problem));
                }
            }
            applied.digits = chosen.map(|digits| (value, digits));
        }
        let origin = self.stack.last().map(|frame| Origin { file: frame.file, line: frame.line });
        let included = self.stack.len() > usize::from(!self.by_program);
        self.config.assignments.push(Assignment {
            target: applied.target.clone(),
            origin,
            included,
            clears: text.is_empty() || is_storage_type(name),
        });
        Ok(Some(applied))
    }

    /// The key behind a name that is not in the table, if it once was.
    fn legacy(&mut self, line: &str, key: Range<usize>, value: &str) -> Result<Option<Target>, Fault> {
        let name = &line[key.clone()];
        let unknown = |key| Fault::Here(key, unknown_key(name));
        let (replacement, target) = match Legacy::resolve(name, &self.config.values) {
            None => return Err(unknown(key)),
            Some(Legacy::Ignored) => (None, None),
            Some(Legacy::StorageType) => {
                self.config.values.rootfs.kind = Some(value.to_owned()).filter(|kind| !kind.is_empty());
                let replacement = "lxc.rootfs.path".to_owned();
                (Some(replacement.clone()), Target::resolve(&replacement).ok())
            }
            Some(Legacy::Renamed(new)) => {
                let target = Target::resolve(&new).map_err(|_| unknown(key.clone()))?;
                (Some(new), Some(target))
            }
        };
        self.warn(line, key, Problem::LegacyKey { key: name.to_owned(), replacement });
        Ok(target)
    }

    /// Carries out `lxc.include`.
    pub(crate) fn include(&mut self, value: &str, span: Range<usize>) -> Result<(), Fault> {
        let path = Path::new(value);
        if !value.ends_with('/') && !self.source.is_dir(path) {
            return self.include_file(path, &span);
        }
        let mut names = match self.source.list(path) {
            Ok(names) => names,
            // Only the slash tells a missing directory from a missing file.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && value.ends_with('/') => {
                return Ok(());
            }
            Err(error) => return Err(cannot_include(span, path, cause(&error))),
        };
        names.retain(|name| name.len() >= 6 && name.as_encoded_bytes().ends_with(b".conf"));
        names.sort_unstable();
        for name in names {
            let file = path.join(name);
            match self.include_file(&file, &span) {
                Err(Fault::Here(..)) if self.source.is_dir(&file) => {}
                result => result?,
            }
        }
        Ok(())
    }

    fn include_file(&mut self, path: &Path, span: &Range<usize>) -> Result<(), Fault> {
        let refuse = |reason: &str| Err(cannot_include(span.clone(), path, reason.to_owned()));
        if self.stack.iter().any(|frame| self.config.files[frame.file as usize] == path) {
            return refuse("it includes itself");
        }
        if self.stack.len() >= DEPTH_MAX {
            return refuse("includes are nested too deeply");
        }
        if self.files_left == 0 {
            return refuse("too many files are included");
        }
        self.files_left -= 1;
        let text = match self.source.read(path) {
            Ok(text) => text,
            Err(error) => return refuse(&cause(&error)),
        };
        self.enter(path);
        for line in lexer::lines(&text) {
            self.line(&text[line.content], line.number).map_err(Fault::Elsewhere)?;
        }
        self.stack.pop();
        Ok(())
    }

    fn warn(&mut self, line: &str, span: Range<usize>, problem: Problem) {
        let diagnostic = self.diagnostic(line.as_bytes(), span, problem);
        match &mut self.collected {
            Some(collected) => collected.push(diagnostic),
            None => self.config.warnings.push(diagnostic),
        }
    }

    fn diagnostic(&self, line: &[u8], span: Range<usize>, problem: Problem) -> Diagnostic {
        let path = |frame: &Frame| -> PathBuf { self.config.files[frame.file as usize].clone() };
        let mut frames = self.stack.iter().rev();
        let location = frames.next().map(|frame| Location {
            file: path(frame),
            line: frame.line,
            column: span.start as u32 + 1,
        });
        Diagnostic {
            location,
            text: String::from_utf8_lossy(line).into_owned(),
            length: span.len() as u32,
            problem,
            included_from: frames.map(|frame| IncludedFrom { file: path(frame), line: frame.line }).collect(),
        }
    }
}

/// `lxc.rootfs.backend` leads to another key, but its value is no value of that key.
fn is_storage_type(name: &str) -> bool {
    name == "lxc.rootfs.backend"
}

fn cannot_include(span: Range<usize>, path: &Path, reason: String) -> Fault {
    Fault::Here(span, Problem::Include { path: path.to_owned(), reason })
}

/// The error about a name that is neither known nor was.
pub(crate) fn unknown_key(name: &str) -> Problem {
    Problem::UnknownKey { key: name.to_owned(), nearest: suggestion(name) }
}

/// A hardware address with digits for its `x`; `None` where there are none. The second digit is even: an odd
/// one would make it a multicast address.
pub(crate) fn with_random_digits(value: &str, source: &dyn Source) -> Option<String> {
    if !value.contains(['x', 'X']) {
        return None;
    }
    let digit = |(at, c): (usize, char)| match c {
        'x' | 'X' => {
            let mask = if at == 1 { 0xe } else { 0xf };
            char::from_digit(u32::from(source.random() & mask), 16).unwrap_or('0')
        }
        other => other,
    };
    Some(value.char_indices().map(digit).collect())
}
