//! Archives, compressed in whatever way (recognised by their first bytes).

use std::io::{BufReader, Read};

use crate::error::{Doing, Error, Result};

/// Memory that xz may want, in bytes: xz -9 makes archives that want 65 MiB.
const MAX_MEMORY: u64 = 256 << 20;

/// What a decompressor reads from: a file, or a stream that is checked meanwhile.
pub type Source<'a> = Box<dyn Read + Send + 'a>;

/// The decompressed stream.
///
/// # Errors
/// The first bytes cannot be read, or are of a kind that is not known.
pub fn open<'a>(source: Source<'a>) -> Result<Source<'a>> {
    let mut source = BufReader::with_capacity(128 * 1024, source);
    let mut first = [0; 6];
    let mut length = 0;
    while length < first.len() {
        match source.read(&mut first[length..]).doing(|| "read an archive")? {
            0 => break,
            n => length += n,
        }
    }
    let head = first[..length].to_vec();
    let whole = std::io::Cursor::new(head.clone()).chain(source);
    Ok(match head.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => {
            let several = liblzma::stream::CONCATENATED;
            let decoder = liblzma::stream::Stream::new_stream_decoder(MAX_MEMORY, several);
            let decoder = decoder.map_err(|e| Error::invalid(format!("read an archive: {e}")))?;
            Box::new(liblzma::read::XzDecoder::new_stream(whole, decoder))
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            Box::new(zstd::stream::read::Decoder::new(whole).doing(|| "read an archive")?)
        }
        [b'B', b'Z', b'h', ..] => {
            return Err(Error::unsupported(
                "an archive compressed by bzip2: only gzip, xz, zstd or none are read",
            ));
        }
        _ => Box::new(whole),
    })
}
