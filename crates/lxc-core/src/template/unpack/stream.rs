//! The stream of an archive: counted, with a limit on what a member has beside its contents, and with the extended headers
//! as they are (pax(1)). The reader of archives splits these at line breaks, which values may contain.

use std::cell::RefCell;
use std::io::Read;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::template::compressed::Source;

/// Headers of one member, in bytes: names and attributes are kept in memory.
const MAX_HEADERS: u64 = 8 << 20;
const BLOCK: usize = 512;

/// A key and its value.
pub(super) type Record = (String, Vec<u8>);

#[derive(Debug, Default)]
struct State {
    /// Bytes of the archive, without compression, that were read.
    position: u64,
    /// Where the headers of the next member begin.
    headers_at: u64,
    headers: Vec<u8>,
}

/// Counts what is read of an archive as it is.
pub(super) struct Counted<'a> {
    pub(super) inner: Source<'a>,
    pub(super) count: Arc<AtomicU64>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.count.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// What is known of a stream while somebody else reads it.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch(Rc<RefCell<State>>);

impl Watch {
    /// Bytes that were read.
    pub(super) fn position(&self) -> u64 {
        self.0.borrow().position
    }

    /// The contents of a member begin here, and have so many bytes in the archive. Returns the extended headers in front
    /// of them.
    pub(super) fn contents(&self, length: u64) -> Result<Vec<Record>> {
        let mut state = self.0.borrow_mut();
        let records = extended_headers(&state.headers);
        state.headers.clear();
        let end = state.position.saturating_add(length);
        state.headers_at = end.checked_next_multiple_of(BLOCK as u64).unwrap_or(u64::MAX);
        records
    }
}

/// The stream itself.
pub(super) struct Watched<'a> {
    inner: Source<'a>,
    watch: Watch,
}

impl<'a> Watched<'a> {
    pub(super) fn new(inner: Source<'a>) -> (Watched<'a>, Watch) {
        let watch = Watch::default();
        (Watched { inner, watch: watch.clone() }, watch)
    }
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        let mut state = self.watch.0.borrow_mut();
        let before = usize::try_from(state.headers_at.saturating_sub(state.position)).unwrap_or(usize::MAX);
        state.position += n as u64;
        if let Some(headers) = buffer[..n].get(before..) {
            state.headers.extend_from_slice(headers);
        }
        if state.headers.len() as u64 > MAX_HEADERS {
            return Err(std::io::Error::other("the names and attributes of a member are too long"));
        }
        Ok(n)
    }
}

/// The records in the extended header of a member; long names of GNU's tar are records as well.
fn extended_headers(bytes: &[u8]) -> Result<Vec<Record>> {
    let mut at = 0;
    let mut found = Vec::new();
    while let Some(block) = bytes.get(at..at + BLOCK) {
        let header = tar::Header::from_byte_slice(block);
        let kind = header.entry_type();
        let long = match kind {
            tar::EntryType::XHeader | tar::EntryType::XGlobalHeader => None,
            tar::EntryType::GNULongName => Some("path"),
            tar::EntryType::GNULongLink => Some("linkpath"),
            _ => break,
        };
        let bad = || Error::invalid("an extended header that cannot be read");
        let length = usize::try_from(header.entry_size().map_err(|_| bad())?).map_err(|_| bad())?;
        let data = bytes.get(at + BLOCK..).and_then(|rest| rest.get(..length)).ok_or_else(bad)?;
        match long {
            Some(key) => found.push((key.to_string(), data.strip_suffix(b"\0").unwrap_or(data).to_vec())),
            None if kind == tar::EntryType::XHeader => found.extend(records(data).ok_or_else(bad)?),
            None => {}
        }
        at += BLOCK + length.next_multiple_of(BLOCK);
    }
    Ok(found)
}

/// `LENGTH KEY=VALUE\n`, the length being that of the whole.
fn records(mut data: &[u8]) -> Option<Vec<Record>> {
    let mut found = Vec::new();
    while !data.is_empty() {
        let blank = data.iter().position(|&b| b == b' ')?;
        let length: usize = std::str::from_utf8(&data[..blank]).ok()?.parse().ok()?;
        let record = data.get(blank + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|&b| b == b'=')?;
        let key = String::from_utf8_lossy(&record[..equals]).into_owned();
        found.push((key, record[equals + 1..].to_vec()));
        data = &data[length..];
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_with_line_breaks() {
        let found = records(b"9 a=b\nc\n\n6 d=e\n").expect("two records");
        assert_eq!(found, [("a".to_string(), b"b\nc\n".to_vec()), ("d".to_string(), b"e".to_vec())]);
        for bad in [&b"9 a=b\n"[..], b"x a=b\n", b"6 a=bc", b"0 a=b\n", b"2 \n"] {
            assert_eq!(records(bad), None, "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(0u8..=255, 0..2000)) {
            let _ = records(&bytes);
            let _ = extended_headers(&bytes);
        }
    }
}
