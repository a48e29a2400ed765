//! What a port speaks, found by a few bytes: plain HTTP/2 or TLS.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Speech {
    PlainHttp2,
    Tls,
    /// Nothing listens there, and why.
    Unreachable(String),
    Unknown,
}

const PATIENCE: Duration = Duration::from_secs(3);

/// The beginning of an HTTP/2 connection: the preface and empty settings (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Connects and looks at the first bytes of the answers to both.
pub(super) async fn listen(address: &str) -> Speech {
    match answer(address, PREFACE).await {
        Err(error) => return Speech::Unreachable(error),
        // The server's first frame is SETTINGS: its type is the fourth byte.
        Ok(answer) if answer.get(3) == Some(&4) => return Speech::PlainHttp2,
        Ok(_) => {}
    }
    let Some(hello) = client_hello() else {
        return Speech::Unknown;
    };
    match answer(address, &hello).await {
        // A handshake or an alert.
        Ok(answer) if matches!(answer.first(), Some(0x16 | 0x15)) => Speech::Tls,
        _ => Speech::Unknown,
    }
}

/// The first bytes that the port answers; none where it closes or stays silent.
async fn answer(address: &str, greeting: &[u8]) -> Result<Vec<u8>, String> {
    let connected = timeout(PATIENCE, TcpStream::connect(address)).await;
    let mut stream = connected
        .map_err(|_| format!("no answer within {PATIENCE:?}"))?
        .map_err(|error| error.to_string())?;
    let mut bytes = vec![0; 9];
    let exchange = async {
        stream.write_all(greeting).await?;
        stream.read_exact(&mut bytes).await
    };
    match timeout(PATIENCE, exchange).await {
        Ok(Ok(_)) => Ok(bytes),
        // An alert has seven bytes.
        _ if bytes[0] != 0 => Ok(bytes),
        _ => Ok(Vec::new()),
    }
}

/// The first message of a TLS connection. The name in it does not matter: any answer is one of TLS.
fn client_hello() -> Option<Vec<u8>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").ok()?;
    let mut connection = rustls::ClientConnection::new(Arc::new(config), name).ok()?;
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).ok()?;
    Some(bytes)
}
