//! Which setting is at fault. These use real ports, and no clock.

use std::sync::Arc;
use std::time::SystemTime;

use hogsend_hatchet::stand_in::{StandIn, Timing};
use hogsend_hatchet::{CheckFailed, Client, Settings, names};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{engine, wall};

/// The settings of the engine, with others instead.
fn settings(engine: &StandIn, changes: &[(&str, &str)]) -> Settings {
    let own = engine.variables();
    let lookup = |name: &str| {
        let changed = changes.iter().find(|(it, _)| *it == name);
        let changed = changed.map(|(_, value)| (*value).to_owned());
        changed.or_else(|| {
            own.iter()
                .find(|(it, _)| *it == name)
                .map(|(_, value)| value.clone())
        })
    };
    Settings::load(&lookup, wall()).unwrap().unwrap()
}

async fn check(settings: &Settings) -> CheckFailed {
    let now: hogsend_hatchet::Now = Arc::new(wall);
    let client = Client::new(settings, now).unwrap();
    let failed = client.check().await.unwrap_err();
    let text = failed.to_string();
    assert!(!text.contains('\n'), "{text}");
    let token = settings.token.clone();
    assert!(
        !format!("{text} {token:?} {settings:?}").contains("eyJ"),
        "{text}"
    );
    failed
}

async fn loopback() -> StandIn {
    StandIn::start(
        SystemTime::UNIX_EPOCH + super::seconds(1_767_225_600),
        Timing::default(),
    )
    .await
}

#[tokio::test]
async fn a_right_setting_finds_the_engine() {
    let engine = loopback().await;
    let version = engine.client().check().await.unwrap();
    assert_eq!(version.to_string(), "v0.105.1");
}

#[tokio::test]
async fn tls_to_a_plaintext_port() {
    let engine = loopback().await;
    let failed = check(&settings(&engine, &[(names::TLS_STRATEGY, "tls")])).await;
    assert_eq!(failed.problem.variable, names::TLS_STRATEGY);
    assert!(failed.to_string().contains("set it to none"), "{failed}");
    assert!(!failed.may_pass);
}

#[tokio::test]
async fn plaintext_to_a_tls_port() {
    // Answers as a TLS server that cannot read what it got: an alert.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut first = [0; 1];
                let _ = stream.read_exact(&mut first).await;
                let alert = [0x15, 3, 3, 0, 2, 2, if first[0] == 0x16 { 40 } else { 10 }];
                let _ = stream.write_all(&alert).await;
            });
        }
    });
    let engine = engine();
    let failed = check(&settings(&engine, &[(names::HOST_PORT, &address)])).await;
    assert_eq!(failed.problem.variable, names::TLS_STRATEGY);
    assert!(failed.to_string().contains("set it to tls"), "{failed}");
}

#[tokio::test]
async fn an_unreachable_engine() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let engine = engine();
    let failed = check(&settings(&engine, &[(names::HOST_PORT, &address)])).await;
    assert_eq!(failed.problem.variable, names::HOST_PORT);
    assert!(failed.to_string().contains("cannot be reached"), "{failed}");
    assert!(failed.may_pass);
}

#[tokio::test]
async fn a_port_that_is_no_engine() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let engine = engine();
    let failed = check(&settings(&engine, &[(names::HOST_PORT, &address)])).await;
    assert_eq!(failed.problem.variable, names::HOST_PORT);
    assert!(failed.to_string().contains("7077"), "{failed}");
}

#[tokio::test]
async fn a_token_of_another_engine() {
    let engine = loopback().await;
    let own = settings(&engine, &[]);
    engine.revoke_token();
    let failed = check(&own).await;
    assert_eq!(failed.problem.variable, names::TOKEN);
    assert!(
        failed.to_string().contains("hatchet-admin token create"),
        "{failed}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_too_old() {
    let engine = engine();
    engine.set_version("v0.79.3");
    let failed = engine.client().check().await.unwrap_err();
    assert!(
        failed
            .to_string()
            .contains("v0.79.3, which is too old: update it to v0.80.0"),
        "{failed}"
    );
    // Built without a version, it may be any.
    engine.set_version("v0.1.0-alpha.0");
    engine.client().check().await.unwrap();
}

#[tokio::test]
async fn another_process_can_restart_over_loopback() {
    let engine = loopback().await;
    let client = engine.client();
    client.version().await.unwrap();
    engine.kill();
    assert!(client.version().await.unwrap_err().is_away());
    engine.restart().await;
    let mut tries = 0;
    while client.version().await.is_err() {
        tries += 1;
        assert!(tries < 1000, "it does not come back");
        tokio::task::yield_now().await;
    }
}
