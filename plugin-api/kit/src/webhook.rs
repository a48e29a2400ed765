//! Webhooks as their vendors send them, for the conformance tests.

use hogsend_plugin_api::{HttpRequest, HttpResponse};

/// Names and values.
pub type Headers = Vec<(String, String)>;

/// A signed webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The headers that authenticate the webhook, and no others. Names in lower case.
    pub headers: Headers,
    /// The body; it differs from the unsigned one where the vendor signs inside it.
    pub body: Vec<u8>,
}

impl Signed {
    /// A webhook that these headers authenticate.
    pub fn new(headers: Headers, body: impl Into<Vec<u8>>) -> Self {
        Self {
            headers,
            body: body.into(),
        }
    }
}

/// The host of a plugin that asks for nothing while it reads a webhook.
///
/// # Panics
///
/// Always: the plugin asked for something.
pub fn no_host(request: &HttpRequest) -> HttpResponse {
    panic!(
        "reading a webhook sends a request to {}: answer it with the test's `host`",
        request.url
    );
}

/// A secret of the same form: one letter or digit in its middle is another.
pub(crate) fn other_than(secret: &str) -> String {
    let middle = secret.len() / 2;
    let mut changed = false;
    let change = |(at, c): (usize, char)| {
        if changed || at < middle || !c.is_ascii_alphanumeric() {
            return c;
        }
        changed = true;
        match c {
            'z' | 'Z' | '9' => (c as u8 - 1) as char,
            _ => (c as u8 + 1) as char,
        }
    };
    secret.char_indices().map(change).collect()
}
