//! SHA-256, in hexadecimal digits.

use std::fmt::Write;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{Doing, Result};

/// Adds what a reader has to a sum; returns how many bytes that were.
///
/// # Errors
/// It cannot be read.
pub fn add(reader: &mut impl Read, sum: &mut Sha256) -> std::io::Result<u64> {
    let mut buffer = vec![0; 256 * 1024];
    let mut all = 0;
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(all),
            n => {
                sum.update(&buffer[..n]);
                all += n as u64;
            }
        }
    }
}

/// The digits of a sum.
pub fn digits(sum: Sha256) -> String {
    sum.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Text has room for more.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Of what a reader has.
///
/// # Errors
/// It cannot be read.
pub fn of(reader: &mut impl Read) -> std::io::Result<String> {
    let mut sum = Sha256::new();
    add(reader, &mut sum)?;
    Ok(digits(sum))
}

/// Of bytes.
pub fn of_bytes(bytes: &[u8]) -> String {
    digits(Sha256::new().chain_update(bytes))
}

/// Of a file.
///
/// # Errors
/// It cannot be read.
pub fn of_file(path: &Path) -> Result<String> {
    let what = || format!("read {}", path.display());
    of(&mut std::fs::File::open(path).doing(what)?).doing(what)
}
