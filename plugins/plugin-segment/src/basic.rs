//! The basic authentication of Segment's APIs: the key or token is the user, the password is empty
//! (RFC 7617 §2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The value of the `Authorization` header.
pub fn auth(user: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:")))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_key_is_the_user() {
        assert_eq!(super::auth("abc123"), "Basic YWJjMTIzOg==");
    }
}
