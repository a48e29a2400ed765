//! Searching for people: bounded, and by an index where the server has one for it.

use hogsend::db::{self, Db};

use crate::support::admin::{get, server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_that_is_longer_than_any_name_is_refused_by_its_length() {
    let server = server().await;
    for path in ["/contacts", "/contacts/export", "/suppressions"] {
        for (letters, status) in [(320, 200), (321, 400), (5_000, 400)] {
            let search = format!("%20{}%20", "%C3%A9".repeat(letters));
            let answer = get(&server, &format!("{path}?search={search}")).await;
            assert_eq!(answer.status, status, "{path} {letters}");
            if status == 400 {
                let issue = answer.json()["error"]["issues"][0].clone();
                assert_eq!(issue["path"], "search");
                assert!(
                    issue["message"].as_str().unwrap().contains("320"),
                    "{issue}"
                );
            }
        }
        let all = get(&server, &format!("{path}?search=%20")).await;
        assert_eq!(all.status, 200, "{path}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_are_indexed_where_that_is_possible_and_work_where_not() {
    let server = server().await;
    let fill = "INSERT INTO contacts (id, email, external_id, first_seen_at, last_seen_at, created_at, updated_at)
        SELECT gen_random_uuid(), 'person' || n || '@example.com', 'u' || n, now(), now(), now(), now()
        FROM generate_series(1, 20000) n";
    server.run_sql(fill).await;
    let found = async || {
        let found = get(&server, "/contacts?search=rson1777%40").await.json();
        assert_eq!(found["total"], 1);
        assert_eq!(found["contacts"][0]["externalId"], "u1777");
    };
    found().await;
    let indexes = "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                   WHERE c.relname LIKE '%\\_trgm' AND i.indisvalid";

    // Somebody who may not create an extension.
    server
        .run_sql("DO $$ BEGIN CREATE ROLE hogsend_test_guest LOGIN PASSWORD 'guest'; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
        .await;
    let (_, place) = server.database_url().rsplit_once('@').unwrap();
    let url = format!("postgres://hogsend_test_guest:guest@{place}");
    let guest = Db::connect(&url.into(), 1).await.unwrap();
    let refused = db::index_searches(&guest).await.unwrap_err().to_string();
    assert!(refused.contains("permission denied"), "{refused}");
    guest.close().await;
    assert_eq!(server.count(indexes).await, 0);

    let db = &server.app.db;
    server.run_sql("CREATE EXTENSION pg_trgm").await;
    server
        .run_sql("CREATE INDEX contacts_email_trgm ON contacts USING gin (email gin_trgm_ops)")
        .await;
    // Twice at once, and once more; what broke off is built anew.
    let (one, other) = tokio::join!(db::index_searches(db), db::index_searches(db));
    one.and(other).unwrap();
    server
        .run_sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'contacts_email_search_trgm'::regclass")
        .await;
    db::index_searches(db).await.unwrap();
    assert_eq!(server.count(indexes).await, 3);
    // An index on a bare column would serve `=` too, and the planner would take it for look-ups.
    let bare = "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                WHERE c.relname LIKE '%\\_trgm' AND i.indexprs IS NULL";
    assert_eq!(server.count(bare).await, 0);
    server.run_sql("ANALYZE contacts").await;
    let plan = "SELECT string_agg(line, E'\\n') FROM explain_search() AS line";
    server
        .run_sql(
            "CREATE FUNCTION explain_search() RETURNS SETOF text LANGUAGE plpgsql AS $$
             BEGIN RETURN QUERY EXECUTE 'EXPLAIN SELECT * FROM contacts
                 WHERE (email || '''') ILIKE ''%rson1777@%'' OR (external_id || '''') ILIKE ''%rson1777@%''
                    OR id = ''00000000-0000-0000-0000-000000000000'''; END $$",
        )
        .await;
    let plan = server.text(plan).await;
    assert!(
        !plan.contains("Seq Scan") && plan.contains("contacts_email_search_trgm"),
        "{plan}"
    );
    found().await;
    server.stop().await;
}
