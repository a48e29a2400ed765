//! Applies events one after the other to contacts in memory.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug, PartialEq, Eq)]
struct One {
    ids: BTreeSet<Id>,
    address: Option<String>,
    unconfirmed: bool,
    last_seen: DateTime<Utc>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct World {
    all: BTreeMap<u32, One>,
    made: u32,
    time: i64,
    pending: BTreeSet<(u32, Option<u32>, Option<String>)>,
}

/// `u:1 p:9 n:5 a@x`: a product id, a source's id, a device id and an address.
fn names(text: &str) -> Names {
    let mut names = Names::default();
    for word in text.split_whitespace() {
        match word.split_once(':') {
            Some(("u", value)) => names.ids.push(Id::user(value)),
            Some(("n", value)) => names.ids.push(Id::anonymous(value)),
            Some((_, value)) => names.ids.push(Id::new("posthog_person", value)),
            None => names.address = Some(word.to_owned()),
        }
    }
    names
}

impl World {
    fn known(&self, names: &Names) -> Vec<Known<u32>> {
        let reached = self.all.iter().filter(|(_, one)| {
            names.ids.iter().any(|id| one.ids.contains(id))
                || names.address.is_some() && names.address == one.address
        });
        reached
            .map(|(key, one)| Known {
                key: *key,
                ids: names
                    .ids
                    .iter()
                    .filter(|id| one.ids.contains(id))
                    .cloned()
                    .collect(),
                has_user: one.ids.iter().any(|id| id.kind == USER),
                address: one.address.clone(),
                unconfirmed: one.unconfirmed,
                last_seen: one.last_seen,
            })
            .collect()
    }

    fn take(&mut self, text: &str, trust: Trust) -> About<u32> {
        self.take_names(&names(text), trust, false)
    }

    fn take_names(&mut self, names: &Names, trust: Trust, make: bool) -> About<u32> {
        let known = self.known(names);
        let decision = decide(names, &known, trust, make);
        let mut backwards = known;
        backwards.reverse();
        assert_eq!(
            decision,
            decide(names, &backwards, trust, make),
            "{names:?}"
        );
        self.time += 1;
        let now = DateTime::UNIX_EPOCH + TimeDelta::seconds(self.time);
        let key = match decision.about {
            About::Nobody => return About::Nobody,
            About::Contact(key) => key,
            About::New => {
                self.made += 1;
                let one = One {
                    ids: BTreeSet::new(),
                    address: None,
                    unconfirmed: false,
                    last_seen: now,
                };
                self.all.insert(self.made, one);
                self.made
            }
        };
        if let Some(heir) = decision.inherits {
            let (address, unconfirmed) =
                (self.all[&heir].address.clone(), self.all[&heir].unconfirmed);
            let one = self.all.get_mut(&key).unwrap();
            (one.address, one.unconfirmed) = (address, unconfirmed);
        }
        for (other, _) in &decision.absorbed {
            let gone = self.all.remove(other).unwrap();
            self.all.get_mut(&key).unwrap().ids.extend(gone.ids);
            self.pending
                .retain(|(of, with, _)| of != other && *with != Some(*other));
        }
        let one = self.all.get_mut(&key).unwrap();
        one.last_seen = now;
        for id in decision.gains {
            one.ids.insert(id);
        }
        if let Address::Set { unconfirmed } = decision.address {
            one.address.clone_from(&names.address);
            one.unconfirmed = unconfirmed;
        }
        for pending in decision.pending {
            self.pending.insert(match pending {
                Pending::Address => (key, None, names.address.clone()),
                Pending::Unite(other) => (key, Some(other), None),
            });
        }
        About::Contact(key)
    }

    /// `1 u:1 a@x?, 2 n:5`: every contact with its names; `?` marks an unconfirmed address.
    fn show(&self) -> String {
        let all = self.all.iter().map(|(key, one)| {
            let ids = one.ids.iter().map(|id| match id.kind.as_str() {
                USER => format!(" u:{}", id.value),
                ANONYMOUS => format!(" n:{}", id.value),
                _ => format!(" p:{}", id.value),
            });
            let ids: String = ids.collect();
            let doubt = if one.unconfirmed { "?" } else { "" };
            let address = one.address.as_ref().map(|it| format!(" {it}{doubt}"));
            format!("{key}{ids}{}", address.unwrap_or_default())
        });
        let mut all: Vec<String> = all.collect();
        all.extend(
            self.pending
                .iter()
                .map(|(key, other, address)| match other {
                    Some(other) => format!("{key}={other}"),
                    None => format!("{key}<-{}", address.as_deref().unwrap_or_default()),
                }),
        );
        all.join(", ")
    }
}

/// Events, with `!` for trusted ones, and the contacts afterwards.
const CASES: &[(&[&str], &str)] = &[
    // Product ids.
    (&["! u:1 a@x", "! u:1"], "1 u:1 a@x"),
    (&["! a@x", "! u:1 a@x"], "1 u:1 a@x"),
    (&["! u:1 a@x", "! u:2 a@x"], "1 u:1 a@x, 2 u:2 a@x"),
    (&["! u:1", "! a@x", "! u:1 a@x"], "1 u:1 a@x"),
    (&["! a@x", "! u:1", "! u:1 a@x"], "2 u:1 a@x"),
    (&["! u:1 a@x", "! u:2", "! u:2 a@x"], "1 u:1 a@x, 2 u:2 a@x"),
    (&["! u:1 a@x", "! u:1 b@x"], "1 u:1 b@x"),
    // An address alone means the contact without a product id, else the one seen last.
    (&["! u:1 a@x", "! a@x"], "1 u:1 a@x"),
    (&["! u:1 a@x", "! u:2 a@x", "! a@x"], "1 u:1 a@x, 2 u:2 a@x"),
    // Visitors have no contact until something identifies them.
    (&["! n:5", "n:5", "n:5 p:9"], ""),
    (&["! n:5", "! u:1 n:5"], "1 n:5 u:1"),
    (&["! n:5 a@x", "! u:1 n:5"], "1 n:5 u:1 a@x"),
    (&["! n:5 a@x", "! u:1 n:5 b@x"], "1 n:5 a@x, 2 u:1 b@x"),
    (&["! u:1 n:5", "! a@x n:5"], "1 n:5 u:1 a@x"),
    // Two accounts on one device stay two.
    (
        &["! u:1 n:5", "! u:2 n:5", "! u:2 n:6"],
        "1 n:5 u:1, 2 n:6 u:2",
    ),
    (&["! u:1 a@x n:5", "! b@x n:5"], "1 n:5 u:1 a@x, 2 b@x"),
    // A source's person may have several product ids.
    (&["! u:1 p:9 a@x", "! u:2 p:9 a@x"], "1 p:9 u:1 u:2 a@x"),
    (&["u:1 p:9 a@x", "u:2 p:9 a@x"], "1 p:9 u:1 u:2 a@x?"),
    (&["u:1 p:9", "u:2 p:9 a@x"], "1 p:9 u:1 u:2 a@x?"),
    (
        &["u:1 p:9 a@x", "u:2 p:9 b@x"],
        "1 p:9 u:1 a@x?, 2 u:2 b@x?, 2=1",
    ),
    (
        &["u:1 p:9 a@x", "u:2", "u:2 p:9 b@x"],
        "1 p:9 u:1 a@x?, 2 u:2 b@x?, 2=1",
    ),
    (&["! u:1 p:9 a@x", "! u:2 p:9 b@x"], "1 p:9 u:1 u:2 b@x"),
    (
        &["! u:1", "! u:2", "! u:1 p:9", "! u:2 p:9"],
        "1 p:9 u:1 u:2",
    ),
    (&["u:1", "u:2", "u:1 p:9", "u:2 p:9"], "1 p:9 u:1 u:2"),
    (
        &["! u:1 a@x", "! u:2", "u:1 p:9", "u:2 p:9"],
        "1 p:9 u:1 u:2 a@x",
    ),
    (
        &["! u:1 a@x", "! u:2 b@x", "u:1 p:9", "u:2 p:9"],
        "1 p:9 u:1 a@x, 2 u:2 b@x, 2=1",
    ),
    (
        &["! u:1 a@x", "! u:2 b@x", "! u:1 p:9", "! u:2 p:9"],
        "1 p:9 u:1 u:2 a@x",
    ),
    // An untrusted event adds an address to a contact without one, and replaces none.
    (&["u:1", "u:1 a@x"], "1 u:1 a@x?"),
    (&["u:1 a@x", "! u:1 a@x"], "1 u:1 a@x"),
    (&["! u:1 a@x", "u:1 a@x"], "1 u:1 a@x"),
    (&["! u:1 a@x", "u:1 b@x", "u:1 b@x"], "1 u:1 a@x, 1<-b@x"),
    (&["u:1 a@x", "u:1 b@x"], "1 u:1 a@x?, 1<-b@x"),
    // It may merge contacts of which one has neither product id nor address; else it is pending.
    (&["! a@x", "u:1 a@x"], "1 a@x, 2 u:1 a@x?, 2=1"),
    (&["! a@x", "u:1 a@x", "! u:1 a@x"], "2 u:1 a@x"),
    (&["! a@x", "n:5 a@x"], "1 n:5 a@x"),
    (&["! u:1 a@x", "u:1 n:5", "n:5"], "1 n:5 u:1 a@x"),
    (&["! a@x n:5", "u:1 n:5"], "1 n:5 a@x, 2 u:1, 2=1"),
    (&["! u:1 a@x n:5", "u:2 n:5"], "1 n:5 u:1 a@x, 2 u:2"),
    // A stranger cannot claim another person's id.
    (
        &["! u:1 a@x", "u:1 u:2", "! u:2 b@x"],
        "1 u:1 a@x, 2 u:2 b@x",
    ),
    (
        &["! u:1 a@x", "! u:2 b@x", "u:1 u:2"],
        "1 u:1 a@x, 2 u:2 b@x, 1=2",
    ),
    (&["! u:1 a@x", "! u:1 u:2", "! u:2"], "1 u:1 u:2 a@x"),
    (&["u:1", "u:2", "! u:1 u:2"], "1 u:1 u:2"),
    (
        &["! u:1 a@x", "u:1 a@x p:9", "n:7 p:9"],
        "1 n:7 p:9 u:1 a@x",
    ),
];

#[test]
fn events_make_and_unite_people_as_far_as_they_are_believed() {
    for (events, expected) in CASES {
        let mut world = World::default();
        for event in *events {
            match event.strip_prefix('!') {
                Some(event) => world.take(event, Trust::Trusted),
                None => world.take(event, Trust::Untrusted),
            };
        }
        assert_eq!(world.show(), *expected, "{events:?}");
    }
}

#[test]
fn an_address_shared_means_who_was_seen_last_and_a_visitor_is_made_on_demand() {
    let mut world = World::default();
    for event in ["u:1 a@x", "u:2 a@x", "u:1"] {
        world.take(event, Trust::Trusted);
    }
    assert_eq!(world.take("a@x", Trust::Trusted), About::Contact(1));
    world.take("u:2", Trust::Trusted);
    assert_eq!(world.take("a@x", Trust::Trusted), About::Contact(2));
    assert_eq!(world.take("n:5", Trust::Trusted), About::Nobody);
    let made = world.take_names(&names("n:5"), Trust::Trusted, true);
    assert_eq!(made, About::Contact(3));
    assert_eq!(world.take("n:5", Trust::Untrusted), About::Contact(3));
    assert_eq!(world.take("u:3 n:5", Trust::Untrusted), About::Contact(3));
}

#[test]
fn contacts_with_one_id_or_address_from_before_become_one() {
    let known = |key, ids: &[Id], address: Option<&str>, has_user| Known {
        key,
        ids: ids.to_vec(),
        has_user,
        address: address.map(str::to_owned),
        unconfirmed: false,
        last_seen: DateTime::UNIX_EPOCH,
    };
    let user = [Id::user("1")];
    let twins = [
        known(2, &user, None, true),
        known(1, &user, Some("a@x"), true),
    ];
    let decision = decide(&names("u:1"), &twins, Trust::Untrusted, false);
    assert_eq!(decision.about, About::Contact(1));
    assert_eq!(decision.absorbed, [(2, Link::Same)]);
    let twins = [
        known(2, &[], Some("a@x"), false),
        known(1, &[], Some("a@x"), false),
    ];
    let decision = decide(&names("a@x"), &twins, Trust::Trusted, false);
    assert_eq!(decision.absorbed, [(2, Link::Mailbox)]);
}

#[test]
fn texts_that_programs_write_for_no_id_are_none() {
    for text in [
        "",
        " ",
        "\u{200b}",
        "\0",
        "undefined",
        "UNDEFINED",
        " Undefined ",
        "null",
        "NULL",
        "Null",
        "None",
        "none",
        "NONE",
        "NaN",
        "nan",
        "[object Object]",
        "[OBJECT OBJECT]",
        "0",
        " 0 ",
        "nil",
        "(null)",
        "\"null\"",
        "'undefined'",
        "\"\"",
        "null\u{feff}",
        "-0",
        "0.0",
        "true",
        "False",
        "00000000-0000-0000-0000-000000000000",
        "00000000000000000000000000000000",
        "{00000000-0000-0000-0000-000000000000}",
        "urn:uuid:00000000-0000-0000-0000-000000000000",
    ] {
        assert!(no_id(text).is_some(), "{text:?}");
    }
    for text in [
        "1",
        "00",
        "000",
        "u0",
        "nobody",
        "nullable",
        "None-1",
        "undefined@example.com",
        "-",
        "nano",
        "00000000-0000-0000-0000-000000000001",
        "0000",
        "object",
        "[object Object]1",
        "NaN-x",
    ] {
        assert_eq!(no_id(text), None, "{text:?}");
    }
}

fn event() -> impl Strategy<Value = (Names, bool)> {
    let id = prop_oneof![
        (0..3_u8).prop_map(|n| Id::user(n.to_string())),
        (0..3_u8).prop_map(|n| Id::anonymous(n.to_string())),
        (0..2_u8).prop_map(|n| Id::new("posthog_person", n.to_string())),
    ];
    let address = prop::option::of((0..3_u8).prop_map(|n| format!("{n}@x")));
    (prop::collection::vec(id, 0..4), address, any::<bool>())
        .prop_map(|(ids, address, trusted)| (Names { ids, address }, trusted))
}

proptest! {
    #[test]
    fn whatever_comes_in_whatever_order_ids_stay_unique_and_strangers_decide_nothing(
        events in prop::collection::vec(event(), 1..12),
    ) {
        let mut world = World::default();
        for (names, trusted) in events {
            let before = world.clone();
            let trust = Trust::from(trusted);
            let about = world.take_names(&names, trust, false);
            let mut seen = BTreeSet::new();
            for one in world.all.values() {
                for id in &one.ids {
                    prop_assert!(seen.insert(id.clone()), "{id:?} twice: {}", world.show());
                }
                prop_assert!(!one.ids.is_empty() || one.address.is_some());
            }
            // No id is lost, and no address unless another one replaces it.
            let all = before.all.values().flat_map(|one| &one.ids);
            prop_assert!(all.into_iter().all(|id| seen.contains(id)));
            if let Some(user) = names.user() {
                let About::Contact(key) = about else { panic!("{about:?}") };
                prop_assert!(world.all[&key].ids.contains(user));
            }
            if !trusted {
                for (key, one) in &before.all {
                    let Some(address) = &one.address else { continue };
                    let now = world.all.get(key).or_else(|| {
                        world.all.values().find(|it| one.ids.iter().any(|id| it.ids.contains(id)))
                    });
                    if let Some(now) = now {
                        prop_assert_eq!(now.address.as_ref(), Some(address));
                    }
                }
            }
            // A repetition changes nothing.
            let once = world.clone();
            world.take_names(&names, trust, false);
            let shape = |world: &World| {
                let all = world.all.iter().map(|(key, one)| {
                    (*key, one.ids.clone(), one.address.clone(), one.unconfirmed)
                });
                all.collect::<Vec<_>>()
            };
            prop_assert_eq!(shape(&once), shape(&world));
        }
    }
}
