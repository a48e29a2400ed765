//! What an analytics product knows about people.

use crate::call::{CallError, converse, method};
use crate::{Host, Properties};

/// Reads people's properties from an analytics product.
pub trait Analytics {
    /// The properties of the person with this id, or `None` where the product is not configured
    /// for reading or does not know them.
    fn person(
        &self,
        host: Host,
        distinct_id: String,
    ) -> impl Future<Output = Result<Option<Properties>, String>>;
}

#[doc(hidden)]
pub fn dispatch<P: Analytics>(
    plugin: &P,
    number: u32,
    input: &[u8],
) -> Option<Result<Vec<u8>, CallError>> {
    (number == method::ANALYTICS_PERSON)
        .then(|| converse(input, |host, id| plugin.person(host, id)))
}
