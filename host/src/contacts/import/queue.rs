//! Stores an uploaded file, which a worker then imports.

use serde_json::json;

use super::Rows;
use crate::audit::{Actor, Change, audit};
use crate::contacts::file::Upload;
use crate::context::Context;
use crate::db::{self, NewImport, Tx};
use crate::ids::ImportId;

/// What was read of a file, without its rows.
pub struct Found {
    rows: usize,
    /// Names of columns or fields that the import ignores.
    pub unused: Vec<String>,
}

impl From<&Rows> for Found {
    fn from(rows: &Rows) -> Self {
        Self {
            rows: rows.count(),
            unused: rows.unused().to_vec(),
        }
    }
}

/// Stores a file that was read without an error. Returns the id of its import.
pub async fn queue(
    cx: &Context,
    actor: &Actor,
    upload: &Upload,
    found: &Found,
) -> db::Result<ImportId> {
    let now = cx.clock.now();
    let id = ImportId::new(now);
    let new = NewImport {
        id,
        format: upload.format.name(),
        body: &upload.body,
        file_name: upload.name.as_deref(),
        unused: &found.unused,
        // A file holds far fewer rows than `i32::MAX`.
        total: i32::try_from(found.rows).unwrap_or(i32::MAX),
    };
    let told = json!({ "format": new.format, "rows": found.rows, "fileName": new.file_name });
    let work = async |mut tx: Tx| {
        db::import_insert(&mut tx, &new, now).await?;
        let about = ("import", &*id.to_string());
        let change = Change::created(told.clone());
        audit(&mut tx, actor, "contact.import", about, change, now).await?;
        db::Result::Ok((tx, ()))
    };
    cx.db.transact(work).await?;
    Ok(id)
}
