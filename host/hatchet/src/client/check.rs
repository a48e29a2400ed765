//! Whether the settings reach an engine that this crate can work with, and if not, which setting is at fault.

use std::fmt;

use super::Client;
use super::port::{Speech, listen};
use crate::error::CallError;
use crate::problem::Problem;
use crate::settings::names;
use crate::version::{EngineVersion, OLDEST};

/// A check that failed; reads as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckFailed {
    pub problem: Problem,
    /// Whether it may pass by itself, as when the engine is not up yet.
    pub may_pass: bool,
}

impl fmt::Display for CheckFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.fmt(f)
    }
}

impl std::error::Error for CheckFailed {}

impl Client {
    /// Asks the engine for its version. A version that the engine does not know itself is logged as a warning.
    ///
    /// # Errors
    /// Names the variable at fault and the fix: the engine is unreachable, TLS where it speaks plain text or the
    /// reverse, a token of another engine, or an engine that is too old.
    pub async fn check(&self) -> Result<EngineVersion, CheckFailed> {
        let error = match self.version().await {
            Ok(version) if version.is_too_old() => {
                return Err(failed(
                    names::HOST_PORT,
                    format!(
                        "leads to Hatchet {version}, which is too old: update it to v{OLDEST} or newer"
                    ),
                    false,
                ));
            }
            Ok(version) => {
                if let EngineVersion::Unknown(text) = &version {
                    tracing::warn!(
                        hatchet.version = text,
                        "Hatchet does not know its version; it must be v{OLDEST} or newer"
                    );
                }
                return Ok(version);
            }
            Err(error) => error,
        };
        let address = &self.settings.address;
        Err(match error {
            CallError::Token { .. } => failed(
                names::TOKEN,
                format!(
                    "is refused by Hatchet at {address}: it is expired, revoked or of another engine; create one there with 'hatchet-admin token create'"
                ),
                false,
            ),
            CallError::Away { why, .. } => self.explain(&why).await,
            CallError::Refused {
                code: tonic::Code::Unimplemented,
                ..
            } => failed(
                names::HOST_PORT,
                format!(
                    "leads to {address}, which is no Hatchet or one before v{OLDEST}: set it to the gRPC port of a newer one"
                ),
                false,
            ),
            other => failed(
                names::HOST_PORT,
                format!("leads to {address}: {other}"),
                other.is_transient(),
            ),
        })
    }

    /// Why the engine could not be reached. Looks at what the port speaks, since the errors of the transport do
    /// not tell.
    async fn explain(&self, why: &str) -> CheckFailed {
        let address = &self.settings.address;
        let tls = self.settings.tls.is_some();
        match listen(address).await {
            Speech::PlainHttp2 if tls => failed(
                names::TLS_STRATEGY,
                format!(
                    "asks for TLS, and {address} speaks plain text: set it to none, or enable TLS on the engine"
                ),
                false,
            ),
            Speech::Tls if !tls => failed(
                names::TLS_STRATEGY,
                format!("is none, and {address} speaks TLS: set it to tls"),
                false,
            ),
            Speech::Tls => {
                let identity = self
                    .settings
                    .tls
                    .as_ref()
                    .and_then(|it| it.identity.as_ref());
                unfit_tls(address, why, identity.is_some())
            }
            Speech::Unreachable(error) => failed(
                names::HOST_PORT,
                format!(
                    "leads to {address}, which cannot be reached ({error}): check the address, and that the engine runs"
                ),
                true,
            ),
            Speech::PlainHttp2 | Speech::Unknown => failed(
                names::HOST_PORT,
                format!(
                    "leads to {address}, which does not answer as Hatchet does ({why}): set it to the engine's gRPC port, by default 7077"
                ),
                true,
            ),
        }
    }
}

fn failed(variable: &'static str, text: String, may_pass: bool) -> CheckFailed {
    CheckFailed {
        problem: Problem::new(variable, text),
        may_pass,
    }
}

/// Why a connection over TLS failed. An engine that misses the client's certificate closes the connection, and says so
/// after the handshake only.
fn unfit_tls(address: &str, why: &str, identity: bool) -> CheckFailed {
    if !identity && !why.contains("certificate") {
        return failed(
            names::TLS_STRATEGY,
            format!(
                "is tls, and {address} closes the connection ({why}): if the engine wants certificates of clients, set it to mtls with {} and {}",
                names::TLS_CERT_FILE,
                names::TLS_KEY_FILE
            ),
            true,
        );
    }
    failed(
        names::TLS_ROOT_CA_FILE,
        format!(
            "and the system's certificates do not fit the TLS of {address} ({why}): set it to the engine's authority, {} to the name in its certificate, and for mtls {} and {}",
            names::TLS_SERVER_NAME,
            names::TLS_CERT_FILE,
            names::TLS_KEY_FILE
        ),
        false,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_tls_names_the_setting_to_change() {
        let address = "hatchet:7077";
        let unknown = "invalid peer certificate: UnknownIssuer: transport error";
        let closed = "operation was canceled: transport error: connection closed";
        let named = |why, identity| unfit_tls(address, why, identity).problem.variable;
        assert_eq!(named(unknown, false), names::TLS_ROOT_CA_FILE);
        assert_eq!(named(closed, false), names::TLS_STRATEGY);
        assert_eq!(named(closed, true), names::TLS_ROOT_CA_FILE);
        let text = unfit_tls(address, closed, false).to_string();
        assert!(text.contains("set it to mtls"), "{text}");
    }
}
