//! The scope a handler requires of its caller.

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::known::Known;
use super::{Actor, Scope};
use crate::http::ApiError;

/// Scopes as a type, for [`Caller`]: any one of them suffices.
pub trait Needs: Send + Sync {
    const ANY: &[Scope];
}

macro_rules! needs {
    ($($name:ident: $($scope:ident)|+;)*) => { $(
        #[doc = concat!("`Caller<", stringify!($name), ">` accepts callers with the scope ",
            stringify!($($scope)|+), ".")]
        pub struct $name;

        impl Needs for $name {
            const ANY: &[Scope] = &[$(Scope::$scope),+];
        }
    )* };
}

needs! {
    Read: Read;
    JourneyAdmin: JourneyAdmin;
    FullAdmin: FullAdmin;
    Ingest: Ingest;
    Events: Events;
    LookUp: Read | Ingest;
}

/// The caller, who has a scope of `S`. Extracting it fails with 403 for other callers, and with 401 on
/// a route without a gate.
pub struct Caller<S> {
    pub actor: Actor,
    scopes: Vec<Scope>,
    asked: PhantomData<S>,
}

impl<S> Caller<S> {
    /// Whether the caller also has this scope.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.iter().any(|has| has.covers(scope))
    }
}

impl<S: Needs, T: Send + Sync> FromRequestParts<T> for Caller<S> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &T) -> Result<Self, ApiError> {
        let known = parts
            .extensions
            .get::<Known>()
            .ok_or_else(ApiError::unauthorized)?;
        let caller = Self {
            actor: known.actor.clone(),
            scopes: known.scopes.clone(),
            asked: PhantomData,
        };
        if S::ANY.iter().any(|scope| caller.may(*scope)) {
            return Ok(caller);
        }
        Err(ApiError::forbidden("Forbidden: insufficient scope"))
    }
}
