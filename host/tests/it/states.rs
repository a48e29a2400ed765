//! The states in the database are those of the enums.

use std::collections::{BTreeMap, BTreeSet};

use hogsend::states::{DeliveryState, ImportState, PauseCause, PauseScope, RunState, SendStatus};

use crate::support::{Server, Store};

/// The words of an enum, or of a list.
fn words(all: impl IntoIterator<Item = &'static str>) -> BTreeSet<String> {
    all.into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn every_column_of_states_allows_the_words_of_its_enum() {
    let server = Server::with(Store::native().await, &[]).await;
    let mut conn = server.app.db.conn().await.unwrap();
    // Those of one column each.
    let checks: Vec<(String, String)> = sqlx::query_as(
        "SELECT c.conrelid::regclass::text || '.' || a.attname::text, pg_get_constraintdef(c.oid)
         FROM pg_constraint c
         JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
         WHERE c.contype = 'c' AND cardinality(c.conkey) = 1
           AND (a.attname IN ('status', 'state') OR c.conrelid = 'pauses'::regclass)
           AND c.connamespace = current_schema()::regnamespace",
    )
    .fetch_all(&mut *conn)
    .await
    .unwrap();
    drop(conn);
    let stored: BTreeMap<String, BTreeSet<String>> = checks
        .into_iter()
        .map(|(column, rule)| {
            let words = rule.split('\'').skip(1).step_by(2).map(str::to_owned);
            (column, words.collect())
        })
        .collect();

    let delivery = || words(DeliveryState::ALL.iter().map(|one| one.name()));
    let expected = [
        (
            "journey_states.status",
            words(RunState::ALL.iter().map(|one| one.name())),
        ),
        (
            "email_sends.status",
            words(SendStatus::ALL.iter().map(|one| one.name())),
        ),
        ("webhook_deliveries.status", delivery()),
        ("alert_history.status", delivery()),
        (
            "import_jobs.status",
            words(ImportState::ALL.iter().map(|one| one.name())),
        ),
        (
            "pauses.scope",
            words(PauseScope::ALL.iter().map(|one| one.name())),
        ),
        (
            "pauses.cause",
            words(PauseCause::ALL.iter().map(|one| one.name())),
        ),
        // The states of a step are the plugin API's.
        (
            "journey_steps.state",
            words(["open", "noted", "done", "cancelled"]),
        ),
    ];
    let expected = expected.map(|(column, words)| (column.to_owned(), words));
    assert_eq!(stored, BTreeMap::from(expected));
    server.stop().await;
}
