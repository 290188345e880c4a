//! Environments: of hooks that run inside, of init, of attached commands.

use std::ffi::CString;

use lxc_config::Values;

/// Variables in order; a later one of the same name wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// For hooks of the child.
    pub hooks: Vec<(String, String)>,
    /// For init and for attached commands, besides `container` and `container_ttys`.
    pub runtime: Vec<(String, String)>,
}

fn pairs<'a>(lists: impl IntoIterator<Item = &'a Vec<String>>) -> Vec<(String, String)> {
    let split = |line: &String| {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        (name.to_string(), value.to_string())
    };
    lists.into_iter().flatten().map(split).collect()
}

impl Environment {
    /// Reads the three environment keys.
    pub fn resolve(values: &Values) -> Environment {
        Environment {
            hooks: pairs([&values.environment, &values.environment_hooks]),
            runtime: pairs([&values.environment, &values.environment_runtime]),
        }
    }

    /// The environment of init: nothing of the host's.
    pub fn for_init(&self, ttys: &[String]) -> Vec<CString> {
        let mut all = self.runtime.clone();
        all.push(("container".to_string(), "lxc".to_string()));
        if !ttys.is_empty() {
            all.push(("container_ttys".to_string(), ttys.join(" ")));
        }
        c_strings(&all)
    }
}

/// `NAME=VALUE` strings, of each name the last, in order of first appearance.
pub fn c_strings(pairs: &[(String, String)]) -> Vec<CString> {
    let mut out: Vec<&(String, String)> = Vec::new();
    for pair in pairs {
        match out.iter_mut().find(|p| p.0 == pair.0) {
            Some(earlier) => *earlier = pair,
            None => out.push(pair),
        }
    }
    // The key table refuses NUL in values.
    out.iter().filter_map(|(n, v)| CString::new(format!("{n}={v}")).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_wins() {
        let values = Values {
            environment: vec!["A=1".into(), "B=2".into(), "A=3=4".into()],
            environment_runtime: vec!["B=5".into()],
            ..Values::default()
        };
        let init = Environment::resolve(&values).for_init(&["pts/1".into(), "pts/2".into()]);
        let text: Vec<_> = init.iter().map(|c| c.to_string_lossy().into_owned()).collect();
        assert_eq!(text, ["A=3=4", "B=5", "container=lxc", "container_ttys=pts/1 pts/2"]);
    }
}
