//! Command lines as GNU getopt_long(3) reads them, driven by the option tables.
//!
//! Existing scripts rely on its permutation, abbreviation and clustering, and on its messages, so
//! the rules are followed exactly (spec: cli-common, section 2). An option parser of another
//! tradition would have to be bent at every point.

use std::ffi::OsString;

/// Whether an option takes an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arg {
    /// None.
    No,
    /// One, named for the help text.
    Required(&'static str),
    /// One that must be attached (`-eX`, `--option=X`).
    Optional(&'static str),
}

/// One option.
#[derive(Debug, Clone, Copy)]
pub struct Opt {
    /// Letter; `None` for a long one only.
    pub short: Option<char>,
    /// Long name; also the name by which it is asked for.
    pub long: &'static str,
    /// Argument.
    pub arg: Arg,
    /// One line for help, manual page and completion.
    pub help: &'static str,
}

/// Declares an option with a letter.
pub const fn opt(short: char, long: &'static str, arg: Arg, help: &'static str) -> Opt {
    Opt { short: Some(short), long, arg, help }
}

/// Declares an option without a letter.
pub const fn long(long: &'static str, arg: Arg, help: &'static str) -> Opt {
    Opt { short: None, long, arg, help }
}

/// What a command line says.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Matches {
    /// Options in order: long name and argument.
    pub options: Vec<(&'static str, Option<String>)>,
    /// Everything else, in order.
    pub positionals: Vec<String>,
    /// Number of positionals that stood before a `--`; all of them where there was none.
    pub before_dashes: usize,
}

impl Matches {
    /// Whether an option was given.
    pub fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(n, _)| *n == name)
    }

    /// The argument of the last option of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.options.iter().rev().find(|(n, _)| *n == name).and_then(|(_, a)| a.as_deref())
    }

    /// The arguments of all options of that name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.options.iter().filter(move |(n, _)| *n == name).filter_map(|(_, a)| a.as_deref())
    }

    /// The last given of several options that exclude each other.
    pub fn last_of(&self, names: &[&str]) -> Option<&'static str> {
        self.options.iter().rev().map(|(n, _)| *n).find(|n| names.contains(n))
    }
}

/// Why a command line was refused: getopt's own message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub String);

/// Reads a command line. `program` is how it was invoked, for the messages. Arguments that are not
/// UTF-8 are replaced where they are not.
///
/// # Errors
/// getopt's message, without a newline.
pub fn parse(program: &str, options: &[Opt], arguments: &[OsString]) -> Result<Matches, Refused> {
    let posix = std::env::var_os("POSIXLY_CORRECT").is_some();
    let arguments: Vec<String> = arguments.iter().map(|a| a.to_string_lossy().into_owned()).collect();
    let mut matches = Matches::default();
    let mut words = arguments.into_iter();
    let mut dashes = false;
    while let Some(word) = words.next() {
        if word == "--" {
            dashes = true;
            matches.before_dashes = matches.positionals.len();
            matches.positionals.extend(words);
            break;
        }
        if let Some(text) = word.strip_prefix("--") {
            let option = parse_long(program, options, text, &mut words)?;
            let stop = option.0 == "version";
            matches.options.push(option);
            if stop {
                break;
            }
        } else if word.len() > 1 && word.starts_with('-') {
            parse_cluster(program, options, &word[1..], &mut words, &mut matches)?;
        } else {
            matches.positionals.push(word);
            if posix {
                matches.positionals.extend(words);
                break;
            }
        }
    }
    if !dashes {
        matches.before_dashes = matches.positionals.len();
    }
    Ok(matches)
}

fn parse_long(
    program: &str,
    options: &[Opt],
    text: &str,
    words: &mut impl Iterator<Item = String>,
) -> Result<(&'static str, Option<String>), Refused> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_string())),
        None => (text, None),
    };
    let exact = options.iter().find(|o| o.long == name);
    let mut candidates: Vec<&Opt> = options.iter().filter(|o| o.long.starts_with(name)).collect();
    candidates.dedup_by_key(|o| o.long);
    let option = match (exact, candidates.as_slice()) {
        (Some(option), _) => option,
        (None, [option]) => option,
        (None, []) => return Err(Refused(format!("{program}: unrecognized option '--{text}'"))),
        (None, many) => {
            let list: String = many.iter().map(|o| format!(" '--{}'", o.long)).collect();
            return Err(Refused(format!("{program}: option '--{text}' is ambiguous; possibilities:{list}")));
        }
    };
    let long = option.long;
    match (option.arg, value) {
        (Arg::No, Some(_)) => Err(Refused(format!("{program}: option '--{long}' doesn't allow an argument"))),
        (Arg::No, None) => Ok((long, None)),
        (Arg::Optional(_), value) => Ok((long, value)),
        (Arg::Required(_), Some(value)) => Ok((long, Some(value))),
        (Arg::Required(_), None) => match words.next() {
            Some(value) => Ok((long, Some(value))),
            None => Err(Refused(format!("{program}: option '--{long}' requires an argument"))),
        },
    }
}

fn parse_cluster(
    program: &str,
    options: &[Opt],
    cluster: &str,
    words: &mut impl Iterator<Item = String>,
    matches: &mut Matches,
) -> Result<(), Refused> {
    let mut rest = cluster.chars();
    while let Some(letter) = rest.next() {
        let Some(option) = options.iter().find(|o| o.short == Some(letter)) else {
            return Err(Refused(format!("{program}: invalid option -- '{letter}'")));
        };
        match option.arg {
            Arg::No => matches.options.push((option.long, None)),
            Arg::Optional(_) => {
                let value = (!rest.as_str().is_empty()).then(|| rest.as_str().to_string());
                matches.options.push((option.long, value));
                return Ok(());
            }
            Arg::Required(_) => {
                let value = match rest.as_str() {
                    "" => words.next(),
                    attached => Some(attached.to_string()),
                };
                let Some(value) = value else {
                    return Err(Refused(format!("{program}: option requires an argument -- '{letter}'")));
                };
                matches.options.push((option.long, Some(value)));
                return Ok(());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &[Opt] = &[
        opt('n', "name", Arg::Required("NAME"), ""),
        opt('s', "state", Arg::No, ""),
        opt('S', "stats", Arg::No, ""),
        opt('e', "elevated", Arg::Optional("LIST"), ""),
        long("lxcpath", Arg::Required("DIR"), ""),
        long("logfile", Arg::Required("FILE"), ""),
    ];

    fn parse_words(words: &[&str]) -> Result<Matches, String> {
        let words: Vec<OsString> = words.iter().map(Into::into).collect();
        parse("p", OPTIONS, &words).map_err(|r| r.0)
    }

    #[test]
    fn permutes_and_abbreviates() {
        let m = parse_words(&["web", "-s", "--lxc", "/x", "-nfoo", "--", "-s"]).expect("valid");
        assert_eq!(m.positionals, ["web", "-s"]);
        assert_eq!(m.before_dashes, 1);
        assert_eq!((m.get("name"), m.get("lxcpath")), (Some("foo"), Some("/x")));
        assert!(parse_words(&["--state"]).expect("exact").has("state"));
    }

    #[test]
    fn optional_arguments_are_attached() {
        let m = parse_words(&["-e", "CAP"]).expect("valid");
        assert_eq!((m.get("elevated"), m.positionals.len()), (None, 1));
        assert_eq!(parse_words(&["-eCAP"]).expect("valid").get("elevated"), Some("CAP"));
    }

    #[test]
    fn messages() {
        for (words, message) in [
            (&["--bogus"][..], "p: unrecognized option '--bogus'"),
            (&["-Z"], "p: invalid option -- 'Z'"),
            (&["-n"], "p: option requires an argument -- 'n'"),
            (&["--name"], "p: option '--name' requires an argument"),
            (&["--state=x"], "p: option '--state' doesn't allow an argument"),
            (&["--l"], "p: option '--l' is ambiguous; possibilities: '--lxcpath' '--logfile'"),
        ] {
            assert_eq!(parse_words(words), Err(message.to_string()));
        }
    }
}
