//! Contacts from a file, in chunks.
//!
//! Each chunk is one transaction with the place in the file it ends at, so a worker that dies leaves
//! no row out and brings none in twice. An import begins no journey.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Properties;
use sqlx::Connection as _;
use tokio_util::sync::CancellationToken;

use super::{follow, store as store_events};
use crate::contacts::consent::{Book, Decision, Grounds, Reach, Source, Subject};
use crate::contacts::file::Format;
use crate::contacts::import::{Numbered, Row, Rows};
use crate::contacts::{self, NoRoom, Paths, Person, Touch, lock_people};
use crate::context::Context;
use crate::db::{self, ClaimedImport, Conn, ImportProgress, RowError, Tx};
use crate::ids::{ContactId, EventId};

/// Rows of a transaction: most are known by few names, and one that locks many keeps out all others.
const CHUNK: usize = 50;
/// Errors kept of one import.
const ERRORS_MAX: usize = 100;
/// Claims without a chunk between them before an import is given up: whoever takes it up dies.
const CLAIMS_MAX: i32 = 10;

/// How the fields of a row are called.
const PATHS: Paths = Paths {
    user_id: "externalId",
    email: "email",
    properties: "properties",
    nobody: "email, externalId or anonymousId is required",
};

/// Brings in the rest of an import, until its end or `stop`.
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
        _ if import.attempts > CLAIMS_MAX => Err("given up: it broke off each time".to_owned()),
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
                "an import is done");
            return Ok(());
        }
        if stop.is_cancelled() {
            let mut conn = cx.db.conn().await?;
            let held = (import.id, import.claim);
            return db::import_release(&mut conn, held, cx.clock.now()).await;
        }
    }
}

/// Brings in one chunk. False where another worker holds the import.
async fn step(
    cx: &Context,
    import: &mut ClaimedImport,
    chunk: Vec<Numbered>,
    over: bool,
) -> db::Result<bool> {
    let now = cx.clock.now();
    let mut errors = Vec::new();
    let mut sound = Vec::new();
    let count = chunk.len();
    for Numbered { number, line, row } in chunk {
        let Some(row) = row.transpose() else { continue };
        let checked = row.and_then(|row| {
            let mut issues = Vec::new();
            contacts::check(&row.names, &row.properties, &PATHS, &mut issues);
            // An anonymous id names somebody as well.
            let anonymous = row.names.anonymous_id.is_some();
            let mut issues = issues.iter();
            match issues.find(|issue| !(anonymous && issue.path.is_empty())) {
                Some(issue) => Err(issue.to_string()),
                None => Ok(Sound {
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
            Ok(row) => sound.push(row),
            Err(message) => errors.push(RowError {
                row: number,
                line,
                message,
            }),
        }
    }
    let chunk = Chunk {
        import: &*import,
        sound,
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
    sound: Vec<Sound>,
    /// What was wrong with the others.
    errors: Vec<RowError>,
    count: i32,
    over: bool,
}

/// Stores a chunk and how far the import is with it: rows read, rows that failed, errors kept. None
/// where another worker holds the import.
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
    let people = chunk.sound.iter().map(|row| &row.person);
    lock_people(&mut tx, &[], people).await?;
    if let Err(error) = apart(cx, &mut tx, &chunk.sound, now).await {
        if db::is_transient(&error) || db::is_unavailable(&error) {
            return Err(error);
        }
        // One row spoils the others: each for itself.
        for row in &chunk.sound {
            match apart(cx, &mut tx, std::slice::from_ref(row), now).await {
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
                        "a row was not kept");
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

/// A row that can be stored.
struct Sound {
    number: i32,
    line: Option<i32>,
    person: Person,
    properties: Properties,
    decisions: Vec<Decision>,
    first_seen_at: Option<DateTime<Utc>>,
}

/// What a row says of mail. A file takes nobody back onto a list they left.
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

/// Stores rows, all of them or none. The caller holds the locks of everybody they may be.
async fn apart(
    cx: &Context,
    conn: &mut Conn,
    rows: &[Sound],
    now: DateTime<Utc>,
) -> db::Result<()> {
    let mut inner = conn.begin().await?;
    let touches = rows
        .iter()
        .map(|row| Touch::asked(EventId::new(now), "import", &row.person, &row.properties));
    let resolved = contacts::resolve(&mut inner, touches, true, now).await?;
    let people = rows.iter().zip(&resolved.people);
    let people: Vec<(ContactId, &Sound)> = people
        .filter_map(|(row, whom)| Some((whom.contact()?.id, row)))
        .collect();
    follow(&mut inner, &cx.catalog, now, resolved).await?;
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
            book.decide(cx.catalog.lists(), &subject, decisions, &grounds);
        }
        let events = book.write(&mut inner, now).await?;
        let events = events.into_iter().map(Into::into).collect();
        store_events(&mut inner, &cx.catalog, now, events).await?;
    }
    inner.commit().await
}
