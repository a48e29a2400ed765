//! A connection that may send: open, encrypted as the settings ask, and logged in.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use hogsend_plugin_api::SendOutcome;
use lettre::transport::smtp::authentication::Mechanism;
use lettre::transport::smtp::client::SmtpConnection;
use lettre::transport::smtp::extension::ClientId;

use crate::ends;
use crate::envelope::Envelope;
use crate::settings::{Mode, Server};

/// Bound of each exchange with the server.
const BOUND: Duration = Duration::from_secs(8);
/// Addresses of the server that are tried.
const ADDRESSES_MAX: usize = 2;

pub fn connect(server: &Server, envelope: &Envelope) -> Result<SmtpConnection, SendOutcome> {
    let hello = ClientId::Domain(envelope.from.domain().to_owned());
    let from_start = server
        .tls
        .as_ref()
        .filter(|_| server.mode == Mode::Implicit);
    let found = (server.host.as_str(), server.port).to_socket_addrs();
    let mut addresses: Vec<SocketAddr> = match found {
        Ok(found) => found.collect(),
        Err(error) => return Err(ends::no_address(&error)),
    };
    // Each that does not answer takes its time.
    addresses.truncate(ADDRESSES_MAX);
    let mut connection =
        SmtpConnection::connect(&addresses[..], Some(BOUND), &hello, from_start, None)
            .map_err(|error| ends::of_connection(&error))?;
    if let (Mode::StartTls, Some(tls)) = (server.mode, &server.tls) {
        if !connection.can_starttls() {
            connection.abort();
            return Err(ends::no_starttls());
        }
        connection
            .starttls(tls, &hello)
            .map_err(|error| ends::of_connection(&error))?;
    }
    if let Some(credentials) = &server.credentials {
        let mechanisms = [Mechanism::Plain, Mechanism::Login];
        if let Err(error) = connection.auth(&mechanisms, credentials) {
            connection.abort();
            return Err(ends::of_login(&error, server));
        }
    }
    Ok(connection)
}
