//! The settings of the server.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hogsend_plugin_api::Settings;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, crypto};

use crate::{CA_FILE, HOST, PASSWORD, PORT, TLS, USERNAME};

/// How the connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Encrypted after the command STARTTLS (RFC 3207); nothing is sent without it.
    StartTls,
    /// Encrypted from the start (RFC 8314 §3.3).
    Implicit,
    None,
}

pub struct Server {
    pub host: String,
    pub port: u16,
    pub mode: Mode,
    pub tls: Option<Arc<ClientConfig>>,
    /// Account and password.
    pub credentials: Option<(String, String)>,
    /// Texts to remove if the server repeats them: the password, plain and encoded.
    pub hidden: Vec<String>,
}

impl Server {
    /// Parses the settings. The error names the setting and its fix, never a password.
    pub fn read(settings: &Settings) -> Result<Self, String> {
        let host = settings.get(HOST).unwrap_or_default().to_owned();
        let mode = match settings.get(TLS).unwrap_or("starttls") {
            "starttls" => Mode::StartTls,
            "implicit" => Mode::Implicit,
            "none" => Mode::None,
            other => {
                return Err(format!(
                    "{TLS} is '{other}': use starttls, implicit or none"
                ));
            }
        };
        let port = match (settings.get(PORT), mode) {
            (Some(text), _) => text
                .parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| format!("{PORT} is '{text}': use a number from 1 to 65535"))?,
            (None, Mode::StartTls) => 587,
            (None, Mode::Implicit) => 465,
            (None, Mode::None) => 25,
        };
        let credentials = match (settings.get(USERNAME), settings.get(PASSWORD)) {
            (Some(user), Some(password)) => Some((user.to_owned(), password.to_owned())),
            (None, None) => None,
            _ => {
                return Err(format!(
                    "{USERNAME} and {PASSWORD} belong together: set both or neither"
                ));
            }
        };
        let local = ["localhost", "127.0.0.1", "::1"].contains(&host.as_str());
        if mode == Mode::None && credentials.is_some() && !local {
            return Err(format!(
                "{TLS}=none would send the password unencrypted to another machine: use starttls or implicit"
            ));
        }
        let hidden = match (settings.get(USERNAME), settings.get(PASSWORD)) {
            (Some(user), Some(password)) => vec![
                password.to_owned(),
                STANDARD.encode(password),
                STANDARD.encode(format!("\0{user}\0{password}")),
            ],
            _ => Vec::new(),
        };
        Ok(Self {
            hidden,
            tls: (mode != Mode::None)
                .then(|| tls(&host, settings.get(CA_FILE)))
                .transpose()?,
            host,
            port,
            mode,
            credentials,
        })
    }
}

fn tls(host: &str, ca_file: Option<&str>) -> Result<Arc<ClientConfig>, String> {
    let unspeakable =
        |error: &dyn std::fmt::Display| format!("{HOST} '{host}' cannot be used with TLS: {error}");
    ServerName::try_from(host.to_owned()).map_err(|error| unspeakable(&error))?;
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    if let Some(file) = ca_file {
        let pem = std::fs::read(file)
            .map_err(|error| format!("{CA_FILE} '{file}' cannot be read: {error}"))?;
        let none = || format!("{CA_FILE} '{file}' contains no certificate in PEM format");
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let found = found.map_err(|_| none())?;
        if found.is_empty() {
            return Err(none());
        }
        for certificate in found {
            roots.add(certificate).map_err(|_| none())?;
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unspeakable(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use hogsend_plugin_api::Settings;

    use super::{Mode, Server};

    fn server(pairs: &[(&str, &str)]) -> Result<Server, String> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Server::read(&pairs.iter().map(own).collect::<Settings>())
    }

    #[test]
    fn the_port_follows_from_the_encryption() {
        for (mode, port) in [("starttls", 587), ("implicit", 465), ("none", 25)] {
            let server = server(&[("SMTP_HOST", "mx.acme.test"), ("SMTP_TLS", mode)]).unwrap();
            assert_eq!(server.port, port);
        }
        let usual = server(&[("SMTP_HOST", "mx.acme.test"), ("SMTP_PORT", "2525")]).unwrap();
        assert_eq!((usual.mode, usual.port), (Mode::StartTls, 2525));
    }

    #[test]
    fn wrong_settings_are_named_with_their_fix_and_without_the_password() {
        let host = ("SMTP_HOST", "mx.acme.test");
        let (user, password) = (("SMTP_USERNAME", "ann"), ("SMTP_PASSWORD", "hush"));
        for (pairs, fix) in [
            (
                vec![host, ("SMTP_TLS", "ssl")],
                "use starttls, implicit or none",
            ),
            (vec![host, ("SMTP_PORT", "70000")], "from 1 to 65535"),
            (vec![host, ("SMTP_PORT", "0")], "from 1 to 65535"),
            (vec![host, password], "set both or neither"),
            (vec![host, user], "set both or neither"),
            (
                vec![host, user, password, ("SMTP_TLS", "none")],
                "use starttls or implicit",
            ),
            (
                vec![host, ("SMTP_CA_FILE", "/no/such/file")],
                "cannot be read",
            ),
            (vec![host, ("SMTP_CA_FILE", "/dev/null")], "no certificate"),
        ] {
            let problem = server(&pairs).err().unwrap_or_default();
            assert!(
                problem.contains(fix) && !problem.contains("hush"),
                "{problem}"
            );
        }
        let local = [
            ("SMTP_HOST", "localhost"),
            user,
            password,
            ("SMTP_TLS", "none"),
        ];
        assert!(server(&local).is_ok());
    }
}
