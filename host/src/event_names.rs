//! Reserved event names.

/// Prefixes of the host's own events. Callers may not send such events, because journeys and
/// reports trust them.
pub const OWN: [&str; 5] = ["email.", "journey.", "segment.", "contact.", "campaign."];

/// Whether the name is reserved for the host.
pub fn is_own(name: &str) -> bool {
    OWN.iter().any(|own| name.starts_with(own))
}

/// The message for a reserved name.
pub fn taken(name: &str) -> String {
    let kind = OWN.iter().find(|own| name.starts_with(**own));
    format!(
        "names that begin with {} are reserved for Hogsend's own events: choose another",
        kind.unwrap_or(&name)
    )
}
