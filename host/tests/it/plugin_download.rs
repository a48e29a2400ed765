//! `hogsend plugin add URL`, from a server with a certificate.

use std::fs;
use std::net::TcpListener;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::plugin_commands::Place;
use crate::plugins::library;
use crate::support::https::Https;

const NAME: &str = "libhogsend_plugin_slack.so";

fn answer(status: &str, header: &str, body: &[u8]) -> Vec<u8> {
    [
        format!("HTTP/1.1 {status}\r\n{header}\r\n\r\n").as_bytes(),
        body,
    ]
    .concat()
}

/// The server, and a port of plain http to which it redirects.
async fn server(library: Arc<Vec<u8>>, plain: u16) -> Https {
    Https::start(move |path| {
        let redirect = |to: &str| answer("302 Found", &format!("location: {to}"), b"");
        let sized =
            |size: usize, body: &[u8]| answer("200 OK", &format!("content-length: {size}"), body);
        let bytes = match path {
            "/moved" => redirect(&format!("/{NAME}")),
            "/plain" => redirect(&format!("http://127.0.0.1:{plain}/{NAME}?token=hush")),
            "/circle" => redirect("/circle"),
            "/missing" => answer("404 Not Found", "content-length: 0", b""),
            "/large" => sized(600 * 1024 * 1024, b""),
            "/cut" => sized(1_000, b"the beginning"),
            "/silent" => Vec::new(),
            "/stalled" => sized(1_000, b"the beginning"),
            _ => sized(library.len(), &library),
        };
        (bytes, matches!(path, "/silent" | "/stalled" | "/large"))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_library_is_downloaded_over_https_alone() {
    let bytes = fs::read(library("slack")).unwrap();
    let hash = hex::encode(Sha256::digest(&bytes));
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    plain.set_nonblocking(true).unwrap();
    let https = server(Arc::new(bytes), plain.local_addr().unwrap().port()).await;
    let (port, authority) = (https.port, https.authority());
    let commands = move || {
        let place = Place::new();
        let trusting = [("SSL_CERT_FILE", authority.to_str().unwrap())];
        let add = |path: &str, hash: &str, variables: &[(&str, &str)]| {
            let url = format!("https://ann:hush@localhost:{port}{path}?token=hush#hush");
            let arguments = ["plugin", "add", &url, "--sha256", hash, "--timeout"];
            // A server that says nothing gets a second, all others as long as they need.
            let silent = matches!(path, "/silent" | "/stalled");
            let timeout = if silent { "1" } else { "600" };
            let (added, said) = place.run_with(&[&arguments[..], &[timeout]].concat(), variables);
            assert!(!said.contains("hush"), "{said}");
            (added, said)
        };
        let of_library = format!("/{NAME}");
        let zeros = "0".repeat(64);
        for (path, hash, expected) in [
            (&*of_library, &*zeros, "nothing was added"),
            ("/missing", &hash, "404 Not Found"),
            ("/plain", &hash, "it redirects to a URL that is not https"),
            ("/circle", &hash, "more than 5 redirects"),
            ("/large", &hash, "is larger than 512 MiB"),
            ("/cut", &hash, "cannot be downloaded"),
            ("/silent", &hash, "timed out"),
            ("/stalled", &hash, "timed out"),
        ] {
            let (added, said) = add(path, hash, &trusting);
            assert!(
                !added && said.contains(expected),
                "{path}, {expected}: {said}"
            );
            let shown = format!("localhost:{port}{path}");
            assert!(said.contains(&shown), "{shown}: {said}");
            assert_eq!(fs::read_dir(place.plugins()).unwrap().count(), 0, "{said}");
        }
        let (added, said) = add(&of_library, &hash, &[]);
        assert!(!added && said.contains("certificate"), "{said}");
        let (added, said) = add("/moved", &hash, &trusting);
        assert!(added && said.contains("plugin slack"), "{said}");
        let lock = fs::read_to_string(place.plugins().join("plugins.lock")).unwrap();
        assert!(lock.contains(&hash), "{lock}");
    };
    tokio::task::spawn_blocking(commands).await.unwrap();
    let seen = https.seen();
    assert_eq!(
        seen.iter()
            .filter(|path| path.starts_with("/circle"))
            .count(),
        6,
        "{seen:?}"
    );
    let followed = plain.accept().map_err(|error| error.kind());
    assert_eq!(followed.unwrap_err(), std::io::ErrorKind::WouldBlock);
}
