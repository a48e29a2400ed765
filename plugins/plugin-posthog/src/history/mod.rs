//! Past events, by PostHog's query API (`POST /api/projects/{id}/query/`, posthog.com/docs/api/queries). The
//! API that lists events is deprecated and ends at 50,000 events.
//!
//! Pages follow each other by time and id, so an event that arrives meanwhile moves none of them.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use hogsend_plugin_api::{
    Host, HttpErrorKind, HttpMethod, HttpResponse, LogLevel, Past, PastIn, PastPage, SourceEvent,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::api::PrivateApi;
use crate::{HOST, webhook};

/// The longest that the host allows.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Events of a page. An answer must stay below 8 MiB, so a page whose answer does not arrive is asked for
/// again with fewer.
const PAGES: [u32; 3] = [500, 100, 20];
/// The wait where PostHog is over its limit and does not say for how long: its limits count minutes and
/// hours (posthog.com/docs/api, rate limiting).
const LIMITED_MS: u64 = 60_000;
/// The wait after another failure.
const FAILED_MS: u64 = 10_000;
/// What the key needs.
const SCOPE: &str = "query:read";

/// Where the next page begins: after this event.
#[derive(Serialize, Deserialize)]
struct Cursor {
    at: DateTime<Utc>,
    id: String,
    /// The events of a page.
    limit: u32,
}

#[derive(Deserialize)]
struct Answer {
    results: Vec<Value>,
}

/// A page of past events.
pub async fn page(api: &PrivateApi, host: &Host, past: &PastIn) -> Past {
    let cursor = match &past.cursor {
        None => None,
        Some(text) => match serde_json::from_str::<Cursor>(text) {
            Ok(cursor) => Some(cursor),
            Err(_) => return Past::unavailable("the cursor is not one of this plugin", None),
        },
    };
    let first = cursor.as_ref().map_or(PAGES[0], |cursor| cursor.limit);
    let smaller = PAGES.into_iter().filter(|limit| *limit < first);
    // Two attempts fit into the time of a call.
    let mut failed = String::new();
    for limit in std::iter::once(first).chain(smaller).take(2) {
        let query = query(past, cursor.as_ref(), limit);
        let sent = api.send(host, HttpMethod::Post, "query/", Some(&query), TIMEOUT);
        match sent.await {
            Ok(answer) => return read(api, host, &answer, limit),
            Err(error) => match error.kind {
                HttpErrorKind::Refused => return Past::unavailable(error.message, None),
                HttpErrorKind::Connect => return Past::unavailable(error.message, Some(FAILED_MS)),
                // Perhaps the answer was too large or took too long.
                _ => failed = error.message,
            },
        }
    }
    Past::unavailable(failed, Some(FAILED_MS))
}

/// The query of a page, in PostHog's SQL. Values travel apart from it.
fn query(past: &PastIn, cursor: Option<&Cursor>, limit: u32) -> Value {
    let mut values = Map::new();
    let mut sql = String::from(
        "SELECT toString(uuid), event, distinct_id, timestamp, properties, toString(person_id), \
         person.properties FROM events WHERE timestamp >= toDateTime({since})",
    );
    values.insert("since".into(), time(past.since));
    if let Some(until) = past.until {
        sql += " AND timestamp <= toDateTime({until})";
        values.insert("until".into(), time(until));
    }
    if !past.events.is_empty() {
        let mut names = Vec::new();
        for (at, name) in past.events.iter().enumerate() {
            names.push(format!("{{event_{at}}}"));
            values.insert(format!("event_{at}"), json!(name));
        }
        let _ = write!(sql, " AND event IN ({})", names.join(", "));
    }
    if let Some(cursor) = cursor {
        sql += " AND (timestamp > toDateTime({at}) \
                OR (timestamp = toDateTime({at}) AND toString(uuid) > {id}))";
        values.insert("at".into(), time(cursor.at));
        values.insert("id".into(), json!(cursor.id));
    }
    let _ = write!(sql, " ORDER BY timestamp, toString(uuid) LIMIT {limit}");
    json!({ "query": { "kind": "HogQLQuery", "query": sql, "values": values } })
}

fn time(at: DateTime<Utc>) -> Value {
    json!(at.to_rfc3339_opts(SecondsFormat::Micros, true))
}

fn read(api: &PrivateApi, host: &Host, answer: &HttpResponse, limit: u32) -> Past {
    match answer.status {
        200 => {}
        429 => {
            let wait = answer.retry_after_ms(host.now()).unwrap_or(LIMITED_MS);
            let reason = "PostHog's rate limit for queries is reached";
            return Past::unavailable(reason, Some(wait.max(1_000)));
        }
        status @ (408 | 500..) => {
            let wait = answer.retry_after_ms(host.now()).unwrap_or(FAILED_MS);
            return Past::unavailable(format!("PostHog answered {status}"), Some(wait.max(1_000)));
        }
        status => {
            let reason = api.refusal(status, SCOPE);
            let reason =
                reason.unwrap_or_else(|| format!("PostHog refused the query with {status}"));
            return Past::unavailable(reason, None);
        }
    }
    let Ok(Answer { results }) = answer.json() else {
        let reason =
            format!("PostHog's answer is not that of a query: check that {HOST} is a PostHog");
        return Past::unavailable(reason, None);
    };
    let mut next = None;
    let mut events = Vec::with_capacity(results.len());
    let mut unreadable = 0;
    for row in &results {
        next = place(row).or(next);
        match event(row) {
            Some(event) => events.push(event),
            None => unreadable += 1,
        }
    }
    if unreadable > 0 {
        let text = format!("{unreadable} past events cannot be read and are left out");
        host.log(LogLevel::Warn, &text);
    }
    let full = results.len() >= limit as usize;
    let next = next
        .filter(|_| full)
        .map(|(at, id)| Cursor { at, id, limit });
    if full && next.is_none() {
        let reason =
            "PostHog's events have no time and no id, so the next page cannot be asked for";
        return Past::unavailable(reason, None);
    }
    let next = next.and_then(|cursor| serde_json::to_string(&cursor).ok());
    Past::Page(PastPage::new(events, next))
}

/// The time and the id of a row.
fn place(row: &Value) -> Option<(DateTime<Utc>, String)> {
    let at = DateTime::parse_from_rfc3339(row.get(3)?.as_str()?).ok()?;
    Some((at.to_utc(), row.get(0)?.as_str()?.to_owned()))
}

/// A row as its webhook would be read.
fn event(row: &Value) -> Option<SourceEvent> {
    place(row)?;
    let of = |at: usize| row.get(at).cloned().unwrap_or(Value::Null);
    let body = json!({
        "event": {
            "uuid": of(0), "event": of(1), "distinct_id": of(2), "timestamp": of(3), "properties": of(4),
        },
        "person": { "id": of(5), "properties": of(6) },
    });
    webhook::event(body.as_object()?).ok()
}
