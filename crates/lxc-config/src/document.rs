//! The text of a configuration, kept byte for byte but for the lines that a change is about.

use crate::keys::{Place, Target};
use crate::lexer::{self, Statement};

/// One line of the text.
#[derive(Debug, Clone)]
struct Line {
    /// Where it ends, terminator included; it starts where the one before ends.
    end: usize,
    /// The key that it assigns.
    target: Option<Target>,
}

/// Text and, line by line, the keys that it assigns.
#[derive(Debug, Clone, Default)]
pub(crate) struct Document {
    text: Vec<u8>,
    lines: Vec<Line>,
}

/// What an edit does with one line.
enum Edit {
    Keep,
    Remove,
    Replace(Vec<u8>),
}

impl Document {
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Adds a whole file. Of its first lines `read` tells where they end and what they assign; the others
    /// were not reached.
    pub(crate) fn append_file(&mut self, text: &[u8], read: Vec<(usize, Option<Target>)>) {
        self.terminate();
        let base = self.text.len();
        self.text.extend_from_slice(text);
        let rest = base + read.last().map_or(0, |&(end, _)| end);
        self.lines.extend(read.into_iter().map(|(end, target)| Line { end: base + end, target }));
        let unread = lexer::lines(&self.text[rest..]);
        self.lines.extend(unread.map(|line| Line { end: rest + line.end, target: None }));
    }

    /// Adds `key = value` at the end.
    pub(crate) fn append(&mut self, target: &Target, value: &str) {
        self.terminate();
        let newline = self.newline();
        self.text.extend_from_slice(assignment(target, value).as_bytes());
        self.text.extend_from_slice(newline);
        self.lines.push(Line { end: self.text.len(), target: Some(target.clone()) });
    }

    /// Puts the only assignment of a scalar where its last one was, or at the end: where nothing that comes
    /// later in the file could override it when the text is read again.
    pub(crate) fn replace(&mut self, target: &Target, value: &str) {
        let own = |line: &Line| line.target.as_ref() == Some(target);
        let position = self.lines.iter().rposition(own).filter(|&at| {
            !self.lines[at + 1..].iter().filter_map(|line| line.target.as_ref()).any(|later| {
                matches!(later.key.place, Place::Include) || (later != target && later.covers(target))
            })
        });
        self.edit(|number, content, line| match line {
            Some(_) if Some(number) == position => Edit::Replace(reassigned(content, target, value)),
            Some(other) if target.covers(other) => Edit::Remove,
            _ => Edit::Keep,
        });
        if position.is_none() {
            self.append(target, value);
        }
    }

    /// Removes the lines of a key and of those that are cleared with it.
    pub(crate) fn remove(&mut self, target: &Target) {
        self.edit(|_, _, line| match line {
            Some(other) if target.covers(other) => Edit::Remove,
            _ => Edit::Keep,
        });
    }

    /// Clears a key that an included file assigns: its lines go, but those that clear it stay where they are,
    /// since what follows them may depend on it, and the last word is `value`.
    pub(crate) fn override_included(&mut self, target: &Target, value: &str) {
        self.edit(|_, content, line| match (line, lexer::statement(content)) {
            (Some(_), Statement::Assignment { value, .. }) if value.is_empty() => Edit::Keep,
            (Some(other), _) if target.covers(other) => Edit::Remove,
            _ => Edit::Keep,
        });
        self.append(target, value);
    }

    /// Gives lines other values: `change` is asked about each that assigns one, with its key.
    pub(crate) fn rewrite(&mut self, change: &mut dyn FnMut(&str, &str) -> Option<String>) {
        self.edit(|_, content, line| {
            let (Some(target), Statement::Assignment { value, .. }) = (line, lexer::statement(content))
            else {
                return Edit::Keep;
            };
            let new = std::str::from_utf8(&content[value]).ok().and_then(|old| change(&target.name(), old));
            new.map_or(Edit::Keep, |new| Edit::Replace(reassigned(content, target, &new)))
        });
    }

    /// Gives the lines `lxc.network.*` their index. They are counted, so that adding or removing a network
    /// would otherwise change the meaning of those that follow.
    pub(crate) fn number_networks(&mut self) {
        self.edit(|_, content, line| match (lexer::statement(content), line) {
            (Statement::Assignment { key, .. }, Some(target))
                if content[key.clone()].starts_with(b"lxc.network") =>
            {
                Edit::Replace([&content[..key.start], target.name().as_bytes(), &content[key.end..]].concat())
            }
            _ => Edit::Keep,
        });
    }

    /// Rebuilds the text line by line; the function gets a line's number, content and key.
    fn edit(&mut self, mut decide: impl FnMut(usize, &[u8], Option<&Target>) -> Edit) {
        let old = std::mem::take(&mut self.text);
        let mut start = 0;
        let mut number = 0;
        let text = &mut self.text;
        text.reserve(old.len());
        self.lines.retain_mut(|line| {
            let whole = &old[start..line.end];
            let terminators = whole.iter().rev().take_while(|&&b| b == b'\n' || b == b'\r').count();
            let (content, terminator) = whole.split_at(whole.len() - terminators);
            let decision = decide(number, content, line.target.as_ref());
            start = line.end;
            number += 1;
            match decision {
                Edit::Keep => text.extend_from_slice(whole),
                Edit::Replace(new) => {
                    text.extend_from_slice(&new);
                    text.extend_from_slice(terminator);
                }
                Edit::Remove => return false,
            }
            line.end = text.len();
            true
        });
    }

    /// Ends a last line that has no terminator, so that another can follow.
    fn terminate(&mut self) {
        let newline = self.newline();
        if let (Some(line), false) =
            (self.lines.last_mut(), self.text.ends_with(b"\n") || self.text.ends_with(b"\r"))
        {
            self.text.extend_from_slice(newline);
            line.end = self.text.len();
        }
    }

    /// The terminator of the first line.
    fn newline(&self) -> &'static [u8] {
        match self.text.iter().position(|&b| b == b'\n' || b == b'\r') {
            Some(at) if self.text[at..].starts_with(b"\r\n") => b"\r\n",
            _ => b"\n",
        }
    }
}

fn assignment(target: &Target, value: &str) -> String {
    match value {
        "" => format!("{} =", target.name()),
        _ => format!("{} = {}", target.name(), lexer::quoted(value)),
    }
}

/// The line with another value, in the style in which it was written.
fn reassigned(content: &[u8], target: &Target, value: &str) -> Vec<u8> {
    let name = target.name();
    match lexer::statement(content) {
        Statement::Assignment { key, value: old, value_start }
            if !old.is_empty() && content[key.clone()] == *name.as_bytes() =>
        {
            [&content[..value_start], lexer::quoted(value).as_bytes()].concat()
        }
        _ => {
            let indentation = content.iter().take_while(|&&b| b == b' ' || b == b'\t').count();
            [&content[..indentation], assignment(target, value).as_bytes()].concat()
        }
    }
}
