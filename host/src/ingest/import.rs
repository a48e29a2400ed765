//! Imports contacts from a file, in chunks.
//!
//! Each chunk is one transaction that also stores how far the import is. If a worker dies, no row is
//! skipped or imported twice. An import starts no journey.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Properties;
use sqlx::Connection as _;
use tokio_util::sync::CancellationToken;

use super::people::follow;
use super::store as store_events;
use crate::contacts::consent::{Book, Decision, Grounds, Reach, Source, Subject};
use crate::contacts::file::Format;
use crate::contacts::import::{Numbered, Row, Rows};
use crate::contacts::{self, NoRoom, Paths, Person, Touch, lock_people};
use crate::context::Context;
use crate::db::{self, ClaimedImport, Conn, ImportProgress, RowError, Tx};
use crate::ids::{ContactId, EventId};

/// Rows of one transaction. It locks the names of all its rows, so it must stay small.
const CHUNK: usize = 50;
/// Most errors stored for one import.
const ERRORS_MAX: usize = 100;
/// Claims without a stored chunk before an import fails, because it seems to crash its workers.
const CLAIMS_MAX: i32 = 10;

/// The names of the fields of a row.
const PATHS: Paths = Paths {
    user_id: "externalId",
    email: "email",
    properties: "properties",
    nobody: "email, externalId or anonymousId is required",
};

/// Imports the remaining rows, until the end or `stop`.
pub async fn run(
    cx: &Context,
    mut import: ClaimedImport,
    stop: &CancellationToken,
) -> db::Result<()> {
    let body = std::mem::take(&mut import.body);
    let format = Format::parse(&import.format).unwrap_or(Format::Csv);
    let skip = usize::try_from(import.processed).unwrap_or_default();
    let read = tokio::task::spawn_blocking(move || Rows::read(format, &body)).await;
    let rows = match read {
        _ if import.attempts > CLAIMS_MAX => {
            Err("given up: the worker stopped during every attempt".to_owned())
        }
        Ok(rows) => rows,
        Err(_) => Err("the file cannot be read".to_owned()),
    };
    let mut rows = match rows {
        Ok(rows) => rows.into_rows().skip(skip),
        Err(why) => {
            let error = RowError {
                row: 0,
                line: None,
                message: why,
            };
            let mut conn = cx.db.conn().await?;
            return db::import_fail(&mut conn, &import, &error, cx.clock.now()).await;
        }
    };
    loop {
        let chunk: Vec<_> = rows.by_ref().take(CHUNK).collect();
        let over = chunk.len() < CHUNK;
        if !step(cx, &mut import, chunk, over).await? {
            tracing::warn!(import.id = %import.id, "another worker took the import over");
            return Ok(());
        }
        if over {
            tracing::info!(import.id = %import.id, rows = import.processed, failed = import.failed,
                "import finished");
            return Ok(());
        }
        if stop.is_cancelled() {
            let mut conn = cx.db.conn().await?;
            let held = (import.id, import.claim);
            return db::import_release(&mut conn, held, cx.clock.now()).await;
        }
    }
}

/// Imports one chunk. False if another worker holds the import.
async fn step(
    cx: &Context,
    import: &mut ClaimedImport,
    chunk: Vec<Numbered>,
    over: bool,
) -> db::Result<bool> {
    let now = cx.clock.now();
    let mut errors = Vec::new();
    let mut valid = Vec::new();
    let count = chunk.len();
    for Numbered { number, line, row } in chunk {
        let Some(row) = row.transpose() else { continue };
        let checked = row.and_then(|row| {
            let mut issues = Vec::new();
            contacts::check(&row.names, &row.properties, &PATHS, &mut issues);
            // An anonymous id alone is enough to name a contact.
            let anonymous = row.names.anonymous_id.is_some();
            let mut issues = issues.iter();
            match issues.find(|issue| !(anonymous && issue.path.is_empty())) {
                Some(issue) => Err(issue.to_string()),
                None => Ok(Valid {
                    number,
                    line,
                    decisions: decisions(&row),
                    first_seen_at: row.first_seen_at,
                    person: Person::Names(row.names),
                    properties: row.properties,
                }),
            }
        });
        match checked {
            Ok(row) => valid.push(row),
            Err(message) => errors.push(RowError {
                row: number,
                line,
                message,
            }),
        }
    }
    let chunk = Chunk {
        import: &*import,
        valid,
        errors,
        count: i32::try_from(count).unwrap_or(i32::MAX),
        over,
    };
    let Some(after) = cx.db.transact(|tx| store(cx, tx, &chunk, now)).await? else {
        return Ok(false);
    };
    (import.processed, import.failed, import.errors) = after;
    Ok(true)
}

/// A chunk that was read and checked.
struct Chunk<'a> {
    import: &'a ClaimedImport,
    valid: Vec<Valid>,
    /// The errors of the other rows.
    errors: Vec<RowError>,
    count: i32,
    over: bool,
}

/// Stores a chunk with the import's progress. Returns the totals of processed rows, failed rows and
/// stored errors; None if another worker holds the import.
async fn store(
    cx: &Context,
    mut tx: Tx,
    chunk: &Chunk<'_>,
    now: DateTime<Utc>,
) -> db::Result<(Tx, Option<(i32, i32, usize)>)> {
    let import = chunk.import;
    if !db::import_hold(&mut tx, import.id, import.claim).await? {
        return Ok((tx, None));
    }
    let mut errors = chunk.errors.clone();
    let people = chunk.valid.iter().map(|row| &row.person);
    lock_people(&mut tx, &[], people).await?;
    if let Err(error) = store_rows(cx, &mut tx, &chunk.valid, now).await {
        if db::is_transient(&error) || db::is_unavailable(&error) {
            return Err(error);
        }
        // One row can fail the whole chunk: store each row on its own.
        for row in &chunk.valid {
            match store_rows(cx, &mut tx, std::slice::from_ref(row), now).await {
                Err(error) if db::is_transient(&error) || db::is_unavailable(&error) => {
                    return Err(error);
                }
                Err(error) => {
                    let no_room = NoRoom::of(&error);
                    let issues = no_room.map(|it| it.issues(|_| "properties".into()));
                    let message = match issues.as_deref() {
                        Some([first, ..]) => first.to_string(),
                        _ => "could not be stored".into(),
                    };
                    tracing::warn!(import.id = %import.id, row = row.number, %error,
                        "a row could not be imported");
                    errors.push(RowError {
                        row: row.number,
                        line: row.line,
                        message,
                    });
                }
                Ok(()) => {}
            }
        }
    }
    let failed = import.failed + i32::try_from(errors.len()).unwrap_or(i32::MAX);
    errors.truncate(ERRORS_MAX.saturating_sub(import.errors));
    let processed = import.processed + chunk.count;
    let progress = ImportProgress {
        id: import.id,
        processed,
        failed,
        errors: &errors,
        lease_until: (!chunk.over).then(|| now + cx.config.lease),
    };
    db::import_progress(&mut tx, &progress, now).await?;
    let kept = import.errors + errors.len();
    Ok((tx, Some((processed, failed, kept))))
}

/// A row that passed validation.
struct Valid {
    number: i32,
    line: Option<i32>,
    person: Person,
    properties: Properties,
    decisions: Vec<Decision>,
    first_seen_at: Option<DateTime<Utc>>,
}

/// The consent decisions of a row. A file cannot resubscribe a person to a list they left.
fn decisions(row: &Row) -> Vec<Decision> {
    let lists = row.lists.iter().map(|(id, subscribed)| {
        let id = id.clone();
        match subscribed {
            true => Decision::Join { id, consent: false },
            false => Decision::Category {
                id,
                subscribed: false,
            },
        }
    });
    let all = row.unsubscribed_all;
    let all = all.then_some(Decision::All { subscribed: false });
    lists.chain(all).collect()
}

/// Stores all rows or none. The caller has locked every contact they may belong to.
async fn store_rows(
    cx: &Context,
    conn: &mut Conn,
    rows: &[Valid],
    now: DateTime<Utc>,
) -> db::Result<()> {
    let mut inner = conn.begin().await?;
    let touches = rows
        .iter()
        .map(|row| Touch::asked(EventId::new(now), "import", &row.person, &row.properties));
    let resolved = contacts::resolve(&mut inner, touches, true, now).await?;
    let people = rows.iter().zip(&resolved.people);
    let people: Vec<(ContactId, &Valid)> = people
        .filter_map(|(row, whom)| Some((whom.contact()?.id, row)))
        .collect();
    follow(&mut inner, &cx.catalog(), now, resolved).await?;
    let seen: Vec<(ContactId, DateTime<Utc>)> = people
        .iter()
        .filter_map(|(contact, row)| Some((*contact, row.first_seen_at?)))
        .collect();
    db::contacts_first_seen(&mut inner, &seen).await?;
    let deciding: Vec<(Subject, &[Decision])> = people
        .iter()
        .filter(|(_, row)| !row.decisions.is_empty())
        .map(|(contact, row)| (Subject::contact(*contact), row.decisions.as_slice()))
        .collect();
    if !deciding.is_empty() {
        let subjects: Vec<Subject> = deciding.iter().map(|(who, _)| who.clone()).collect();
        let addresses = Some(&*cx.addresses);
        let mut book = Book::open(&mut inner, addresses, &subjects, Reach::Named).await?;
        let grounds = Grounds::new(Source::Import, "an imported file");
        for (subject, decisions) in deciding {
            book.decide(cx.catalog().lists(), &subject, decisions, &grounds);
        }
        let events = book.write(&mut inner, now).await?;
        let events = events.into_iter().map(Into::into).collect();
        store_events(&mut inner, &cx.catalog(), now, events).await?;
    }
    inner.commit().await
}
