//! Resolves the contact that an event or a call is about: an existing one, a new one, or none yet.
//!
//! A contact has ids, each with a kind and unique, and at most one address, which contacts with
//! product ids may share. [`decide`] takes the names that one event gives a person and the contacts
//! with one of these names, and decides what changes. Its one surprise: an address identifies only a
//! contact without a product id, so two accounts with one mailbox stay two contacts.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Trust;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// The kind of the product's own ids.
pub const USER: &str = "user";
/// The kind of ids of devices and visitors.
pub const ANONYMOUS: &str = "anonymous";

/// An id of a person.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    /// [`USER`], [`ANONYMOUS`], or a source's own kind, for example `posthog_person`.
    pub kind: String,
    /// The id itself.
    pub value: String,
}

impl Id {
    /// An id of any kind.
    pub fn new(kind: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            value: value.into(),
        }
    }

    /// The product's own id of a person.
    pub fn user(value: impl Into<String>) -> Self {
        Self::new(USER, value)
    }

    /// The id of a device or a visitor.
    pub fn anonymous(value: impl Into<String>) -> Self {
        Self::new(ANONYMOUS, value)
    }

    /// Whether it is a source's own id, which the source guarantees to stand for one person.
    fn is_of_source(&self) -> bool {
        self.kind != USER && self.kind != ANONYMOUS
    }
}

/// Why a text cannot be an id: programs write such placeholders when they have no id, so it would
/// merge unrelated people. The reason continues a sentence such as "userId …".
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
    // Some programs write strings with their quotes.
    let bare = seen.trim_matches(['"', '\'']).trim();
    if bare.is_empty() || WORDS.iter().any(|word| bare.eq_ignore_ascii_case(word)) {
        return Some(
            "is no id: programs write it when they have none, so it would merge many people",
        );
    }
    let digits: String = bare
        .trim_start_matches("urn:uuid:")
        .chars()
        .filter(|c| !matches!(c, '-' | '{' | '}'))
        .collect();
    let zeros = digits.len() == 32 && digits.bytes().all(|digit| digit == b'0');
    zeros.then_some("is no id: it is the nil UUID")
}

/// The names an event or a call gives a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The first `user` id names the person; the event claims that the other ids are theirs too.
    pub ids: Vec<Id>,
    /// Normalized with [`comparable`](crate::address::comparable).
    pub address: Option<String>,
}

impl Names {
    /// The product's own id of the person.
    pub fn user(&self) -> Option<&Id> {
        self.ids.iter().find(|id| id.kind == USER)
    }
}

/// A contact with at least one of the names.
#[derive(Clone, Debug)]
pub struct Known<K> {
    /// Older contacts have smaller keys.
    pub key: K,
    /// Which of the names' ids it has.
    pub ids: Vec<Id>,
    /// It has a product id, one of the names or another.
    pub has_user: bool,
    /// The normalized address.
    pub address: Option<String>,
    /// No trusted source has confirmed the address.
    pub unconfirmed: bool,
    /// When the contact was last seen.
    pub last_seen: DateTime<Utc>,
}

/// The contact that the event or call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About<K> {
    /// An existing one.
    Contact(K),
    /// A new one, which the caller creates.
    New,
    /// None: no contact has these names, and they do not identify anyone.
    Nobody,
}

/// The change of the contact's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Address {
    /// No change.
    #[default]
    Stays,
    /// The contact gets the address of the names.
    Set { unconfirmed: bool },
}

/// A change that only a trusted source may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending<K> {
    /// The contact gets the address of the names.
    Address,
    /// The contact is merged with another one.
    Unite(K),
}

/// Why a contact is merged into another one, strongest reason first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// Both have the same unique id; an earlier version could create such contacts.
    Same,
    /// Both have the same source's own id.
    Person,
    /// The event says that another product id belongs to the same person.
    Alias,
    /// Both have the id of the same device or visitor.
    Device,
    /// Both have the same address, and one of them has no product id.
    Mailbox,
}

impl Link {
    /// The stored word for it.
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

/// What changes for the contacts with some names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<K> {
    /// The contact that the event or call is about.
    pub about: About<K>,
    /// Contacts that are merged into it, and why.
    pub absorbed: Vec<(K, Link)>,
    /// The absorbed contact whose address it takes over, where it has none.
    pub inherits: Option<K>,
    /// New ids, which it gets.
    pub gains: Vec<Id>,
    /// The change of its address.
    pub address: Address,
    /// Changes that an untrusted source may not make.
    pub pending: Vec<Pending<K>>,
}

/// Decides which contact the names mean. `known` holds every contact that has one of the ids or the
/// address, in any order. `create` requests a contact even where the names identify nobody, as for an
/// explicit call about a visitor.
pub fn decide<K: Copy + Ord>(
    names: &Names,
    known: &[Known<K>],
    trust: Trust,
    create: bool,
) -> Decision<K> {
    let subject = subject(names, known, trust);
    let identifies = names.user().is_some() || names.address.is_some();
    let made = identifies || create && !names.ids.is_empty();
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
        members: subject.into_iter().collect(),
    };
    let mut others: Vec<&Known<K>> = known
        .iter()
        .filter(|other| subject.is_none_or(|it| it.key != other.key))
        .collect();
    let mut absorbed = Vec::new();
    let mut pending = Vec::new();
    // Strongest first, and again after each merge: a device and a mailbox count by the address that
    // the merged contact has.
    while let Some((at, link)) = others
        .iter()
        .enumerate()
        .filter_map(|(at, other)| Some((at, link(names, subject, other, &one, trust)?)))
        .min_by_key(|(at, link)| (*link, others[*at].key))
    {
        let other = others.remove(at);
        let is_known = |has_user: bool, address: Option<&String>| has_user || address.is_some();
        let both_known = is_known(one.has_user, one.address())
            && is_known(other.has_user, other.address.as_ref());
        // A contact without an address is compared by the event's address.
        let given = one.address().or(names.address.as_ref());
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
        one.members.push(other);
    }

    let kept = one.kept();
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
    let heir = one.heir();
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
        // Otherwise a stranger could claim another person's id and get their mail.
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

/// The contacts merged so far.
struct Person<'a, K> {
    has_user: bool,
    members: Vec<&'a Known<K>>,
}

impl<'a, K: Copy + Ord> Person<'a, K> {
    /// The contact that is kept: the one with the strongest identity; of two equals, the older one.
    fn kept(&self) -> Option<&'a Known<K>> {
        let strongest = |it: &&&Known<K>| (!it.has_user, it.address.is_none(), it.key);
        self.members.iter().min_by_key(strongest).copied()
    }

    /// The contact whose address the kept one has in the end.
    fn heir(&self) -> Option<&'a Known<K>> {
        self.kept().filter(|it| it.address.is_some()).or_else(|| {
            let with = self.members.iter().filter(|it| it.address.is_some());
            with.min_by_key(|it| (it.unconfirmed, !it.has_user, it.key))
                .copied()
        })
    }

    fn address(&self) -> Option<&'a String> {
        self.heir().and_then(|it| it.address.as_ref())
    }
}

/// The contact with the strongest of the names.
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
    // A different address means another person on the same device.
    (!trust.is_trusted() || fits(found.address.as_ref(), names.address.as_ref())).then_some(found)
}

/// Why the other contact is the same person; `None` where it is not.
fn link<K: Copy + Ord>(
    names: &Names,
    subject: Option<&Known<K>>,
    other: &Known<K>,
    one: &Person<'_, K>,
    trust: Trust,
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
        // A trusted source replaces the address, so the new one is compared.
        let given = names.address.as_ref();
        let address = match trust.is_trusted() {
            true => given.or(one.address()),
            false => one.address().or(given),
        };
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

/// Whether they are equal or one is missing.
fn fits(a: Option<&String>, b: Option<&String>) -> bool {
    a.is_none() || b.is_none() || a == b
}

#[cfg(test)]
mod tests;
