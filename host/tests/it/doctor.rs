//! `hogsend doctor` finds what is wrong, says what to do, and shows no secret.

use hogsend::db;
use serde_json::Value;

use crate::support::Store;
use crate::support::process::run;

/// The exit code and the report.
fn doctor(variables: &[(&str, &str)]) -> (Option<i32>, Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let (code, told) = run(folder.path(), &["doctor", "--json"], variables);
    let report = told.find('{').map(|at| told[at..].to_owned());
    let report = report.unwrap_or_else(|| panic!("no report: {told}"));
    // Log lines may follow on standard error.
    let mut values = serde_json::Deserializer::from_str(&report).into_iter::<Value>();
    (code, values.next().unwrap().unwrap(), told)
}

/// The findings about something.
fn about<'a>(report: &'a Value, what: &str) -> Vec<&'a Value> {
    let all = report["findings"].as_array().unwrap().iter();
    all.filter(|one| one["about"] == what).collect()
}

fn outcome<'a>(report: &'a Value, what: &str) -> &'a str {
    about(report, what)
        .first()
        .unwrap_or_else(|| panic!("nothing about {what} in {report:#}"))["outcome"]
        .as_str()
        .unwrap()
}

#[test]
fn nothing_fails_in_development_and_what_production_needs_is_skipped() {
    let (code, report, told) = doctor(&[]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(
        (&report["failed"], &report["production"]),
        (&0.into(), &false.into())
    );
    for skipped in [
        "production",
        "database",
        "redis",
        "public URL",
        "sender's domain",
    ] {
        assert_eq!(outcome(&report, skipped), "skipped", "{skipped}");
    }
    assert!(
        about(&report, "production")[0]["detail"]
            .as_str()
            .unwrap()
            .contains("BETTER_AUTH_SECRET")
    );
    assert_eq!(outcome(&report, "settings"), "ok");
    let folder = tempfile::tempdir().unwrap();
    let (code, told) = run(folder.path(), &["doctor"], &[]);
    assert_eq!(code, Some(0));
    assert!(
        told.contains("skipped") && !told.contains("FAILED"),
        "{told}"
    );
}

#[test]
fn wrong_and_misspelt_settings_are_found_together_and_no_secret_is_shown() {
    let (code, report, told) = doctor(&[
        ("NODE_ENV", "production"),
        ("DATABASE_URL", "postgres://user:hunter2@127.0.0.1:1/shop"),
        ("BETTER_AUTH_SECRET", "hunter2"),
        ("API_PUBLIC_URL", "https://api.hogsend.invalid"),
        ("EMAIL_FROM", "Acme <hello@hogsend.invalid>"),
        ("RESEND_API_KEY", "re_hunter2"),
        ("REDIS_URL", "redis://:hunter2@127.0.0.1:1"),
        ("RESEND_APIKEY", "hunter2"),
    ]);
    assert_eq!(code, Some(1), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
    let failed = |what: &str, word: &str| {
        let found = about(&report, what);
        let named = found.iter().any(|one| {
            one["outcome"] == "failed" && one["fix"].is_string() && one.to_string().contains(word)
        });
        assert!(named, "{what}: {word} in {report:#}");
    };
    failed("settings", "BETTER_AUTH_SECRET");
    failed("database", "nothing listens at 127.0.0.1:1");
    failed("redis", "REDIS_URL=off");
    failed("public URL", "https://api.hogsend.invalid");
    let misspelt = about(&report, "settings");
    let misspelt = misspelt
        .iter()
        .find(|one| one.to_string().contains("RESEND_APIKEY"));
    assert!(misspelt.unwrap()["outcome"] == "warning", "{report:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_is_examined_with_what_waits_in_it() {
    let store = Store::empty().await;
    let url = store.url().to_owned();
    let examined = async || {
        let url = url.clone();
        let done = tokio::task::spawn_blocking(move || doctor(&[("DATABASE_URL", &url)]));
        done.await.unwrap()
    };
    let (code, report, told) = examined().await;
    assert_eq!(
        (code, outcome(&report, "schema")),
        (Some(1), "failed"),
        "{told}"
    );
    assert_eq!(about(&report, "schema")[0]["fix"], "run `hogsend migrate`");

    db::migrate(store.db()).await.unwrap();
    let (code, report, told) = examined().await;
    assert_eq!(code, Some(0), "{told}");
    for sound in [
        "database",
        "schema",
        "clock",
        "connections",
        "queue of mails",
    ] {
        assert_eq!(outcome(&report, sound), "ok", "{sound}: {told}");
    }
    assert_eq!(outcome(&report, "worker"), "skipped");

    let mut conn = store.db().conn().await.unwrap();
    sqlx::query(
        "INSERT INTO pauses (id, scope, name, since, reason, paused_by)
         VALUES (gen_random_uuid(), 'journey', 'welcome', now(), 'a wrong price', 'ann')",
    )
    .execute(&mut *conn)
    .await
    .unwrap();
    drop(conn);
    let (code, report, _) = examined().await;
    assert_eq!((code, outcome(&report, "pauses")), (Some(0), "warning"));
    let fix = about(&report, "pauses")[0]["fix"].as_str().unwrap();
    assert!(fix.contains("hogsend resume --journey welcome"), "{fix}");
    store.remove().await;
}
