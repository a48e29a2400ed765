//! The export of all contacts, streamed.

use std::collections::HashMap;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt as _};
use hogsend_semantics::identity::Id;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::app::App;
use crate::contacts::export;
use crate::contacts::export::{Exported, ExportedOut};
use crate::contacts::file::Format;
use crate::db::{self, ContactRow};
use crate::http::ApiError;
use crate::http::auth::{Caller, Read};
use crate::http::wire::openapi::BadRequest;
use crate::http::wire::openapi::Routes;
use crate::http::wire::params::Query;
use crate::http::wire::search::Search;
use crate::http::wire::words::{ExportFormat, checked};
use crate::ids::ContactId;
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(export_contacts))
}

/// Contacts per read.
const CHUNK: i64 = 1_000;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ExportQuery {
    /// `csv` by default.
    #[param(inline, value_type = Option<ExportFormat>)]
    format: Option<String>,
    /// Part of the email address or of the product's id, at most 320 characters.
    #[serde(default)]
    #[param(value_type = Option<String>, max_length = 320)]
    search: Search,
}

/// The shape of the JSON.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its shape is used")]
pub struct ExportOut {
    #[schema(inline)]
    contacts: Vec<ExportedOut<'static>>,
}

/// Exports every contact with their mail preferences, newest first, as CSV or as
/// `{"contacts": […]}`.
///
/// The import reads both formats. CSV cells that a spreadsheet would take for a formula begin with
/// an apostrophe. The response is streamed: if the connection breaks off, the export is incomplete.
#[utoipa::path(
    get, path = "/v1/admin/contacts/export", tag = "contacts",
    security(("key" = ["read"]), ("session" = [])),
    params(ExportQuery),
    responses(
        (status = 200, description = "Every contact", content((String = "text/csv"), (ExportOut = "application/json"))),
        (status = 400, response = BadRequest),
    ),
)]
pub async fn export_contacts(
    State(app): State<App>,
    _: Caller<Read>,
    Query(query): Query<ExportQuery>,
) -> Result<Response, ApiError> {
    checked::<ExportFormat>("format", query.format.as_deref())?;
    let format = match query.format.as_deref() {
        Some("json") => Format::Json,
        _ => Format::Csv,
    };
    let mut reading = Reading {
        search: query.search,
        app,
        format,
        after: None,
        begun: false,
        over: false,
    };
    // Read the first part before the response begins, so that an error still gets its status.
    let first = reading.next().await?.unwrap_or_default();
    let rest = stream::unfold(reading, |mut reading| async {
        match reading.next().await {
            Ok(part) => part.map(|part| (Ok(part), reading)),
            Err(error) => {
                tracing::error!(%error, "an export broke off");
                reading.over = true;
                Some((Err(error), reading))
            }
        }
    });
    // The compression layer polls once more after the end.
    let whole = stream::iter([Ok(first)]).chain(rest).fuse();
    let (kind, name) = match format {
        Format::Csv => ("text/csv; charset=utf-8", "contacts.csv"),
        Format::Json => ("application/json", "contacts.json"),
    };
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ),
    ];
    Ok((headers, Body::from_stream(whole)).into_response())
}

/// An export in progress.
struct Reading {
    app: App,
    format: Format,
    search: Search,
    after: Option<Uuid>,
    begun: bool,
    over: bool,
}

impl Reading {
    /// The next part; `None` after the last. Holds a connection only while reading.
    async fn next(&mut self) -> db::Result<Option<Bytes>> {
        if self.over {
            return Ok(None);
        }
        let mut conn = self.app.db.report().await?;
        let search = self.search.text();
        let rows = db::contacts_list(&mut conn, search, self.after, CHUNK, 0).await?;
        let ids: Vec<ContactId> = rows.iter().map(|row| row.id).collect();
        let keys = |row: &ContactRow| {
            let email = row.email.as_deref();
            email.map(|email| self.app.addresses.mailbox(email).keys())
        };
        let keys: Vec<Vec<String>> = rows
            .iter()
            .map(|row| keys(row).unwrap_or_default())
            .collect();
        let found = db::consents(&mut conn, &ids, &keys.concat()).await?;
        let mut anonymous_ids = db::contact_anonymous_ids(&mut conn, &ids).await?;
        let mut identities: HashMap<ContactId, Vec<Id>> = HashMap::new();
        for (contact, id) in db::identities_of(&mut conn, &ids).await? {
            let own = anonymous_ids.get(&contact);
            if own.is_none_or(|own| id != Id::anonymous(own)) {
                identities.entry(contact).or_default().push(id);
            }
        }
        drop(conn);
        self.after = rows.last().map(|row| row.id.0);
        self.over = i64::try_from(rows.len()).is_ok_and(|rows| rows < CHUNK);
        let both = rows.into_iter().zip(&keys);
        let rows: Vec<Exported> = both
            .map(|(contact, keys)| Exported {
                anonymous_id: anonymous_ids.remove(&contact.id),
                identities: identities.remove(&contact.id).unwrap_or_default(),
                wants: found.of(contact.id, keys),
                contact,
            })
            .collect();
        let mut part = Vec::new();
        match self.format {
            Format::Csv => {
                if !self.begun {
                    part.extend(export::head());
                }
                part.extend(export::lines(&rows));
            }
            Format::Json => self.json(&rows, &mut part),
        }
        self.begun = true;
        Ok(Some(part.into()))
    }

    fn json(&self, rows: &[Exported], part: &mut Vec<u8>) {
        let mut between = if self.begun { "," } else { "{\"contacts\":[" };
        if rows.is_empty() && !self.begun {
            part.extend(between.as_bytes());
        }
        for row in rows {
            part.extend(between.as_bytes());
            between = ",";
            // Only text and plain values, so serialising cannot fail.
            part.extend(serde_json::to_vec(&row.out()).unwrap_or_default());
        }
        if self.over {
            part.extend(b"]}");
        }
    }
}
