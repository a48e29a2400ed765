//! The sources of journeys, which run their code.

use hogsend_plugin_api::call::{CallError, decode, encode, method};
use hogsend_plugin_api::export::Instance;
use hogsend_plugin_api::journey::{AdvanceIn, AdvanceOut, Cache, Catalogue, Journey, dispatch};
use hogsend_plugin_api::{Journeys, Template};

/// Provides journeys and advances their runs: an instance of a plugin, a function that creates one
/// journey, or a program that has loaded plugins.
pub trait Advance {
    /// The journeys and templates.
    ///
    /// # Errors
    ///
    /// The call failed without a result.
    fn catalogue(&self) -> Result<Catalogue, CallError>;

    /// Advances a run as far as its journal allows.
    ///
    /// # Errors
    ///
    /// The call failed without a result.
    fn advance(&self, run: &AdvanceIn) -> Result<AdvanceOut, CallError>;
}

impl Advance for &dyn Instance {
    fn catalogue(&self) -> Result<Catalogue, CallError> {
        decode(&self.call(method::JOURNEYS_CATALOGUE, &encode(&())?)?)
    }

    fn advance(&self, run: &AdvanceIn) -> Result<AdvanceOut, CallError> {
        decode(&self.call(method::JOURNEYS_ADVANCE, &encode(run)?)?)
    }
}

impl Advance for Box<dyn Instance> {
    fn catalogue(&self) -> Result<Catalogue, CallError> {
        Advance::catalogue(&self.as_ref())
    }

    fn advance(&self, run: &AdvanceIn) -> Result<AdvanceOut, CallError> {
        Advance::advance(&self.as_ref(), run)
    }
}

/// A plugin of journeys that a function creates.
pub(super) struct Made<F> {
    make: F,
    cache: Cache,
}

impl<F> Made<F> {
    pub fn new(make: F) -> Self {
        Self {
            make,
            cache: Cache::default(),
        }
    }
}

impl<F: Fn() -> Vec<Journey>> Journeys for Made<F> {
    fn journeys(&self) -> Vec<Journey> {
        (self.make)()
    }

    fn templates(&self) -> Vec<Template> {
        Vec::new()
    }
}

impl<F: Fn() -> Vec<Journey>> Made<F> {
    fn call(&self, number: u32, input: &[u8]) -> Result<Vec<u8>, CallError> {
        dispatch(self, &self.cache, number, input)
            .unwrap_or_else(|| Err(CallError::new(CallError::NO_METHOD, "no such method")))
    }
}

impl<F: Fn() -> Vec<Journey>> Advance for Made<F> {
    fn catalogue(&self) -> Result<Catalogue, CallError> {
        decode(&self.call(method::JOURNEYS_CATALOGUE, &encode(&())?)?)
    }

    fn advance(&self, run: &AdvanceIn) -> Result<AdvanceOut, CallError> {
        decode(&self.call(method::JOURNEYS_ADVANCE, &encode(run)?)?)
    }
}
