//! The messages between host and child: JSON-RPC 2.0, each in a frame of its length and its bytes.

use std::io::{self, Read};

use hogsend_plugin_api::call::CallError;
use hogsend_plugin_api::limits;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The version of the protocol that this host speaks, and the oldest one.
pub const PROTOCOL: u32 = 1;
pub const PROTOCOL_MIN: u32 = 1;

/// Bytes of a message of a child: the longest answer, and what is around it.
pub const ANSWER_FRAME_MAX: usize = limits::ANSWER.most + 64 * 1024;
/// Bytes of a message of the host.
pub const REQUEST_FRAME_MAX: usize = 256 * 1024 * 1024;

/// Bytes of the length before each message, which is an unsigned number, the highest byte first.
const HEAD: usize = 4;
/// Memory that is taken for a message before its bytes have arrived.
const EARLY: usize = 64 * 1024;

/// JSON-RPC's code for a method that does not exist.
const RPC_NO_METHOD: i64 = -32_601;
/// The code of a library that is refused; `data` has the code and the message of the refusal.
const REFUSED: i64 = 1_000;

#[derive(Deserialize, Serialize)]
pub struct Request<'a> {
    #[serde(default)]
    jsonrpc: Version,
    pub id: u64,
    pub method: &'a str,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub params: Option<&'a RawValue>,
}

#[derive(Deserialize, Serialize)]
pub struct Response<'a> {
    #[serde(default)]
    jsonrpc: Version,
    pub id: u64,
    /// Neither this nor an error means null.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub result: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Fault>,
}

/// Says `2.0`; what the other side says is not looked at.
#[derive(Default, Deserialize, Serialize)]
#[serde(from = "serde::de::IgnoredAny", into = "&'static str")]
struct Version;

impl Clone for Version {
    fn clone(&self) -> Self {
        Self
    }
}

impl From<serde::de::IgnoredAny> for Version {
    fn from(_: serde::de::IgnoredAny) -> Self {
        Self
    }
}

impl From<Version> for &'static str {
    fn from(_: Version) -> Self {
        "2.0"
    }
}

/// The error of a call.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Fault {
    pub code: i64,
    #[serde(default)]
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Refusal>,
}

/// Why a library is refused.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Refusal {
    #[serde(default)]
    pub refusal: String,
}

impl Fault {
    /// A library that is refused with this code of `docs/reference/plugins.md`.
    pub fn refused(code: &str, message: String) -> Self {
        let refusal = code.to_owned();
        Self {
            code: REFUSED,
            message,
            data: Some(Refusal { refusal }),
        }
    }

    /// The error as a library would return it.
    pub fn call_error(self) -> CallError {
        let code = match self.code {
            RPC_NO_METHOD => CallError::NO_METHOD,
            code => u32::try_from(code).unwrap_or(CallError::BAD_INPUT),
        };
        CallError::new(code, self.message)
    }
}

impl From<CallError> for Fault {
    fn from(error: CallError) -> Self {
        Self {
            code: error.code.into(),
            message: error.message,
            data: None,
        }
    }
}

/// The frame of a request. `params` is JSON; null is left out, as JSON-RPC wants it.
pub fn request(id: u64, method: &str, params: &[u8]) -> Result<Vec<u8>, String> {
    let raw = raw(params)?;
    let params = (raw.get() != "null").then_some(raw);
    let request = Request {
        jsonrpc: Version,
        id,
        method,
        params,
    };
    framed(&request, REQUEST_FRAME_MAX)
}

/// The frame of an answer, which is JSON.
pub fn response(id: u64, answer: Result<&[u8], Fault>) -> Result<Vec<u8>, String> {
    let (result, error) = match answer {
        Ok(bytes) => (Some(raw(bytes)?), None),
        Err(fault) => (None, Some(fault)),
    };
    let response = Response {
        jsonrpc: Version,
        id,
        result,
        error,
    };
    framed(&response, ANSWER_FRAME_MAX)
}

fn raw(bytes: &[u8]) -> Result<&RawValue, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("is not JSON: {error}"))
}

fn framed(message: &impl Serialize, max: usize) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; HEAD];
    serde_json::to_writer(&mut bytes, message).map_err(|error| error.to_string())?;
    let length = bytes.len() - HEAD;
    if length > max {
        return Err(format!("has {length} bytes; at most {max} are sent"));
    }
    let length = u32::try_from(length).map_err(|error| error.to_string())?;
    bytes[..HEAD].copy_from_slice(&length.to_be_bytes());
    Ok(bytes)
}

/// Reads a message; None where the other side has closed the stream between two.
pub fn read(from: &mut impl Read, max: usize) -> io::Result<Option<Vec<u8>>> {
    let mut head = [0; HEAD];
    if from.read(&mut head[..1])? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut head[1..])?;
    let length = u32::from_be_bytes(head) as usize;
    if length > max {
        return Err(io::Error::other(too_long(head, length, max)));
    }
    let mut bytes = Vec::with_capacity(length.min(EARLY));
    let read = from.take(length as u64).read_to_end(&mut bytes)?;
    match read == length {
        true => Ok(Some(bytes)),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Text gives a length beyond any limit, because its bytes are at least 10.
fn too_long(head: [u8; HEAD], length: usize, max: usize) -> String {
    let text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    if head.iter().all(text) {
        return format!(
            "it printed text that begins with '{}' to its standard output, which is for messages \
             alone: print to standard error",
            head.escape_ascii()
        );
    }
    format!("its message has {length} bytes; at most {max} are accepted")
}

#[cfg(test)]
mod tests {
    use super::{Fault, Request, Response, read, request, response};

    #[test]
    fn a_message_is_its_length_and_json() {
        let sent = request(7, "event_source.read", b"{\"input\":1}").unwrap();
        let (head, body) = sent.split_at(4);
        assert_eq!(head, (body.len() as u32).to_be_bytes());
        assert_eq!(
            body,
            br#"{"jsonrpc":"2.0","id":7,"method":"event_source.read","params":{"input":1}}"#
        );
        let message = read(&mut sent.as_slice(), 1_000).unwrap().unwrap();
        let back: Request<'_> = serde_json::from_slice(&message).unwrap();
        assert_eq!((back.id, back.method), (7, "event_source.read"));
        // JSON-RPC has no null for params.
        let sent = request(7, "delivery.capabilities", b"null").unwrap();
        assert!(!String::from_utf8_lossy(&sent).contains("params"));
        assert!(read(&mut [].as_slice(), 10).unwrap().is_none());
        assert!(request(7, "x", b"{").is_err());
    }

    #[test]
    fn an_answer_is_a_result_or_an_error() {
        let sent = response(7, Ok(b"[1, 2]")).unwrap();
        let back: Response<'_> = serde_json::from_slice(&sent[4..]).unwrap();
        assert_eq!(back.result.unwrap().get(), "[1, 2]");
        for (text, code) in [
            (r#"{"id":7,"error":{"code":-32601}}"#, 1),
            (
                r#"{"jsonrpc":"2.0","id":7,"error":{"code":255,"message":"boom","data":null}}"#,
                255,
            ),
            (r#"{"id":7,"error":{"code":-1}}"#, 2),
        ] {
            let back: Response<'_> = serde_json::from_str(text).unwrap();
            assert_eq!(back.error.unwrap().call_error().code, code, "{text}");
        }
        let refused = Fault::refused("PLUGIN-007", "x.so: too old".into());
        let sent = response(1, Err(refused)).unwrap();
        let back: Response<'_> = serde_json::from_slice(&sent[4..]).unwrap();
        assert_eq!(back.error.unwrap().data.unwrap().refusal, "PLUGIN-007");
    }

    #[test]
    fn what_is_no_message_is_named() {
        let why = |bytes: &[u8]| read(&mut &bytes[..], 1_000).unwrap_err().to_string();
        assert!(why(b"hello\n").contains("begins with 'hell'"));
        assert!(why(b"\n\n\n\n").contains("print to standard error"));
        assert!(why(&[0, 0, 4, 0, 1]).contains("1024 bytes; at most 1000"));
        assert!(read(&mut [0, 0, 0, 9, 1].as_slice(), 1_000).is_err());
        assert!(read(&mut [0, 0].as_slice(), 1_000).is_err());
    }
}
