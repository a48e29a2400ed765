//! What a mail is for. Mailbox providers judge a sender by all of its mail, so password resets come from
//! another sender, and go through another provider, than what people unsubscribe from.

use hogsend_plugin_api::Mail;
use strum::{IntoStaticStr, VariantNames};

/// The purpose of a mail: its category is `transactional`, or any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Purpose {
    Lifecycle,
    Transactional,
}

impl Purpose {
    pub const ALL: [Self; 2] = [Self::Lifecycle, Self::Transactional];

    /// The purpose that the mail's plugin sees. A test of a lifecycle template is a lifecycle mail, though
    /// it is queued like a transactional one.
    pub fn of(mail: &Mail) -> Self {
        Self::when(mail.is_transactional())
    }

    pub fn when(transactional: bool) -> Self {
        match transactional {
            true => Self::Transactional,
            false => Self::Lifecycle,
        }
    }

    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A value for each purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByPurpose<T> {
    pub lifecycle: T,
    pub transactional: T,
}

impl<T> ByPurpose<T> {
    pub fn of(&self, purpose: Purpose) -> &T {
        match purpose {
            Purpose::Lifecycle => &self.lifecycle,
            Purpose::Transactional => &self.transactional,
        }
    }
}

impl<T: Clone> ByPurpose<T> {
    /// The same for both.
    pub fn both(value: T) -> Self {
        Self {
            lifecycle: value.clone(),
            transactional: value,
        }
    }
}

/// Ids, in order of preference.
impl ByPurpose<Vec<String>> {
    /// Every id once: those of lifecycle mail first.
    pub fn union(&self) -> Vec<String> {
        let mut all = self.lifecycle.clone();
        let others = self.transactional.iter();
        all.extend(others.filter(|id| !self.lifecycle.contains(id)).cloned());
        all
    }

    /// The purposes whose list has this id.
    pub fn purposes(&self, id: &str) -> Vec<Purpose> {
        let has = |purpose: &Purpose| self.of(*purpose).iter().any(|one| one == id);
        Purpose::ALL.into_iter().filter(has).collect()
    }

    /// Both orders in one line; a single one where they are the same.
    pub fn describe(&self) -> String {
        let lifecycle = self.lifecycle.join(", ");
        if self.lifecycle == self.transactional {
            return lifecycle;
        }
        format!(
            "{lifecycle}; transactional mail through {}",
            self.transactional.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{ByPurpose, Purpose};

    #[test]
    fn a_provider_of_both_purposes_is_one_provider() {
        let ids = |all: &[&str]| all.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let both = ByPurpose::both(ids(&["swift", "postal"]));
        assert_eq!(both.union(), ["swift", "postal"]);
        assert_eq!(both.describe(), "swift, postal");
        let apart = ByPurpose {
            lifecycle: ids(&["swift", "postal"]),
            transactional: ids(&["courier", "swift"]),
        };
        assert_eq!(apart.union(), ["swift", "postal", "courier"]);
        assert_eq!(apart.purposes("swift"), Purpose::ALL);
        assert_eq!(apart.purposes("courier"), [Purpose::Transactional]);
        assert_eq!(
            apart.describe(),
            "swift, postal; transactional mail through courier, swift"
        );
    }
}
