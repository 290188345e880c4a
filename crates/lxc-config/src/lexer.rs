//! Lines of a configuration file, and what stands on one.

use std::ops::Range;

/// One line: its content without and its extent with the terminator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawLine {
    /// The bytes before the terminator.
    pub content: Range<usize>,
    /// Where the next line starts.
    pub end: usize,
    /// Counted from 1.
    pub number: u32,
}

/// Splits at `\n`, `\r\n` and a lone `\r`, which upstream takes as the end of a line too.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = RawLine> + '_ {
    let mut position = 0;
    let mut number = 0;
    std::iter::from_fn(move || {
        let rest = text.get(position..).filter(|rest| !rest.is_empty())?;
        let length = rest.iter().position(|&b| b == b'\n' || b == b'\r').unwrap_or(rest.len());
        let terminator = match &rest[length..] {
            [b'\r', b'\n', ..] => 2,
            [] => 0,
            _ => 1,
        };
        let content = position..position + length;
        position += length + terminator;
        number += 1;
        Some(RawLine { content, end: position, number })
    })
}

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Statement {
    /// Blank, a comment, or no key of ours.
    Nothing,
    /// `key = value`, as ranges of the line. `value` is without quotes, `value_start` is before them.
    Assignment { key: Range<usize>, value: Range<usize>, value_start: usize },
    /// A line that starts like a key but has no `=`.
    MissingEquals { start: usize },
}

fn is_blank(byte: &u8) -> bool {
    *byte == b' ' || *byte == b'\t'
}

/// Reads one line without its terminator.
pub(crate) fn statement(line: &[u8]) -> Statement {
    let start = line.iter().take_while(|b| is_blank(b)).count();
    if !line[start..].starts_with(b"lxc.") {
        return Statement::Nothing;
    }
    let Some(equals) = line.iter().position(|&b| b == b'=') else {
        return Statement::MissingEquals { start };
    };
    let trimmed_end =
        |from: usize, to: usize| to - line[from..to].iter().rev().take_while(|b| is_blank(b)).count();
    let key = start..trimmed_end(start, equals);
    let after = equals + 1;
    let value_start = after + line[after..].iter().take_while(|b| is_blank(b)).count();
    let mut value = value_start..trimmed_end(value_start, line.len());
    // One pair of quotes protects blanks; there are no escapes.
    if value.len() > 1 {
        let (first, last) = (line[value.start], line[value.end - 1]);
        if first == last && (first == b'\'' || first == b'"') {
            value = value.start + 1..value.end - 1;
        }
    }
    Statement::Assignment { key, value, value_start }
}

/// Writes a value so that reading the line gives it back: in quotes where blanks or quotes would be lost.
pub(crate) fn quoted(value: &str) -> String {
    let bytes = value.as_bytes();
    let edge = |byte: Option<&u8>| byte.is_some_and(is_blank);
    let pair = bytes.len() > 1 && bytes.first() == bytes.last() && matches!(bytes[0], b'\'' | b'"');
    if edge(bytes.first()) || edge(bytes.last()) || pair { format!("\"{value}\"") } else { value.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Option<(&str, &str)> {
        match statement(line.as_bytes()) {
            Statement::Assignment { key, value, .. } => Some((&line[key], &line[value])),
            _ => None,
        }
    }

    #[test]
    fn keys_and_values_are_trimmed_and_unquoted() {
        assert_eq!(parsed("lxc.a=b"), Some(("lxc.a", "b")));
        assert_eq!(parsed(" \tlxc.a \t= \tb c \t"), Some(("lxc.a", "b c")));
        assert_eq!(parsed("lxc.a = b=c # d"), Some(("lxc.a", "b=c # d")));
        assert_eq!(parsed("lxc.a = \" b \""), Some(("lxc.a", " b ")));
        assert_eq!(parsed("lxc.a = \"\""), Some(("lxc.a", "")));
        assert_eq!(parsed("lxc.a = \""), Some(("lxc.a", "\"")));
        assert_eq!(parsed("lxc.a = 'b\""), Some(("lxc.a", "'b\"")));
        assert_eq!(parsed("lxc.a = \"b\"c"), Some(("lxc.a", "\"b\"c")));
        assert_eq!(parsed("lxc.a ="), Some(("lxc.a", "")));
    }

    #[test]
    fn other_lines() {
        for line in
            ["", "  ", "# lxc.a = b", " #", "foo = bar", "LXC.a = b", "lxcfoo = 1", "\u{feff}lxc.a = b"]
        {
            assert_eq!(statement(line.as_bytes()), Statement::Nothing, "{line}");
        }
        assert_eq!(statement(b" lxc.a b"), Statement::MissingEquals { start: 1 });
    }

    #[test]
    fn every_terminator_ends_a_line() {
        let text = b"a\r\nb\n\nc\rd";
        let all: Vec<_> = lines(text).map(|line| (&text[line.content], line.number)).collect();
        assert_eq!(all, [(&b"a"[..], 1), (b"b", 2), (b"", 3), (b"c", 4), (b"d", 5)]);
    }

    #[test]
    fn quotes_protect() {
        for value in ["a", " a", "a\t", "'a'", "\"a\"", "'", "\"a'", "\" "] {
            let line = format!("lxc.a = {}", quoted(value));
            assert_eq!(parsed(&line), Some(("lxc.a", value)));
        }
    }
}
