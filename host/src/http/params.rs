//! What stands in the address of a request. Problems are told as those of bodies are.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::ApiError;
use crate::issue::Issue;

/// The query as a `T`; 400 with the field that does not fit.
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parse_query(parts.uri.query().unwrap_or_default())
            .map(Self)
            .map_err(|issue| ApiError::validation(&[issue]))
    }
}

fn parse_query<T: DeserializeOwned>(query: &str) -> Result<T, Issue> {
    // NUL is the one character that cannot be stored and cannot stand there itself.
    let query = query.replace("%00", "%EF%BF%BD");
    let pairs = form_urlencoded::parse(query.as_bytes());
    let reader = serde_urlencoded::Deserializer::new(pairs);
    serde_path_to_error::deserialize(reader).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { "" } else { &path };
        Issue::new(path, error.inner().to_string())
    })
}

/// The last part of the path that varies, as an id; 404 where it is no such id, for then there is
/// nothing of that name.
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: std::str::FromStr + Send> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let found = RawPathParams::from_request_parts(parts, state).await.ok();
        let last = found.as_ref().and_then(|params| params.iter().last());
        last.and_then(|(_, text)| text.parse().ok())
            .map(Self)
            .ok_or_else(|| ApiError::not_found("Not found"))
    }
}

/// A name in a path, for [`Path`] and [`Under`]: any text Postgres can keep.
pub struct Name(pub String);

impl std::str::FromStr for Name {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text.contains('\0') {
            return Err(());
        }
        Ok(Self(text.to_owned()))
    }
}

/// The first and the last part of the path that vary; 404 where one does not fit.
pub struct Under<A, B>(pub A, pub B);

impl<S, A, B> FromRequestParts<S> for Under<A, B>
where
    S: Send + Sync,
    A: std::str::FromStr + Send,
    B: std::str::FromStr + Send,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let found = RawPathParams::from_request_parts(parts, state).await.ok();
        let first = found.as_ref().and_then(|params| params.iter().next());
        let last = found.as_ref().and_then(|params| params.iter().last());
        let first = first.and_then(|(_, text)| text.parse().ok());
        let last = last.and_then(|(_, text)| text.parse().ok());
        first
            .zip(last)
            .map(|(first, last)| Self(first, last))
            .ok_or_else(|| ApiError::not_found("Not found"))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::parse_query;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase")]
    #[allow(dead_code)]
    struct Wanted {
        page_size: Option<u32>,
        name: Option<String>,
    }

    #[test]
    fn a_wrong_field_is_named_and_unknown_ones_are_ignored() {
        let issue = parse_query::<Wanted>("name=x&pageSize=many").unwrap_err();
        assert_eq!(issue.path, "pageSize");
        let read: Wanted = parse_query("name=a%00").unwrap();
        assert_eq!(read.name.as_deref(), Some("a\u{fffd}"));
        let read: Wanted = parse_query("name=a%20b&other=1").unwrap();
        assert_eq!(read.name.as_deref(), Some("a b"));
    }
}
