//! Limits on what is accepted from outside. Those on plugins are defined with the contract.

use hogsend_plugin_api::limits;

/// The maximum number of properties of an event, and of a contact.
pub const PROPERTIES_MAX: usize = limits::PROPERTIES.most;
/// The maximum size of the properties of an event, and of a contact, as JSON in bytes.
pub const PROPERTIES_BYTES_MAX: usize = limits::PROPERTIES_BYTES.most;
/// Characters in the name of a property, nested ones included.
pub const PROPERTY_NAME_MAX: usize = limits::PROPERTY_NAME.most;
/// Nesting levels of properties.
pub const DEPTH_MAX: usize = limits::PROPERTY_DEPTH.most;
/// The most problems reported for one request.
pub const ISSUES_MAX: usize = 100;

/// Characters in a reason, an error message or another sentence of a plugin or provider.
pub const REASON_MAX: usize = limits::SENTENCE.most;
/// Characters in the response to a vendor's challenge.
pub const CHALLENGE_MAX: usize = limits::CHALLENGE.most;
/// Bytes of the cursor with which a vendor's past events are read on. A longer one ends the reading.
pub const CURSOR_MAX: usize = limits::CURSOR.most;
/// Characters in a provider's id of a mail.
pub const MESSAGE_ID_MAX: usize = 255;
/// Characters in an event's idempotency key.
pub const DEDUPE_KEY_MAX: usize = 256;
/// Characters in a URL of a provider's report.
pub const LINK_MAX: usize = 2_000;
/// Characters in a header value of a provider's report.
pub const HEADER_MAX: usize = 500;
