//! An engine outside the database hears of every run that something else than its own advance makes due,
//! moves or ends: each function of `db` that changes runs so calls `rouse`.

use std::collections::BTreeSet;

use crate::sources::parse_folder;
use crate::writes::{Functions, functions};

/// Functions that change a run's row and wake nobody, with the reason.
const SILENT: [(&str, &str); 10] = [
    ("claim", "the caller advances it"),
    ("state_release", "its own advance"),
    ("state_failed", "its own advance"),
    ("states_progress", "its own advance"),
    ("states_person", "its own advance"),
    ("states_renew", "its own advance goes on"),
    (
        "runs_put_aside",
        "its own advance; the end of the pause wakes it",
    ),
    ("state_dismiss", "it is over before and after"),
    ("move_runs", "neither due nor over by that"),
    ("contact_merge", "its runs were moved before"),
];

/// Whether the text is SQL that changes or deletes runs. Deleting a contact deletes its runs.
fn changes_runs(text: &str) -> bool {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.windows(2).any(|pair| {
        matches!(pair, ["UPDATE" | "INTO", "journey_states"])
            || matches!(pair, ["FROM", "contacts" | "journey_states"] if text.contains("DELETE FROM"))
    })
}

fn forgetful(all: &Functions) -> BTreeSet<String> {
    let changing = all
        .texts
        .iter()
        .filter(|(_, texts)| texts.iter().any(|text| changes_runs(text)));
    let mut names: BTreeSet<String> = changing.map(|(name, _)| name.clone()).collect();
    names.retain(|name| {
        !all.uses
            .get(name)
            .is_some_and(|uses| uses.contains("rouse"))
    });
    names
}

#[test]
fn what_makes_runs_due_or_ends_them_wakes_the_engine() {
    let found = forgetful(&functions(&parse_folder("db")));
    let silent: BTreeSet<String> = SILENT.iter().map(|one| one.0.to_owned()).collect();
    let wrong: Vec<_> = found.difference(&silent).collect();
    assert!(
        wrong.is_empty(),
        "{wrong:?} change runs: call `rouse` for those that are due or over now, or say in SILENT why not"
    );
    let idle: Vec<_> = silent.difference(&found).collect();
    assert!(
        idle.is_empty(),
        "{idle:?} change no runs: take them off SILENT"
    );
}

#[test]
fn a_change_of_runs_is_found_in_a_statement_and_a_macro() {
    let source = r##"
        macro_rules! claim { ($due:expr) => { query!("WITH due AS (" + $due + "UPDATE journey_states s SET a = 1") } }
        fn inserts() { query!("INSERT INTO journey_states (id) VALUES ($1)") }
        fn erases() { query!("DELETE FROM contacts WHERE id = $1") }
        fn wakes() { query!("UPDATE journey_states SET a = 1"); rouse([]) }
        fn reads() { query!("SELECT id FROM journey_states FOR UPDATE") }
        fn steps() { query!("UPDATE journey_steps SET a = 1") }
    "##;
    let found = forgetful(&functions(&[syn::parse_str(source).unwrap()]));
    let expected = ["claim", "erases", "inserts"];
    assert_eq!(found, expected.map(str::to_owned).into());
}
