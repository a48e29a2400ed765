//! Libraries as earlier releases built them (`fixtures/saved`): they are loaded by this host, and every kind of
//! them works.

use std::fs;
use std::path::Path;
use std::time::Duration;

use hogsend_plugin_api::CheckResult;
use serde_json::json;

use crate::support::{Server, Store};

/// The saved libraries of this fixture, with their file names. Empty where they cannot be loaded.
pub fn saved(fixture: &str) -> Vec<(String, Vec<u8>)> {
    if !cfg!(all(
        target_arch = "x86_64",
        target_os = "linux",
        target_env = "gnu"
    )) {
        eprintln!(
            "\n*** SKIPPED: the saved libraries are for x86_64 Linux with glibc, so earlier releases of '{fixture}' are NOT tested ***\n"
        );
        return Vec::new();
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/saved");
    let start = format!("{fixture}-");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut all: Vec<(String, Vec<u8>)> = files
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.to_owned();
            let ours = name.starts_with(&start) && name.ends_with(".so.zst");
            let packed = ours.then(|| fs::read(&path).unwrap())?;
            Some((name, zstd::decode_all(packed.as_slice()).unwrap()))
        })
        .collect();
    all.sort();
    assert!(
        !all.is_empty(),
        "no library of '{fixture}' is saved: run `cargo xtask save-library`"
    );
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_of_each_earlier_release_works_in_every_kind() {
    for (name, bytes) in saved("faults") {
        for place in ["none", "process"] {
            println!("{name}, isolation {place}");
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("faults.so"), &bytes).unwrap();
            let plan = format!("isolation = \"{place}\"");
            fs::write(folder.path().join("plugins.toml"), plan).unwrap();
            Box::pin(every_kind_works(folder.path(), place == "process")).await;
        }
    }
}

async fn every_kind_works(folder: &Path, isolated: bool) {
    let variables = [
        ("PLUGIN_DIR", folder.to_str().unwrap()),
        ("EMAIL_PROVIDER", "faults"),
    ];
    let server = Server::with(Store::native().await, &variables).await;
    let plugins = server.app.plugins();
    let mut info = plugins.info().iter();
    let info = info.find(|plugin| plugin.id == "faults").unwrap();
    assert_eq!((info.isolated, info.lacks.as_slice()), (isolated, &[][..]));

    let answer = server.post_raw("/v1/webhooks/faults", b"none".into()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let stored = "SELECT name FROM user_events WHERE source = 'faults'";
    assert_eq!(server.text(stored).await, "faults.none");

    for event in ["faults.mail", "faults.run"] {
        let body = json!({
            "event": event, "userId": "ann", "userEmail": "ann@example.com",
            "properties": { "fault": "none" },
        });
        assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
    }
    server.drain().await;
    let mails = "SELECT string_agg(status || ' ' || message_id, ', ') FROM email_sends";
    assert_eq!(server.text(mails).await, "sent taken");
    server.advance(Duration::from_secs(3_600)).await;
    let runs = "SELECT string_agg(journey_id || ' ' || status, ', ' ORDER BY journey_id) FROM journey_states";
    assert_eq!(
        server.text(runs).await,
        "faults completed, faults-mail completed"
    );

    let analytics = plugins.analytics();
    let analytics = analytics.iter().find(|one| one.id() == "faults").unwrap();
    assert_eq!(
        analytics.person("odd").await.unwrap().unwrap()["plan"],
        "pro"
    );
    let running = plugins.running();
    let plugin = running
        .iter()
        .find(|one| one.manifest().id == "faults")
        .unwrap();
    let checked = plugin.check().await.unwrap();
    assert!(matches!(checked[0].result, CheckResult::Sound { .. }));
    assert_eq!(plugin.setup().await.unwrap()[0].value, "a value");
    server.stop().await;
}
