//! Compressed request bodies (RFC 9110 §8.4.1).
//!
//! A body is decompressed after all of it has arrived, so that no decoder waits for a slow sender. The
//! result counts against the same memory budget and size limit as an uncompressed body.

use std::io::{ErrorKind, Read};

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use flate2::bufread::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};

use super::memory::{Buffer, Full, Held, full, too_large};
use crate::foreign::Issue;
use crate::http::ApiError;

/// The encodings that [`Encoding::of`] knows, in the format of `Accept-Encoding`.
const KNOWN: &str = "gzip, deflate, br, zstd";
/// The largest zstd window, as a power of two: 8 MiB, the most that RFC 8878 §3.1.1.1.2 recommends to
/// support.
const WINDOW_LOG_MAX: u32 = 23;
/// Bytes decompressed in one step.
const STEP: usize = 8 * 1024;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Encoding {
    /// The compression of a request's body; `None` if it is not compressed.
    ///
    /// # Errors
    ///
    /// 415 for an unknown encoding, and for several encodings in combination.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        let mut found = None;
        for value in headers.get_all(header::CONTENT_ENCODING) {
            let text = value.to_str().map_err(|_| unknown())?;
            for name in text.split(',').map(str::trim) {
                let one = match name.to_ascii_lowercase().as_str() {
                    "" | "identity" => continue,
                    "gzip" | "x-gzip" => Self::Gzip,
                    "deflate" => Self::Deflate,
                    "br" => Self::Brotli,
                    "zstd" => Self::Zstd,
                    _ => return Err(unknown()),
                };
                if found.replace(one).is_some() {
                    return Err(unknown());
                }
            }
        }
        Ok(found)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// Decompresses a body to at most `max` bytes. This is CPU-bound: call it on a blocking thread.
    ///
    /// # Errors
    ///
    /// 413 if the result is larger, 503 if the memory budget is used up, 400 if the body is damaged.
    pub fn unpack(
        self,
        packed: &[u8],
        max: usize,
        buffer: Buffer,
    ) -> Result<(Bytes, Held), ApiError> {
        match self {
            Self::Gzip => self.read(MultiGzDecoder::new(packed), max, buffer),
            // `deflate` means the zlib format, but many clients send raw deflate (RFC 9110 §8.4.1.2).
            Self::Deflate => self.inflate(packed, max, buffer),
            Self::Brotli if is_large_window(packed) => Err(self.damaged()),
            Self::Brotli => self.read(
                brotli_decompressor::Decompressor::new(packed, STEP),
                max,
                buffer,
            ),
            Self::Zstd => {
                let reader = zstd::Decoder::with_buffer(packed).and_then(|mut reader| {
                    reader.window_log_max(WINDOW_LOG_MAX)?;
                    Ok(reader)
                });
                self.read(reader.map_err(|_| self.damaged())?, max, buffer)
            }
        }
    }

    fn read(
        self,
        mut reader: impl Read,
        max: usize,
        mut buffer: Buffer,
    ) -> Result<(Bytes, Held), ApiError> {
        let mut step = [0; STEP];
        loop {
            let length = match reader.read(&mut step) {
                Ok(0) => return Ok(buffer.finish()),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return Err(self.damaged()),
            };
            if buffer.len() + length > max {
                return Err(too_large(max));
            }
            buffer.push(&step[..length]).map_err(|Full| full())?;
        }
    }

    /// Like [`read`](Self::read), but detects a truncated body, which the deflate readers do not.
    fn inflate(
        self,
        packed: &[u8],
        max: usize,
        mut buffer: Buffer,
    ) -> Result<(Bytes, Held), ApiError> {
        let mut state = Decompress::new(is_zlib(packed));
        let mut step = [0; STEP];
        let mut rest = packed;
        loop {
            let (taken, made) = (state.total_in(), state.total_out());
            let status = state.decompress(rest, &mut step, FlushDecompress::None);
            let status = status.map_err(|_| self.damaged())?;
            // Neither count exceeds the input.
            let taken = usize::try_from(state.total_in() - taken).unwrap_or(usize::MAX);
            let made = usize::try_from(state.total_out() - made).unwrap_or(usize::MAX);
            rest = &rest[taken..];
            if buffer.len() + made > max {
                return Err(too_large(max));
            }
            buffer.push(&step[..made]).map_err(|Full| full())?;
            if status == Status::StreamEnd {
                return Ok(buffer.finish());
            }
            if taken == 0 && made == 0 {
                return Err(self.damaged());
            }
        }
    }

    fn damaged(self) -> ApiError {
        let message = format!(
            "The body is not valid {}, the encoding that Content-Encoding names",
            self.name()
        );
        ApiError::validation(&[Issue::new("", message)])
    }
}

/// The first bytes of zlib's format: method 8, and a checksum of both (RFC 1950 §2.2).
fn is_zlib(packed: &[u8]) -> bool {
    let [first, second, ..] = packed else {
        return false;
    };
    first & 0x0f == 8 && u16::from_be_bytes([*first, *second]) % 31 == 0
}

/// Whether the body uses brotli's large-window extension, with windows of up to 1 GiB, which the
/// decoder would allocate. It is not part of RFC 7932.
fn is_large_window(packed: &[u8]) -> bool {
    packed.first().is_some_and(|first| first & 0x7f == 0x11)
}

fn unknown() -> ApiError {
    let message = format!("Send the body as it is, or with one Content-Encoding of {KNOWN}");
    let error = ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message);
    error.with_header(header::ACCEPT_ENCODING, HeaderValue::from_static(KNOWN))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::http::serve::memory::{Memory, Sender};

    fn packed(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
        let level = flate2::Compression::best();
        match encoding {
            Encoding::Gzip => {
                let mut to = flate2::write::GzEncoder::new(Vec::new(), level);
                to.write_all(bytes).unwrap();
                to.finish().unwrap()
            }
            Encoding::Deflate => {
                let mut to = flate2::write::ZlibEncoder::new(Vec::new(), level);
                to.write_all(bytes).unwrap();
                to.finish().unwrap()
            }
            Encoding::Brotli => {
                let mut packed = Vec::new();
                let params = brotli::enc::BrotliEncoderParams::default();
                brotli::BrotliCompress(&mut &*bytes, &mut packed, &params).unwrap();
                packed
            }
            Encoding::Zstd => zstd::encode_all(bytes, 3).unwrap(),
        }
    }

    const ALL: [Encoding; 4] = [
        Encoding::Gzip,
        Encoding::Deflate,
        Encoding::Brotli,
        Encoding::Zstd,
    ];

    fn status(refused: Result<(Bytes, Held), ApiError>) -> String {
        format!("{:?}", refused.err().expect("a refusal"))
    }

    #[test]
    fn what_was_packed_comes_out_and_what_is_damaged_is_refused() {
        let memory = Memory::new(1024 * 1024);
        let text: Vec<u8> = (0..20_000_u32)
            .flat_map(|n| n.to_string().into_bytes())
            .collect();
        for encoding in ALL {
            for whole in [&text[..], b"", b"{}"] {
                let packed = packed(encoding, whole);
                let unpack =
                    |packed: &[u8]| encoding.unpack(packed, 200_000, memory.buffer(Sender::Known));
                assert_eq!(unpack(&packed).unwrap().0, whole, "{encoding:?}");
                if whole.len() < 100 {
                    continue;
                }
                for wrong in [
                    &packed[..packed.len() / 2],
                    b"plain text, not packed at all",
                ] {
                    let refused = status(unpack(wrong));
                    assert!(refused.contains("400"), "{encoding:?}: {refused}");
                }
            }
        }
        // Raw deflate without the zlib header, as some clients send it.
        let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        raw.write_all(&text).unwrap();
        let raw = raw.finish().unwrap();
        let unpacked = Encoding::Deflate.unpack(&raw, 200_000, memory.buffer(Sender::Known));
        assert_eq!(unpacked.unwrap().0, text);
    }

    #[tokio::test]
    async fn a_bomb_takes_no_more_than_a_body_may() {
        let memory = Memory::new(512 * 1024);
        let bomb = vec![0; 64 * 1024 * 1024];
        for encoding in ALL {
            let packed = packed(encoding, &bomb);
            assert!(packed.len() < 128 * 1024, "{encoding:?}: {}", packed.len());
            let unpack = |max, sender| status(encoding.unpack(&packed, max, memory.buffer(sender)));
            assert!(
                unpack(100_000, Sender::Known).contains("413"),
                "{encoding:?}"
            );
            // Exceeds the memory budget before it exceeds the size limit of a body.
            let refused = unpack(usize::MAX, Sender::Anyone);
            assert!(refused.contains("503"), "{encoding:?}: {refused}");
        }
        // All memory is released.
        let body = axum::body::Body::from(vec![0; 500 * 1024]);
        let read = memory.read(body, 1024 * 1024, Sender::Known);
        assert!(read.await.is_ok());
    }

    #[test]
    fn a_window_of_more_than_8_mib_is_refused() {
        let memory = Memory::new(1024 * 1024);
        let unpack = |encoding: Encoding, packed: &[u8]| {
            status(encoding.unpack(packed, 1024, memory.buffer(Sender::Known)))
        };
        // A zstd frame with a window of 2^27: magic, no content size, window descriptor.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 0x01, 0x00, 0x00];
        assert!(unpack(Encoding::Zstd, &frame).contains("400"));
        let large = brotli::enc::BrotliEncoderParams {
            large_window: true,
            lgwin: 26,
            ..Default::default()
        };
        let mut packed = Vec::new();
        brotli::BrotliCompress(&mut &b"large"[..], &mut packed, &large).unwrap();
        assert!(unpack(Encoding::Brotli, &packed).contains("400"));
    }

    #[test]
    fn one_known_encoding_is_taken_and_others_are_told() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_ENCODING, HeaderValue::from_static(value));
            }
            Encoding::of(&headers).map_err(|error| format!("{error:?}"))
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["identity"]), Ok(None));
        assert_eq!(of(&["GZip"]), Ok(Some(Encoding::Gzip)));
        assert_eq!(of(&["identity, br"]), Ok(Some(Encoding::Brotli)));
        for wrong in [&["compress"][..], &["gzip, gzip"], &["gzip", "br"], &["*"]] {
            let refused = of(wrong).unwrap_err();
            assert!(refused.contains("415"), "{wrong:?}: {refused}");
        }
    }
}
