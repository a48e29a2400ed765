//! HTTP requests and responses of scripted calls.

use hogsend_plugin_api::{Body, Command, HttpRequest, HttpResponse, StepError};
use serde::Deserialize;
use serde_json::{Value, json};

/// The HTTP request in a command.
///
/// # Panics
///
/// The command is not an HTTP request.
pub fn request(command: &Command) -> HttpRequest {
    HttpRequest::deserialize(&command.args)
        .unwrap_or_else(|error| panic!("'{}' is not an HTTP request: {error}", command.kind))
}

/// The response to an HTTP request, as a step's result. Header names must be in lower case.
pub fn response(
    status: u16,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Result<Value, StepError> {
    Ok(json!(HttpResponse::new(status, headers, body)))
}
