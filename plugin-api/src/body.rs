//! Bytes inside JSON messages: `{"text": …}` where they are UTF-8, else `{"base64": …}`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Raw bytes, passed between host and plugin unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body(pub Vec<u8>);

impl Body {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text; invalid UTF-8 becomes U+FFFD.
    pub fn text_lossy(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wire<T> {
    Text(T),
    Base64(String),
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => Wire::Text(text).serialize(serializer),
            Err(_) => Wire::<&str>::Base64(STANDARD.encode(&self.0)).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Wire::<String>::deserialize(deserializer)? {
            Wire::Text(text) => Ok(text.into()),
            Wire::Base64(encoded) => STANDARD
                .decode(encoded)
                .map(Self)
                .map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Body;

    #[test]
    fn text_and_arbitrary_bytes_survive_the_wire() {
        for bytes in [b"plain {\"a\":1}".to_vec(), vec![0xff, 0x00, 0xfe], vec![]] {
            let wire = serde_json::to_string(&Body(bytes.clone())).unwrap();
            assert_eq!(serde_json::from_str::<Body>(&wire).unwrap().0, bytes);
        }
    }
}
