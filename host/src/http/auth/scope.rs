//! The scopes of API keys.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};
use utoipa::ToSchema;

/// What a key may do. `read`, `journey-admin` and `full-admin` each include the one before. `events`
/// only sends events; `ingest` includes it and allows the product's other calls. `full-admin`
/// includes every scope.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    ToSchema,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Scope {
    Read,
    JourneyAdmin,
    FullAdmin,
    Ingest,
    Events,
}

impl Scope {
    pub const ALL: &'static [Self] = Self::VARIANTS;

    pub fn name(self) -> &'static str {
        self.into()
    }

    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    /// Whether this scope includes `needed`.
    pub fn covers(self, needed: Self) -> bool {
        let rank = |scope| match scope {
            Self::Read => Some(0),
            Self::JourneyAdmin => Some(1),
            Self::FullAdmin => Some(2),
            Self::Ingest | Self::Events => None,
        };
        match (rank(self), rank(needed)) {
            (Some(has), Some(needed)) => has >= needed,
            _ => {
                let includes = self == Self::Ingest && needed == Self::Events;
                self == needed || self == Self::FullAdmin || includes
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Scope::{self, Events, FullAdmin, Ingest, JourneyAdmin, Read};

    #[test]
    fn ranks_include_the_lower_ones_and_the_data_plane_stands_beside_them() {
        let covered = |scope: Scope| {
            let all = Scope::ALL.iter().map(|needed| scope.covers(*needed));
            all.collect::<Vec<_>>()
        };
        assert_eq!(covered(Read), [true, false, false, false, false]);
        assert_eq!(covered(JourneyAdmin), [true, true, false, false, false]);
        assert_eq!(covered(FullAdmin), [true; 5]);
        assert_eq!(covered(Ingest), [false, false, false, true, true]);
        assert_eq!(covered(Events), [false, false, false, false, true]);
        for &scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.name()), Some(scope));
        }
    }
}
