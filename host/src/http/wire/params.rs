//! Path and query parameters. Problems are reported like those of bodies.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::Method;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};

use super::openapi::Routes;
use crate::foreign::ISSUES_MAX;
use crate::foreign::Issue;
use crate::http::ApiError;

/// Paths where an unknown parameter is a mistake in the caller's program. Elsewhere mail tools,
/// vendors and browsers add parameters of their own.
const STRICT: [&str; 5] = [
    "/v1/admin",
    "/v1/contacts",
    "/v1/events",
    "/v1/lists",
    "/v1/campaigns",
];
/// Characters of an unknown name that are shown.
const NAME_SHOWN: usize = 64;

/// The parameters of the operations under [`STRICT`], from the OpenAPI document.
#[derive(Clone)]
pub struct Known(Arc<HashMap<(Method, String), Vec<String>>>);

impl Known {
    pub fn of(routes: &Routes) -> Self {
        let mut known = HashMap::new();
        let strict = |path: &str| {
            let rest = STRICT.iter().find_map(|start| path.strip_prefix(start));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let paths = &routes.get_openapi().paths.paths;
        for (path, item) in paths.iter().filter(|(path, _)| strict(path)) {
            for (method, operation) in operations(item) {
                known.insert((method, path.clone()), parameters(operation));
            }
        }
        Self(Arc::new(known))
    }
}

fn operations(item: &PathItem) -> impl Iterator<Item = (Method, &Operation)> {
    let all = [
        (Method::GET, &item.get),
        (Method::PUT, &item.put),
        (Method::POST, &item.post),
        (Method::DELETE, &item.delete),
        (Method::PATCH, &item.patch),
    ];
    all.into_iter()
        .filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}

fn parameters(operation: &Operation) -> Vec<String> {
    let all = operation.parameters.iter().flatten();
    let names = all.filter_map(|one| match one {
        RefOr::T(one) if one.parameter_in == ParameterIn::Query => Some(one.name.clone()),
        _ => None,
    });
    names.collect()
}

/// Refuses a request with an unknown parameter: ignoring a mistyped filter would return the wrong
/// data.
pub async fn strict(
    State(Known(known)): State<Known>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let method = match *request.method() {
        Method::HEAD => Method::GET,
        ref method => method.clone(),
    };
    let path = request.extensions().get::<MatchedPath>();
    let path = path
        .map(|path| path.as_str().to_owned())
        .unwrap_or_default();
    if let Some(known) = known.get(&(method, path)) {
        let issues = unknown(request.uri().query().unwrap_or_default(), known);
        if !issues.is_empty() {
            return Err(ApiError::validation(&issues));
        }
    }
    Ok(next.run(request).await)
}

/// An issue for each unknown parameter, with the nearest known one.
fn unknown(query: &str, known: &[String]) -> Vec<Issue> {
    let names = form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name);
    let wrong = names.filter(|name| !known.iter().any(|one| one == name.as_ref()));
    let issues = wrong.take(ISSUES_MAX).map(|name| {
        let name: String = name
            .replace('\0', "\u{fffd}")
            .chars()
            .take(NAME_SHOWN)
            .collect();
        let message = match nearest(&name, known) {
            Some(nearest) => {
                format!("is not a parameter of this operation; did you mean '{nearest}'?")
            }
            None => "is not a parameter of this operation, which takes none".to_owned(),
        };
        Issue::new(&name, message)
    });
    issues.collect()
}

/// The known name most similar to this one. A name that contains the other is nearer than a merely
/// similar one: `toEmail` means `email`.
fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    let name = name.to_lowercase();
    let likeness = |one: &str| {
        let one = one.to_lowercase();
        let within = one.len() > 1 && (name.contains(&one) || one.contains(&name));
        f64::from(u8::from(within)) + strsim::normalized_damerau_levenshtein(&name, &one)
    };
    let all = known.iter().map(String::as_str);
    all.max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

/// The query as a `T`; 400 with the parameter that does not fit.
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
    // NUL cannot be stored, and occurs in a query only in this encoded form.
    let query = query.replace("%00", "%EF%BF%BD");
    let pairs = form_urlencoded::parse(query.as_bytes());
    let reader = serde_urlencoded::Deserializer::new(pairs);
    serde_path_to_error::deserialize(reader).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { "" } else { &path };
        Issue::new(path, error.inner().to_string())
    })
}

/// Reads an RFC 3339 time, for `deserialize_with`. Its years have four digits, so every value can be
/// stored.
pub fn time<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let Some(text) = Option::<Cow<'de, str>>::deserialize(reader)? else {
        return Ok(None);
    };
    let mut text = text.trim().to_owned();
    // In a query, an unencoded `+` of a time-zone offset is decoded as a space.
    if text.len() > 6 && text.is_char_boundary(text.len() - 6) {
        let (at, offset) = text.split_at(text.len() - 6);
        if let Some(offset) = offset.strip_prefix(' ') {
            text = format!("{at}+{offset}");
        }
    }
    let read = DateTime::parse_from_rfc3339(&text);
    let read = read.map(|at| Some(at.to_utc()));
    read.map_err(|_| D::Error::custom("must be an RFC 3339 time such as 2026-01-31T09:30:00Z"))
}

/// The last path parameter, as an id; 404 if it is not a valid id, since then the resource cannot
/// exist.
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

/// A name in a path, for [`Path`] and [`Under`]: any text that Postgres can store.
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

/// The first and the last path parameter; 404 if one does not fit.
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

    use super::{parse_query, unknown};

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase")]
    #[allow(dead_code)]
    struct Wanted {
        page_size: Option<u32>,
        name: Option<String>,
    }

    #[test]
    fn a_parameter_that_is_not_known_is_told_with_the_nearest_one() {
        let known = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        let mails = known(&["status", "templateKey", "email", "since", "until", "limit"]);
        for (query, name, nearest) in [
            ("toEmail=a%40b.test", "toEmail", "'email'"),
            ("limit=1&Status=sent", "Status", "'status'"),
            ("template=x", "template", "'templateKey'"),
            ("until=1&sinse=2", "sinse", "'since'"),
            ("%00=1", "\u{fffd}", "did you mean"),
            ("=1", "", "did you mean"),
        ] {
            let issues = unknown(query, &mails);
            assert_eq!(issues.len(), 1, "{query}");
            assert_eq!(issues[0].path, name);
            assert!(issues[0].message.contains(nearest), "{}", issues[0].message);
        }
        assert!(unknown("status=sent&limit=2&limit=3", &mails).is_empty());
        assert!(unknown("x=1", &[])[0].message.contains("takes none"));
        let many = "a=1&".repeat(100_000);
        assert_eq!(unknown(&many, &mails).len(), 100);
        let long = format!("{}=1", "x".repeat(100_000));
        assert_eq!(unknown(&long, &mails)[0].path.len(), 64);
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
