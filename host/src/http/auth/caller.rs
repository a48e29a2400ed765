//! What a handler asks of its caller.

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::gate::Known;
use super::{Actor, Scope};
use crate::http::ApiError;

/// A scope as a type, for [`Caller`].
pub trait Needs: Send + Sync {
    const SCOPE: Scope;
}

macro_rules! needs {
    ($($name:ident),*) => { $(
        #[doc = concat!("`Caller<", stringify!($name), ">` lets callers of this scope in.")]
        pub struct $name;

        impl Needs for $name {
            const SCOPE: Scope = Scope::$name;
        }
    )* };
}

needs!(Read, JourneyAdmin, FullAdmin, Ingest);

/// Who calls, with the scope `S`. Refuses others with 403, and everybody where the route stands
/// behind no gate.
pub struct Caller<S> {
    pub actor: Actor,
    scope: PhantomData<S>,
}

impl<S: Needs, T: Send + Sync> FromRequestParts<T> for Caller<S> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &T) -> Result<Self, ApiError> {
        let known = parts
            .extensions
            .get::<Known>()
            .ok_or_else(ApiError::unauthorized)?;
        if !known.scopes.iter().any(|scope| scope.covers(S::SCOPE)) {
            return Err(ApiError::forbidden("Forbidden: insufficient scope"));
        }
        Ok(Self {
            actor: known.actor.clone(),
            scope: PhantomData,
        })
    }
}
