//! The ring buffer that keeps the last console output.

use std::collections::VecDeque;

/// A buffer of fixed size; new output pushes out the oldest.
#[derive(Debug)]
pub struct Ring {
    bytes: VecDeque<u8>,
    size: usize,
}

impl Ring {
    /// A ring of `size` bytes. Memory is taken as output comes.
    pub fn new(size: usize) -> Ring {
        Ring { bytes: VecDeque::new(), size }
    }

    /// Appends output.
    pub fn push(&mut self, chunk: &[u8]) {
        let chunk = &chunk[chunk.len().saturating_sub(self.size)..];
        let excess = (self.bytes.len() + chunk.len()).saturating_sub(self.size);
        self.bytes.drain(..excess);
        self.bytes.extend(chunk);
    }

    /// Takes out the oldest bytes, at most `max` (0: all).
    pub fn take(&mut self, max: usize) -> Vec<u8> {
        let n = if max == 0 { self.bytes.len() } else { max.min(self.bytes.len()) };
        self.bytes.drain(..n).collect()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Number of bytes kept.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest() {
        let mut r = Ring::new(4);
        r.push(b"abc");
        r.push(b"de");
        assert_eq!(r.take(1), b"b");
        assert_eq!(r.take(0), b"cde");
        r.push(b"0123456789");
        assert_eq!(r.take(0), b"6789");
        assert!(r.is_empty());
    }
}
