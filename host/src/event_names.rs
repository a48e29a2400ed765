//! The names of events that are the host's own.

/// How they begin. Nobody outside may store an event of such a name: journeys and reports take them for
/// facts.
pub const OWN: [&str; 5] = ["email.", "journey.", "segment.", "contact.", "campaign."];

/// Whether only the host itself stores events of this name.
pub fn is_own(name: &str) -> bool {
    OWN.iter().any(|own| name.starts_with(own))
}

/// Says of a name that it is the host's.
pub fn taken(name: &str) -> String {
    let kind = OWN.iter().find(|own| name.starts_with(**own));
    format!(
        "names that begin with {} are those of Hogsend's own events: choose another",
        kind.unwrap_or(&name)
    )
}
