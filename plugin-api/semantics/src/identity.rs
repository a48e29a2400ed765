//! Who an event or a call is about: somebody known, somebody new, or nobody yet.
//!
//! A contact has ids, each of a kind and unique, and at most one address, which people with ids of
//! the product may share. [`decide`] takes the names that one event gives a person and the contacts
//! they reach, and says what becomes of them. Its one surprise: an address identifies only a contact
//! without an id of the product, so two accounts with one mailbox stay two people.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Trust;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// The kind of the product's own ids.
pub const USER: &str = "user";
/// The kind of ids of devices and visitors.
pub const ANONYMOUS: &str = "anonymous";

/// What a person is called by, besides an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    /// [`USER`], [`ANONYMOUS`], or a kind that a source brings, as `posthog_person`.
    pub kind: String,
    pub value: String,
}

impl Id {
    pub fn new(kind: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            value: value.into(),
        }
    }

    pub fn user(value: impl Into<String>) -> Self {
        Self::new(USER, value)
    }

    pub fn anonymous(value: impl Into<String>) -> Self {
        Self::new(ANONYMOUS, value)
    }

    /// A source made the kind, so the source vouches that it stands for one person.
    fn is_of_source(&self) -> bool {
        self.kind != USER && self.kind != ANONYMOUS
    }
}

/// Why a text is no id: programs write these where they have none, so they would make one person of
/// strangers. The reason continues a sentence as "userId …".
///
/// ```
/// use hogsend_semantics::identity::no_id;
///
/// assert!(no_id("[Object object]").is_some());
/// assert!(no_id("u-0").is_none());
/// ```
pub fn no_id(text: &str) -> Option<&'static str> {
    const WORDS: [&str; 12] = [
        "undefined",
        "null",
        "(null)",
        "none",
        "nil",
        "nan",
        "[object object]",
        "true",
        "false",
        "0",
        "-0",
        "0.0",
    ];
    let seen = text
        .chars()
        .filter(|c| c.general_category() != GeneralCategory::Format && !c.is_control());
    let seen: String = seen.collect();
    let seen = seen.trim();
    if seen.is_empty() {
        return Some("must not be empty");
    }
    // Some programs write texts with their quotes.
    let bare = seen.trim_matches(['"', '\'']).trim();
    if bare.is_empty() || WORDS.iter().any(|word| bare.eq_ignore_ascii_case(word)) {
        return Some(
            "is no id: programs write it where they have none, so it would be many people",
        );
    }
    let digits: String = bare
        .trim_start_matches("urn:uuid:")
        .chars()
        .filter(|c| !matches!(c, '-' | '{' | '}'))
        .collect();
    let zeros = digits.len() == 32 && digits.bytes().all(|digit| digit == b'0');
    zeros.then_some("is no id: it is the UUID that stands for nothing")
}

/// The names an event or a call gives a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The first `user` id is what the person is called; further ids are claimed to be theirs.
    pub ids: Vec<Id>,
    /// In its normal form (`address::comparable`).
    pub address: Option<String>,
}

impl Names {
    /// The product's own id of the person.
    pub fn user(&self) -> Option<&Id> {
        self.ids.iter().find(|id| id.kind == USER)
    }
}

/// A contact that the names reach.
#[derive(Clone, Debug)]
pub struct Known<K> {
    /// Older contacts have smaller keys.
    pub key: K,
    /// Which of the names' ids it has.
    pub ids: Vec<Id>,
    /// It has an id of the product, whichever.
    pub has_user: bool,
    /// In its normal form.
    pub address: Option<String>,
    /// Nobody who is believed has said that the address is theirs.
    pub unconfirmed: bool,
    pub last_seen: DateTime<Utc>,
}

/// Who it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About<K> {
    Contact(K),
    /// A contact is made.
    New,
    /// Nobody is known by these names, and they do not identify anybody.
    Nobody,
}

/// What becomes of the address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Address {
    #[default]
    Stays,
    /// The contact gets the address of the names.
    Set { unconfirmed: bool },
}

/// What only somebody who is believed may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending<K> {
    /// The contact gets the address of the names.
    Address,
    /// It and another contact are one person.
    Unite(K),
}

/// Why a contact goes up in another one. The strongest comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// Both have one unique id, as a version before could make them.
    Same,
    /// The source's own id of the person.
    Person,
    /// The event says that another id of the product is the same person's.
    Alias,
    /// One device or visitor.
    Device,
    /// One address, and one of them is known by nothing better.
    Mailbox,
}

impl Link {
    pub fn name(self) -> &'static str {
        match self {
            Self::Same => "same_id",
            Self::Person => "person_id",
            Self::Alias => "alias",
            Self::Device => "anonymous_id",
            Self::Mailbox => "address",
        }
    }
}

/// What becomes of the people that some names reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<K> {
    pub about: About<K>,
    /// Contacts that go up in the one it is about.
    pub absorbed: Vec<(K, Link)>,
    /// Whose address it gets, where its own is none: one of those absorbed.
    pub inherits: Option<K>,
    /// Ids nobody had, which are its own now.
    pub gains: Vec<Id>,
    pub address: Address,
    pub pending: Vec<Pending<K>>,
}

/// Decides who the names mean. `known` holds every contact that has one of the ids or the address,
/// in any order. `make` asks for a contact even where the names identify nobody, as an explicit call
/// about a visitor does.
pub fn decide<K: Copy + Ord>(
    names: &Names,
    known: &[Known<K>],
    trust: Trust,
    make: bool,
) -> Decision<K> {
    let subject = subject(names, known, trust);
    let identifies = names.user().is_some() || names.address.is_some();
    let made = identifies || make && !names.ids.is_empty();
    if subject.is_none() && !made {
        return Decision {
            about: About::Nobody,
            absorbed: Vec::new(),
            inherits: None,
            gains: Vec::new(),
            address: Address::Stays,
            pending: Vec::new(),
        };
    }

    let mut one = Person {
        has_user: names.user().is_some() || subject.is_some_and(|it| it.has_user),
        address: subject.and_then(|it| it.address.clone()),
        members: subject.into_iter().collect(),
    };
    let mut others: Vec<(Link, &Known<K>)> = known
        .iter()
        .filter(|other| subject.is_none_or(|it| it.key != other.key))
        .filter_map(|other| Some((link(names, subject, other, &one)?, other)))
        .collect();
    others.sort_by_key(|(link, other)| (*link, other.key));
    let mut absorbed = Vec::new();
    let mut pending = Vec::new();
    for (link, other) in others {
        let is_known = |has_user: bool, address: &Option<String>| has_user || address.is_some();
        let both_known =
            is_known(one.has_user, &one.address) && is_known(other.has_user, &other.address);
        // The address the event gives counts as the person's where they have none.
        let given = one.address.as_ref().or(names.address.as_ref());
        let may = trust.is_trusted()
            || link == Link::Same
            || !both_known
            || link == Link::Person && fits(given, other.address.as_ref());
        if !may {
            pending.push(Pending::Unite(other.key));
            continue;
        }
        absorbed.push((other.key, link));
        one.has_user |= other.has_user;
        if one.address.is_none() {
            one.address.clone_from(&other.address);
        }
        one.members.push(other);
    }

    // Whoever is known best goes on, and of two the one known longest.
    let kept = one
        .members
        .iter()
        .min_by_key(|it| (!it.has_user, it.address.is_none(), it.key))
        .copied();
    absorbed.extend(
        subject
            .filter(|it| kept.is_some_and(|kept| kept.key != it.key))
            .map(|it| {
                let by = absorbed
                    .iter()
                    .find(|(key, _)| Some(*key) == kept.map(|it| it.key));
                (it.key, by.map_or(Link::Same, |(_, link)| *link))
            }),
    );
    absorbed.retain(|(key, _)| kept.is_none_or(|kept| kept.key != *key));
    let heir = kept.filter(|it| it.address.is_some()).or_else(|| {
        let with = one.members.iter().filter(|it| it.address.is_some());
        with.min_by_key(|it| (it.unconfirmed, !it.has_user, it.key))
            .copied()
    });
    let confirmed = heir.is_some_and(|heir| {
        let mut same = one.members.iter().filter(|it| it.address == heir.address);
        same.any(|it| !it.unconfirmed)
    });
    let address = match (&names.address, heir.and_then(|it| it.address.as_ref())) {
        (Some(given), Some(own)) if given == own => {
            let confirms = trust.is_trusted() || confirmed;
            match confirms && kept.is_some_and(|it| it.unconfirmed || it.address.is_none()) {
                true => Address::Set { unconfirmed: false },
                false => Address::Stays,
            }
        }
        (Some(_), None) => Address::Set {
            unconfirmed: !trust.is_trusted(),
        },
        (Some(_), Some(_)) if trust.is_trusted() => Address::Set { unconfirmed: false },
        (Some(_), Some(_)) => {
            pending.push(Pending::Address);
            Address::Stays
        }
        (None, _) => Address::Stays,
    };
    let owned = |id: &Id| known.iter().any(|it| it.ids.contains(id));
    let gains = names
        .ids
        .iter()
        .enumerate()
        .filter(|(at, id)| !names.ids[..*at].contains(id) && !owned(id))
        // A stranger could claim somebody's id, and get their mail.
        .filter(|(_, id)| trust.is_trusted() || id.kind != USER || names.user() == Some(id))
        .map(|(_, id)| id.clone())
        .collect();
    Decision {
        about: kept.map_or(About::New, |it| About::Contact(it.key)),
        inherits: heir
            .filter(|heir| kept.is_some_and(|it| it.key != heir.key))
            .map(|it| it.key),
        absorbed,
        gains,
        address,
        pending,
    }
}

/// What is known of the person so far.
struct Person<'a, K> {
    has_user: bool,
    address: Option<String>,
    members: Vec<&'a Known<K>>,
}

/// The contact that the names call by their best name.
fn subject<'a, K: Copy + Ord>(
    names: &'a Names,
    known: &'a [Known<K>],
    trust: Trust,
) -> Option<&'a Known<K>> {
    let having = |id: &'a Id| known.iter().filter(move |it| it.ids.contains(id));
    if let Some(user) = names.user() {
        return having(user).min_by_key(|it| it.key);
    }
    let best = |it: &&Known<K>| (!it.has_user, it.address.is_none(), it.key);
    let of_source = names.ids.iter().filter(|id| id.is_of_source());
    if let Some(found) = of_source.flat_map(having).min_by_key(best) {
        return Some(found);
    }
    if let Some(address) = &names.address {
        let holders = known
            .iter()
            .filter(|it| it.address.as_ref() == Some(address));
        let found = holders.min_by_key(|it| match it.has_user {
            false => (false, None, it.key),
            true => (true, Some(std::cmp::Reverse(it.last_seen)), it.key),
        });
        if found.is_some() {
            return found;
        }
    }
    let devices = names.ids.iter().filter(|id| id.kind == ANONYMOUS);
    let found = devices.flat_map(having).min_by_key(best)?;
    // Another address is another person on the same device.
    (!trust.is_trusted() || fits(found.address.as_ref(), names.address.as_ref())).then_some(found)
}

/// Why the other contact is the same person, where it is.
fn link<K: Copy + Ord>(
    names: &Names,
    subject: Option<&Known<K>>,
    other: &Known<K>,
    one: &Person<'_, K>,
) -> Option<Link> {
    let shared = |id: &Id| subject.is_some_and(|it| it.ids.contains(id));
    let mut found = other.ids.iter().filter_map(|id| {
        if !names.ids.contains(id) {
            return None;
        }
        if shared(id) && id.kind != ANONYMOUS {
            return Some(Link::Same);
        }
        if id.is_of_source() {
            return Some(Link::Person);
        }
        if id.kind == USER {
            return Some(Link::Alias);
        }
        let address = one.address.as_ref().or(names.address.as_ref());
        (!(one.has_user && other.has_user) && fits(address, other.address.as_ref()))
            .then_some(Link::Device)
    });
    let by_id = found.by_ref().min();
    let mailbox = names.address.is_some() && names.address == other.address && !other.has_user;
    by_id
        .into_iter()
        .chain(mailbox.then_some(Link::Mailbox))
        .min()
}

/// Equal, or one of them is not known.
fn fits(a: Option<&String>, b: Option<&String>) -> bool {
    a.is_none() || b.is_none() || a == b
}

#[cfg(test)]
mod tests;
