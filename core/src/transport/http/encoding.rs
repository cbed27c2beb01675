//! Answers that a server compressed, although every request asks for none of it.

use std::io;

use bytes::Bytes;
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use super::MAX_BODY;
use crate::error::{Cause, Error, ErrorKind, Result};

/// How the bytes of an answer are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Deflate,
}

impl Encoding {
    /// The encoding that an answer names.
    ///
    /// [`ErrorKind::BadUpstream`], naming it, if the gateway does not read it.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self> {
        let mut found = Self::Identity;
        for value in headers.get_all(CONTENT_ENCODING) {
            let text = String::from_utf8_lossy(value.as_bytes());
            for word in text.split(',').map(|word| word.trim().to_ascii_lowercase()) {
                found = match (&*word, found) {
                    ("" | "identity", found) => found,
                    ("gzip" | "x-gzip", Self::Identity) => Self::Gzip,
                    ("deflate", Self::Identity) => Self::Deflate,
                    _ => return Err(unread(&text)),
                };
            }
        }
        Ok(found)
    }

    /// The bytes of a whole answer, of which there are at most `limit`.
    pub(super) fn open(self, bytes: Bytes, limit: usize) -> Result<Bytes> {
        if self == Self::Identity {
            return Ok(bytes);
        }
        let mut opener = Opener::new(self, limit);
        let opened = opener.push(bytes)?;
        opener.check_end()?;
        Ok(opened)
    }
}

/// Opens an answer that comes in pieces.
pub(super) struct Opener {
    state: State,
    limit: usize,
}

enum State {
    Plain,
    Gzip(Box<MultiGzDecoder<Bounded>>),
    /// `deflate` whose first two bytes tell which of its two forms it has; one of them has come at most.
    Undecided(Vec<u8>),
    Zlib(Box<ZlibDecoder<Bounded>>),
    Raw(Box<DeflateDecoder<Bounded>>),
}

/// Takes so many bytes at a time, and no more.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.limit {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Opener {
    /// For an answer of which a piece becomes at most `limit` bytes.
    pub(super) fn new(encoding: Encoding, limit: usize) -> Self {
        let state = match encoding {
            Encoding::Identity => State::Plain,
            Encoding::Gzip => {
                State::Gzip(Box::new(MultiGzDecoder::new(Bounded { bytes: Vec::new(), limit })))
            }
            Encoding::Deflate => State::Undecided(Vec::new()),
        };
        Self { state, limit }
    }

    /// For a stream that `headers` begin.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self> {
        Ok(Self::new(Encoding::of(headers)?, MAX_BODY))
    }

    /// The bytes that the next piece stands for, as far as they are known.
    pub(super) fn push(&mut self, piece: Bytes) -> Result<Bytes> {
        if let State::Undecided(begun) = &mut self.state {
            begun.extend_from_slice(&piece);
            let [first, second, ..] = begun[..] else { return Ok(Bytes::new()) };
            let begun = Bytes::from(std::mem::take(begun));
            let sink = Bounded { bytes: Vec::new(), limit: self.limit };
            // RFC 9110 means the form of zlib; some servers send the bare one.
            let is_zlib = first & 0x0f == 8 && (u16::from(first) << 8 | u16::from(second)) % 31 == 0;
            self.state = if is_zlib {
                State::Zlib(Box::new(ZlibDecoder::new(sink)))
            } else {
                State::Raw(Box::new(DeflateDecoder::new(sink)))
            };
            return self.push(begun);
        }
        let limit = self.limit;
        let written = match &mut self.state {
            State::Plain | State::Undecided(_) => return Ok(piece),
            State::Gzip(decoder) => write(decoder.as_mut(), &piece).map(|()| taken(decoder.get_mut())),
            State::Zlib(decoder) => write(decoder.as_mut(), &piece).map(|()| taken(decoder.get_mut())),
            State::Raw(decoder) => write(decoder.as_mut(), &piece).map(|()| taken(decoder.get_mut())),
        };
        written.map_err(|error| failed(&error, limit))
    }

    /// Whether the answer was whole.
    fn check_end(&mut self) -> Result<()> {
        let ended = match &mut self.state {
            State::Plain => Ok(()),
            State::Undecided(_) => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            State::Gzip(decoder) => decoder.try_finish(),
            State::Zlib(decoder) => decoder.try_finish(),
            State::Raw(decoder) => decoder.try_finish(),
        };
        ended.map_err(|error| failed(&error, self.limit))
    }
}

fn write(decoder: &mut impl io::Write, piece: &[u8]) -> io::Result<()> {
    decoder.write_all(piece)?;
    // The bytes read so far are wanted now: the next piece of a stream may come much later.
    decoder.flush()
}

fn taken(sink: &mut Bounded) -> Bytes {
    std::mem::take(&mut sink.bytes).into()
}

fn failed(error: &io::Error, limit: usize) -> Error {
    if error.kind() == io::ErrorKind::FileTooLarge {
        let message = format!(
            "the server's compressed answer opens to more than the limit of {limit} bytes for one answer"
        );
        let error = Error::new(ErrorKind::BadUpstream, message);
        return error.because(Cause::LimitExceeded).with("limit_bytes", limit);
    }
    let message =
        "the server's compressed answer cannot be opened: it is cut, or not of the encoding that it names";
    Error::new(ErrorKind::BadUpstream, message).caused_by(error.to_string())
}

fn unread(named: &str) -> Error {
    let named: String = named.chars().take(40).collect();
    let message = format!(
        "the server compressed its answer by {:?}, which it was not asked for and the gateway does not read; \
         switch compression off there, or let it use gzip",
        named.trim()
    );
    Error::new(ErrorKind::BadUpstream, message)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    const TEXT: &[u8] = b"data: {\"jsonrpc\":\"2.0\"}\n\n";

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn forms() -> [(Encoding, Vec<u8>); 3] {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(TEXT).unwrap();
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(TEXT).unwrap();
        [
            (Encoding::Gzip, gzip(TEXT)),
            (Encoding::Deflate, zlib.finish().unwrap()),
            (Encoding::Deflate, raw.finish().unwrap()),
        ]
    }

    #[test]
    fn an_answer_is_opened_whole_and_in_any_pieces() {
        for (encoding, packed) in forms() {
            assert_eq!(encoding.open(packed.clone().into(), 1000).unwrap(), TEXT);
            let mut opener = Opener::new(encoding, 1000);
            let pieces = packed.chunks(1).map(|piece| opener.push(Bytes::copy_from_slice(piece)).unwrap());
            assert_eq!(pieces.collect::<Vec<_>>().concat(), TEXT);
            assert!(encoding.open(Bytes::copy_from_slice(&packed[..packed.len() / 2]), 1000).is_err());
        }
    }

    #[test]
    fn bytes_that_were_flushed_are_there_before_the_end() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(TEXT).unwrap();
        encoder.flush().unwrap();
        let mut opener = Opener::new(Encoding::Gzip, 1000);
        assert_eq!(opener.push(encoder.get_ref().clone().into()).unwrap(), TEXT);
    }

    #[test]
    fn a_bomb_is_an_error_that_names_the_limit() {
        let error = Encoding::Gzip.open(gzip(&vec![0; 1_000_000]).into(), 10_000).unwrap_err();
        assert_eq!(*error.cause(), Cause::LimitExceeded);
        assert!(error.message().contains("10000"), "{error}");
    }

    #[test]
    fn an_encoding_is_known_by_its_name_and_another_is_told() {
        let of = |value: &'static str| {
            Encoding::of(&HeaderMap::from_iter([(CONTENT_ENCODING, http::HeaderValue::from_static(value))]))
        };
        for (value, encoding) in [
            ("gzip", Encoding::Gzip),
            ("X-GZIP", Encoding::Gzip),
            ("identity, deflate", Encoding::Deflate),
            ("identity", Encoding::Identity),
            ("", Encoding::Identity),
        ] {
            assert_eq!(of(value).unwrap(), encoding, "{value}");
        }
        for value in ["br", "zstd", "gzip, gzip", "compress"] {
            assert!(of(value).unwrap_err().message().contains(value), "{value}");
        }
    }
}
