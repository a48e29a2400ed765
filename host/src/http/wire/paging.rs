//! Pagination of lists.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::params::Query;
use crate::foreign::Issue;
use crate::http::ApiError;

const LIMIT: i64 = 50;
const LIMIT_MAX: i64 = 100;

/// The requested part of a list with a cursor.
pub struct Page {
    pub limit: i64,
    pub offset: i64,
    /// The row after which the list continues; the offset counts from there.
    pub after: Option<(DateTime<Utc>, Uuid)>,
}

/// The requested part of a list without a cursor.
pub struct Part {
    pub limit: i64,
    pub offset: i64,
}

/// The query parameters of [`Part`], and of [`Page`] except the cursor.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PartParams {
    /// The most items to return.
    #[param(minimum = 1, maximum = 100, default = 50, value_type = Option<u32>)]
    limit: Option<String>,
    /// How many items to skip.
    #[param(minimum = 0, default = 0, value_type = Option<u32>)]
    offset: Option<String>,
}

/// The query parameter of [`Page`] in addition to [`PartParams`].
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CursorParam {
    /// The `nextCursor` of the previous page. Unlike an offset, it neither skips nor repeats items that
    /// are added meanwhile.
    cursor: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Part {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(params) = Query::<PartParams>::from_request_parts(parts, state).await?;
        let mut issues = Vec::new();
        let part = params.read(&mut issues);
        all_good(part, &issues)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(params) = Query::<PartParams>::from_request_parts(parts, state).await?;
        let Query(cursor) = Query::<CursorParam>::from_request_parts(parts, state).await?;
        let mut issues = Vec::new();
        let page = cursor.read(params, &mut issues);
        all_good(page, &issues)
    }
}

fn all_good<T>(read: T, issues: &[Issue]) -> Result<T, ApiError> {
    if issues.is_empty() {
        Ok(read)
    } else {
        Err(ApiError::validation(issues))
    }
}

impl PartParams {
    fn read(self, issues: &mut Vec<Issue>) -> Part {
        let mut number = |path: &str, text: Option<String>, least: i64, most: i64, usual: i64| {
            let Some(text) = text else { return usual };
            match text.parse() {
                Ok(number) if (least..=most).contains(&number) => number,
                _ => {
                    let range = if most == i64::MAX {
                        format!("must be a whole number of at least {least}")
                    } else {
                        format!("must be a whole number from {least} to {most}")
                    };
                    issues.push(Issue::new(path, range));
                    usual
                }
            }
        };
        Part {
            limit: number("limit", self.limit, 1, LIMIT_MAX, LIMIT),
            offset: number("offset", self.offset, 0, i64::MAX, 0),
        }
    }
}

impl CursorParam {
    fn read(self, part: PartParams, issues: &mut Vec<Issue>) -> Page {
        let Part { limit, offset } = part.read(issues);
        let after = self.cursor.as_deref().map(decode);
        if after == Some(None) {
            let message = "must be the `nextCursor` of a previous page";
            issues.push(Issue::new("cursor", message));
        }
        Page {
            limit,
            offset,
            after: after.flatten(),
        }
    }
}

impl Page {
    /// The cursor of the next page, given the time and id of each row of this page, newest first; `None`
    /// at the end of the list.
    pub fn next_cursor(
        &self,
        mut rows: impl ExactSizeIterator<Item = (DateTime<Utc>, Uuid)> + DoubleEndedIterator,
    ) -> Option<String> {
        let full = i64::try_from(rows.len()).is_ok_and(|rows| rows >= self.limit);
        let (at, id) = rows.next_back().filter(|_| full)?;
        Some(encode(at, id))
    }
}

fn encode(at: DateTime<Utc>, id: Uuid) -> String {
    let mut bytes = at.timestamp_micros().to_be_bytes().to_vec();
    bytes.extend(id.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(cursor: &str) -> Option<(DateTime<Utc>, Uuid)> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (micros, id) = bytes.split_first_chunk::<8>()?;
    let at = DateTime::from_timestamp_micros(i64::from_be_bytes(*micros))?;
    Some((at, Uuid::from_slice(id).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        limit: Option<&str>,
        offset: Option<&str>,
        cursor: Option<&str>,
    ) -> Result<Page, Vec<Issue>> {
        let own = |text: Option<&str>| text.map(str::to_owned);
        let params = PartParams {
            limit: own(limit),
            offset: own(offset),
        };
        let cursor = CursorParam {
            cursor: own(cursor),
        };
        let mut issues = Vec::new();
        let page = cursor.read(params, &mut issues);
        if issues.is_empty() {
            Ok(page)
        } else {
            Err(issues)
        }
    }

    #[test]
    fn limits_have_a_usual_value_and_bounds() {
        let page = read(None, None, None).unwrap();
        assert_eq!((page.limit, page.offset), (50, 0));
        assert_eq!(read(Some("100"), Some("7"), None).unwrap().limit, 100);
        for (limit, offset) in [("0", "0"), ("101", "0"), ("x", "0"), ("", "0"), ("1", "-1")] {
            let issues = read(Some(limit), Some(offset), None).err().unwrap();
            assert_eq!(issues.len(), 1, "{limit} {offset}");
        }
    }

    #[test]
    fn a_cursor_leads_on_from_the_last_row_of_a_full_page() {
        let row = (
            DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap(),
            Uuid::now_v7(),
        );
        let page = read(Some("1"), None, None).unwrap();
        let cursor = page.next_cursor([row].into_iter()).unwrap();
        assert_eq!(read(None, None, Some(&cursor)).unwrap().after, Some(row));
        assert_eq!(
            read(None, None, None)
                .unwrap()
                .next_cursor([row].into_iter()),
            None
        );
        for wrong in ["", "x", "AAAA", &cursor[1..]] {
            assert_eq!(
                read(None, None, Some(wrong)).err().unwrap()[0].path,
                "cursor"
            );
        }
    }
}
