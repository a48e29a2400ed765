//! The descriptions that come with Hogsend. A file of the same name replaces one.

use hogsend_plugin_api::described::Described;

use crate::file;
use crate::source::Source;

/// Ids and descriptions.
pub const PRESETS: [(&str, &str); 6] = [
    ("clerk", include_str!("../presets/clerk.toml")),
    ("intercom", include_str!("../presets/intercom.toml")),
    ("segment", include_str!("../presets/segment.toml")),
    ("stripe", include_str!("../presets/stripe.toml")),
    ("supabase", include_str!("../presets/supabase.toml")),
    (
        "supabase-auth",
        include_str!("../presets/supabase-auth.toml"),
    ),
];

/// The sources of all presets. A test parses each, so none is missing.
pub fn all() -> Vec<Described> {
    let sources = PRESETS.iter().flat_map(|(id, text)| file::parse(id, text));
    sources
        .map(|source: Source| {
            let manifest = source.manifest().optional();
            source.described(manifest, None)
        })
        .collect()
}
