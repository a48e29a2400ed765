//! The engine's version, and what is too old.

use semver::Version;

/// The first version with the `DurableTask` stream, memos and eviction.
pub const OLDEST: Version = Version::new(0, 80, 0);

/// What a build of the engine without its linker flags answers; it can be any version.
const UNKNOWN: &str = "0.1.0-alpha.0";

/// The version that an engine reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineVersion {
    Known(Version),
    /// The engine does not know: it was built without one, or reports text that is no version.
    Unknown(String),
}

impl EngineVersion {
    /// Reads `v0.101.27`.
    pub fn parse(text: &str) -> Self {
        let number = text.trim().trim_start_matches('v');
        match Version::parse(number) {
            Ok(version) if number != UNKNOWN => Self::Known(version),
            _ => Self::Unknown(text.to_owned()),
        }
    }

    /// Whether it lacks what durable tasks need.
    pub fn is_too_old(&self) -> bool {
        // Pre-releases count as their release.
        matches!(self, Self::Known(it) if (it.major, it.minor) < (OLDEST.major, OLDEST.minor))
    }
}

impl std::fmt::Display for EngineVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Known(version) => write!(f, "v{version}"),
            Self::Unknown(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::EngineVersion;

    #[test]
    fn only_a_known_version_can_be_too_old() {
        for (text, too_old) in [
            ("v0.79.9", true),
            ("v0.80.0-alpha.1", false),
            ("v0.105.1", false),
            ("0.106.5", false),
            ("v1.0.0", false),
            ("v0.1.0-alpha.0", false),
            ("", false),
        ] {
            assert_eq!(EngineVersion::parse(text).is_too_old(), too_old, "{text}");
        }
    }
}
