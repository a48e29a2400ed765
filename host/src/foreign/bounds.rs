//! How much of anything is taken from outside.

/// Properties of one event and of one contact.
pub const PROPERTIES_MAX: usize = 1_000;
/// Bytes of the properties of one event and of one contact, as JSON.
pub const PROPERTIES_BYTES_MAX: usize = 256 * 1024;
/// Characters in the name of a property, nested ones included.
pub const PROPERTY_NAME_MAX: usize = 500;
/// Nesting levels of properties.
pub const DEPTH_MAX: usize = 32;
/// Problems reported of one request.
pub const ISSUES_MAX: usize = 100;

/// Bytes of one answer of a plugin. A prepared mail is the largest thing it gives.
pub const ANSWER_MAX: usize = 64 * 1024 * 1024;
/// Characters in a reason, an error message or another sentence of a plugin or provider.
pub const REASON_MAX: usize = 1_000;
/// Characters in the answer to a vendor's challenge.
pub const CHALLENGE_MAX: usize = 4 * 1024;
/// Characters in an id that a provider gives a mail.
pub const MESSAGE_ID_MAX: usize = 255;
/// Characters in a key by which a repeated event is known.
pub const DEDUPE_KEY_MAX: usize = 256;
/// Characters in a URL of a provider's report.
pub const LINK_MAX: usize = 2_000;
/// Characters in a header value of a provider's report.
pub const HEADER_MAX: usize = 500;
