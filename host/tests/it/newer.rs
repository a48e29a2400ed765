//! A plugin of a later plugin API in this host: what the host knows of it works, and the rest is named. In the
//! host's process and in a child, built from `fixtures/newer` and as saved by earlier releases.

use std::fs;
use std::path::Path;
use std::process::Command;

use axum::http::StatusCode;
use hogsend::plugins::{Discovered, ErrorKind, Isolation};
use hogsend_plugin_api::abi::API_VERSION;
use hogsend_plugin_api::{
    Attempt, BatchAttempt, BatchOutcome, BounceType, Captured, CheckResult, DeliveryEventKind,
    DeliveryReading, Idempotency, Kind, Mail, Past, PastIn, Prepared, SendOutcome, Webhook,
};
use serde_json::json;

use crate::plugins::library;
use crate::saved::saved;
use crate::support::process::binary;
use crate::support::{Server, Store};

/// The version that the library is made to carry, as long as the present one.
const LATER: &str = "1.99.0-rc1";

/// Where the library runs.
const PLACES: [&str; 2] = ["none", "process"];

/// A folder with this library, which runs in this place.
fn folder_of(bytes: &[u8], place: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("newer.so"), bytes).unwrap();
    let plan = format!("isolation = \"{place}\"");
    fs::write(folder.path().join("plugins.toml"), plan).unwrap();
    folder
}

/// A folder for each library and place, with what it is.
fn folders() -> Vec<(String, tempfile::TempDir)> {
    let mut all = vec![("built".to_owned(), built(LATER))];
    all.extend(saved("newer"));
    let in_places = |(name, bytes): (String, Vec<u8>)| {
        PLACES.map(|place| {
            (
                format!("{name}, isolation {place}"),
                folder_of(&bytes, place),
            )
        })
    };
    all.into_iter().flat_map(in_places).collect()
}

/// The library, whose header says that it was built with this version.
fn built(version: &str) -> Vec<u8> {
    let mut bytes = fs::read(library("newer")).unwrap();
    let old = API_VERSION.as_bytes();
    assert_eq!(old.len(), version.len());
    let places: Vec<usize> = (0..bytes.len() - old.len())
        .filter(|at| bytes[*at..].starts_with(old))
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + old.len()].copy_from_slice(version.as_bytes());
    }
    bytes
}

async fn server(folder: &Path) -> Server {
    let variables = [
        ("PLUGIN_DIR", folder.to_str().unwrap()),
        ("EMAIL_PROVIDER", "newer"),
    ];
    Server::with(Store::native().await, &variables).await
}

#[test]
fn it_is_loaded_and_what_the_host_lacks_is_listed() {
    for (what, folder) in folders() {
        println!("{what}");
        is_listed(folder.path());
    }
}

fn is_listed(folder: &Path) {
    let cache = tempfile::tempdir().unwrap();
    let isolation = Isolation {
        program: binary(),
        unless_locked: false,
    };
    let (found, problems) = Discovered::find_with(Some(folder), cache.path(), &isolation);
    assert!(problems.is_empty(), "{problems:?}");
    let info = found.info();
    let newer = info.iter().find(|plugin| plugin.id == "newer").unwrap();
    assert_eq!(newer.api, "1.99.0");
    assert_eq!(
        newer.kinds,
        [
            Kind::EventSource,
            Kind::Delivery,
            Kind::Analytics,
            Kind::Journeys
        ]
    );
    let expected = ["the feature 'telepathy'", "the kind 'telepathy'"];
    assert_eq!(newer.lacks, expected);

    let data = tempfile::tempdir().unwrap();
    let output = Command::new(binary())
        .args(["plugins", "list"])
        .env_clear()
        .env("PLUGIN_DIR", folder)
        .env("HOGSEND_DATA_DIR", data.path())
        .current_dir(std::env::temp_dir())
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{out}");
    for lacks in expected {
        let line = format!("this host lacks {lacks}: update Hogsend");
        assert!(out.contains(&line), "{line}: {out}");
    }
}

#[test]
fn one_of_another_major_version_is_refused_with_what_to_do() {
    for version in ["0.9.0-rc.1", "2.0.0-rc.1"] {
        let folder = folder_of(&built(version), "none");
        let cache = tempfile::tempdir().unwrap();
        let (_, problems) = Discovered::find(Some(folder.path()), cache.path());
        let [problem] = problems.as_slice() else {
            panic!("{version}: {problems:?}");
        };
        let problem = problem.to_string();
        let fix = format!("build the plugin again with hogsend-plugin-api {API_VERSION}");
        for part in ["PLUGIN-007", "newer.so", fix.as_str()] {
            assert!(problem.contains(part), "{part}: {problem}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_it_works_as_far_as_the_host_knows_it() {
    for (what, folder) in folders() {
        println!("{what}");
        Box::pin(works(folder.path())).await;
    }
}

async fn works(folder: &Path) {
    let server = server(folder).await;
    let plugins = &server.app.plugins();
    let now = server.now();

    let delivery = plugins.delivery("newer").unwrap();
    let capabilities = delivery.capabilities();
    assert_eq!(capabilities.idempotency, Idempotency::None);
    assert_eq!((capabilities.batch_max, capabilities.rate), (10, None));
    let mail = Mail::new(uuid::Uuid::nil(), "a@acme.test", "b@acme.test", now);
    let prepared = delivery.prepare(&mail).await.unwrap().unwrap();
    assert_eq!(prepared.body.as_slice(), b"x");
    let attempt = |key: &str| Attempt::new(key, Prepared::new("text/plain", "x"), now, 1);
    let sent = delivery.send(attempt("now")).await.unwrap();
    let message_id = "m1".to_owned();
    assert_eq!(sent.outcome, SendOutcome::accepted(message_id));
    let sent = delivery.send(attempt("later")).await.unwrap();
    let SendOutcome::Unknown { reason, .. } = &sent.outcome else {
        panic!("{sent:?}");
    };
    assert!(reason.contains("'deferred'"), "{reason}");
    assert_eq!(sent.rate.unwrap().requests, 5);
    let mails = vec![prepared.clone(), prepared];
    let batch = BatchAttempt::new("batch", mails, 1);
    let sent = delivery.send_batch(batch).await.unwrap();
    assert!(
        matches!(&sent.outcome, BatchOutcome::Each(each) if each.len() == 2
            && matches!(each[1], SendOutcome::Unknown { .. })),
        "{sent:?}"
    );
    let webhook = Webhook::new(Vec::new(), "{}", now);
    let read = delivery.read_webhook(&webhook).await.unwrap().unwrap();
    let DeliveryReading::Events(events) = read else {
        panic!("{read:?}");
    };
    let read: Vec<_> = events
        .iter()
        .map(|event| (event.kind, event.bounce))
        .collect();
    assert_eq!(
        read,
        [
            (DeliveryEventKind::Bounced, Some(BounceType::Undetermined)),
            (DeliveryEventKind::Delivered, None),
        ]
    );

    let analytics = plugins.analytics();
    let analytics = analytics.iter().find(|one| one.id() == "newer").unwrap();
    let person = analytics.person("u1").await.unwrap().unwrap();
    assert_eq!(person["plan"], "pro");
    let captured = analytics.capture(&[]).await.unwrap();
    assert!(matches!(captured, Captured::Retry { .. }), "{captured:?}");
    let past = PastIn::new(now, None);
    let read = analytics.history(&past).await.unwrap().unwrap();
    assert!(matches!(read, Past::Unavailable { .. }), "{read:?}");

    let source = plugins.event_source("newer").unwrap();
    let error = source.history(&past).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Protocol);
    assert!(error.message.contains("the stars are wrong"), "{error}");

    let running = plugins.running();
    let newer = running.iter().find(|one| one.manifest().id == "newer");
    let newer = newer.unwrap();
    let checked = newer.check().await.unwrap();
    assert!(matches!(checked[0].result, CheckResult::Sound { .. }));
    assert_eq!(checked[1].result, CheckResult::Unknown);
    // It has no such method.
    assert!(newer.setup().await.unwrap().is_empty());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_webhooks_and_journeys_do_what_the_host_can_do() {
    for (what, folder) in folders() {
        println!("{what}");
        Box::pin(does_what_the_host_can_do(folder.path())).await;
    }
}

async fn does_what_the_host_can_do(folder: &Path) {
    let server = server(folder).await;
    let journeys = server.app.plugins().journeys();
    let newer = journeys.iter().find(|one| one.id() == "newer").unwrap();
    let catalogue = newer.catalogue();
    let ids: Vec<_> = catalogue.journeys.iter().map(|one| &one.id).collect();
    assert_eq!(ids, ["newer-good"]);
    assert_eq!(catalogue.templates.len(), 1);

    // What cannot be read is sent again until the host is updated; what can be read is stored.
    let path = "/v1/webhooks/newer";
    let moved = server.post(path, &json!({ "it": "moved" })).await;
    assert_eq!(moved.status, StatusCode::INTERNAL_SERVER_ERROR);
    let slow = server.post(path, &json!({ "it": "slow down" })).await;
    assert_eq!(slow.status, StatusCode::BAD_REQUEST);
    assert!(slow.text().contains("slow_down"), "{}", slow.text());
    let good = server.post(path, &json!({})).await;
    assert_eq!(good.status, StatusCode::OK, "{}", good.text());
    let names =
        "SELECT string_agg(name, ', ' ORDER BY name) FROM user_events WHERE source = 'newer'";
    assert_eq!(server.text(names).await, "newer.good, newer.seen");

    // The run takes a step that the host does not know, then has a status that it does not know.
    server.drain().await;
    let run = "SELECT status || ' ' || coalesce(stuck_reason, '') FROM journey_states";
    assert_eq!(server.text(run).await, "stuck unreadable");
    let step = "SELECT result->'Err'->>'code' FROM journey_steps WHERE kind = 'telepathy'";
    assert_eq!(server.text(step).await, "not_supported");
    server.stop().await;
}
