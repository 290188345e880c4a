//! Splitting of `lxc.init.cmd` and `lxc.execute.cmd` into arguments.

use thiserror::Error;

/// A command line that has no arguments to run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SplitError {
    /// A quote was opened and not closed.
    #[error("unbalanced {0} in the command")]
    Unbalanced(char),
    /// Nothing but white space.
    #[error("the command is empty")]
    Empty,
}

/// Splits at white space; `'` and `"` group, each inside the other is plain, and there are no escapes.
///
/// ```
/// assert_eq!(lxc_config::split_command("sh -c 'echo \"a b\"'").unwrap(), ["sh", "-c", "echo \"a b\""]);
/// ```
pub fn split_command(command: &str) -> Result<Vec<String>, SplitError> {
    let mut arguments = Vec::new();
    // `None` between arguments, so that '' makes an empty one.
    let mut current: Option<String> = None;
    let mut quote = None;
    for c in command.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => current.get_or_insert_default().push(c),
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                current.get_or_insert_default();
            }
            None if c.is_ascii_whitespace() => arguments.extend(current.take()),
            None => current.get_or_insert_default().push(c),
        }
    }
    if let Some(open) = quote {
        return Err(SplitError::Unbalanced(open));
    }
    arguments.extend(current);
    if arguments.is_empty() { Err(SplitError::Empty) } else { Ok(arguments) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_group_and_backslashes_are_plain() {
        assert_eq!(split_command(" /sbin/init  --a\t'b c' ").unwrap(), ["/sbin/init", "--a", "b c"]);
        assert_eq!(split_command(r#"a"b 'c"d"#).unwrap(), ["ab 'cd"]);
        assert_eq!(split_command(r"a\ b").unwrap(), [r"a\", "b"]);
        assert_eq!(split_command("a ''").unwrap(), ["a", ""]);
        assert_eq!(split_command("a 'b"), Err(SplitError::Unbalanced('\'')));
        assert_eq!(split_command(" \t"), Err(SplitError::Empty));
    }
}
