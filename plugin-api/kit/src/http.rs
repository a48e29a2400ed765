//! HTTP in a script.

use hogsend_plugin_api::{Body, Command, HttpRequest, HttpResponse, StepError};
use serde::Deserialize;
use serde_json::{Value, json};

/// The HTTP request a command asks for.
///
/// # Panics
///
/// Where it asks for something else.
pub fn request(command: &Command) -> HttpRequest {
    HttpRequest::deserialize(&command.args)
        .unwrap_or_else(|error| panic!("'{}' is no HTTP request: {error}", command.kind))
}

/// The answer to an HTTP request. Names of headers are in lower case.
pub fn response(
    status: u16,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Result<Value, StepError> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Ok(json!(HttpResponse {
        status,
        headers: headers.iter().map(own).collect(),
        body: body.into(),
    }))
}
