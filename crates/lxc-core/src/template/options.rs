//! Options of the built-in templates.

use crate::error::{Error, Result};

/// What a template takes.
pub struct Spec {
    /// Its name.
    pub template: &'static str,
    /// What its --help shows.
    pub help: &'static str,
    /// Options with a value: letter (NUL for none) and name.
    pub with_value: &'static [(char, &'static str)],
    /// Options without.
    pub flags: &'static [(char, &'static str)],
}

/// What was given.
#[derive(Debug, Default)]
pub struct Parsed {
    values: Vec<(&'static str, String)>,
    flags: Vec<&'static str>,
}

impl Parsed {
    /// Reads the words after `--` of lxc-create: `--name=value`, `--name value`, `-n value`, `-nvalue`.
    ///
    /// # Errors
    /// An option is not known, or has no value.
    pub fn of(spec: &Spec, words: &[String]) -> Result<Parsed> {
        let refuse =
            |text: String| Error::invalid(format!("template {}: {text}", spec.template)).with_hint(spec.help);
        let mut parsed = Parsed::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let (key, attached) = match word.strip_prefix("--") {
                Some(long) => match long.split_once('=') {
                    Some((key, value)) => (key.to_string(), Some(value.to_string())),
                    None => (long.to_string(), None),
                },
                None => {
                    let mut letters = word.strip_prefix('-').unwrap_or_default().chars();
                    let letter = letters.next().ok_or_else(|| refuse(format!("unexpected word {word}")))?;
                    let all = spec.with_value.iter().chain(spec.flags);
                    let name = all.clone().find(|(l, _)| *l == letter).map(|(_, name)| *name);
                    let rest = letters.as_str();
                    let name = name.ok_or_else(|| refuse(format!("unknown option {word}")))?;
                    (name.to_string(), (!rest.is_empty()).then(|| rest.to_string()))
                }
            };
            if let Some((_, name)) = spec.flags.iter().find(|(_, name)| *name == key) {
                if attached.is_some() {
                    return Err(refuse(format!("--{name} takes no value")));
                }
                parsed.flags.push(name);
            } else if let Some((_, name)) = spec.with_value.iter().find(|(_, name)| *name == key) {
                let value = attached.or_else(|| words.next().cloned());
                parsed.values.push((name, value.ok_or_else(|| refuse(format!("--{name} needs a value")))?));
            } else {
                return Err(refuse(format!("unknown option {word}")));
            }
        }
        Ok(parsed)
    }

    /// The value of the last option of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.iter().rev().find(|(n, _)| *n == name).map(|(_, value)| value.as_str())
    }

    /// Whether an option without value was given.
    pub fn has(&self, name: &str) -> bool {
        self.flags.contains(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: Spec = Spec {
        template: "t",
        help: "",
        with_value: &[('d', "dist"), ('\0', "server")],
        flags: &[('l', "list")],
    };

    fn parse(words: &[&str]) -> Result<Parsed> {
        Parsed::of(&SPEC, &words.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn forms() {
        let parsed = parse(&["-d", "x", "--server=s", "-l"]).expect("fine");
        assert_eq!(
            (parsed.get("dist"), parsed.get("server"), parsed.has("list")),
            (Some("x"), Some("s"), true)
        );
        assert_eq!(parse(&["-dx"]).expect("fine").get("dist"), Some("x"));
        for bad in [&["--list=x"][..], &["-d"], &["--other"], &["word"], &["-x"]] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
