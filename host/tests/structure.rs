//! Checks the structure of the host by the imports of its files.
//!
//! Modules depend on each other in one direction: [`MODULES`] lists them lowest first, each with the
//! modules it may use. Files must not import each other in a circle, but a folder's `mod.rs` may share types
//! with the files of its folder. Entry points do not write: `structure/writes.rs`. Changes of runs wake
//! engines: `structure/wakes.rs`.

#[path = "structure/sources.rs"]
mod sources;
#[path = "structure/wakes.rs"]
mod wakes;
#[path = "structure/writes.rs"]
mod writes;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sources::{File, Words, read};

/// Every module of the host, lowest first, with the modules it may use. A module may use only modules
/// listed before it, so there can be no circle.
const MODULES: &[(&str, &[&str])] = &[
    // Utilities without domain knowledge.
    ("ids", &[]),
    ("clock", &[]),
    ("private", &[]),
    ("states", &[]),
    ("nearest", &[]),
    ("backoff", &[]),
    ("crew", &[]),
    ("durations", &[]),
    ("event_names", &[]),
    ("http_client", &[]),
    ("linked_plugins", &[]),
    ("purpose", &[]),
    ("foreign", &[]),
    (
        "config",
        &["clock", "durations", "event_names", "nearest", "purpose"],
    ),
    ("telemetry", &["clock", "config", "http_client"]),
    ("refusals", &["telemetry"]),
    ("cache", &["clock", "http_client", "telemetry"]),
    ("limits", &["cache", "clock"]),
    // The store and the plugins.
    ("db", &["ids", "private", "states", "telemetry"]),
    (
        "plugins",
        &[
            "backoff",
            "cache",
            "clock",
            "foreign",
            "http_client",
            "ids",
            "linked_plugins",
            "private",
            "purpose",
            "telemetry",
        ],
    ),
    ("loops", &["db", "telemetry"]),
    ("audit", &["db", "foreign", "ids"]),
    ("keys", &["audit", "db", "ids", "loops"]),
    ("mailbox", &[]),
    ("memory", &[]),
    ("rounds", &[]),
    ("signed_link", &["db", "ids", "mailbox"]),
    ("calls", &["clock", "db", "ids", "plugins", "rounds"]),
    ("templates", &["config", "nearest"]),
    ("catalog", &["config", "nearest", "plugins", "templates"]),
    ("installed", &["catalog", "clock", "config", "plugins"]),
    ("pauses", &["audit", "db", "ids", "states"]),
    (
        "context",
        &[
            "cache",
            "calls",
            "catalog",
            "clock",
            "config",
            "db",
            "ids",
            "installed",
            "loops",
            "mailbox",
            "pauses",
            "plugins",
            "signed_link",
        ],
    ),
    // Notifications of other systems.
    (
        "webhooks",
        &[
            "audit",
            "context",
            "db",
            "foreign",
            "http_client",
            "ids",
            "states",
            "telemetry",
        ],
    ),
    ("run_ended", &["ids", "webhooks"]),
    (
        "restore",
        &[
            "audit", "context", "db", "ids", "loops", "pauses", "private", "states",
        ],
    ),
    // The product: contacts, enrolment, ingest, mail, runs.
    (
        "contacts",
        &[
            "audit",
            "catalog",
            "context",
            "db",
            "foreign",
            "ids",
            "mailbox",
            "run_ended",
            "webhooks",
        ],
    ),
    (
        "enrolment",
        &[
            "audit",
            "catalog",
            "contacts",
            "context",
            "db",
            "ids",
            "mailbox",
            "run_ended",
            "states",
            "webhooks",
            "telemetry",
        ],
    ),
    (
        "ingest",
        &[
            "audit",
            "catalog",
            "clock",
            "config",
            "contacts",
            "context",
            "crew",
            "db",
            "enrolment",
            "event_names",
            "foreign",
            "ids",
            "installed",
            "nearest",
            "run_ended",
            "webhooks",
            "telemetry",
        ],
    ),
    (
        "backfill",
        &[
            "audit",
            "config",
            "context",
            "db",
            "enrolment",
            "ids",
            "ingest",
            "plugins",
        ],
    ),
    (
        "mail",
        &[
            "audit",
            "backoff",
            "calls",
            "config",
            "contacts",
            "context",
            "db",
            "ids",
            "ingest",
            "mailbox",
            "nearest",
            "pauses",
            "plugins",
            "purpose",
            "restore",
            "signed_link",
            "states",
            "templates",
            "webhooks",
            "telemetry",
        ],
    ),
    (
        "runs",
        &[
            "audit",
            "backoff",
            "calls",
            "catalog",
            "contacts",
            "context",
            "db",
            "enrolment",
            "foreign",
            "ids",
            "ingest",
            "mail",
            "pauses",
            "plugins",
            "rounds",
            "run_ended",
            "states",
            "webhooks",
            "telemetry",
        ],
    ),
    (
        "dead_letters",
        &["audit", "context", "db", "ids", "mail", "runs", "states"],
    ),
    (
        "alerts",
        &[
            "audit", "context", "db", "foreign", "ids", "ingest", "loops", "mail", "pauses",
            "states", "webhooks",
        ],
    ),
    (
        "accounts",
        &["audit", "context", "db", "ids", "ingest", "limits", "mail"],
    ),
    // The entry points.
    (
        "app",
        &[
            "accounts",
            "cache",
            "calls",
            "clock",
            "config",
            "context",
            "db",
            "ingest",
            "installed",
            "keys",
            "limits",
            "mailbox",
            "refusals",
            "signed_link",
            "webhooks",
        ],
    ),
    (
        "worker",
        &[
            "alerts",
            "app",
            "audit",
            "backfill",
            "backoff",
            "clock",
            "config",
            "contacts",
            "crew",
            "db",
            "ids",
            "ingest",
            "enrolment",
            "loops",
            "mail",
            "plugins",
            "restore",
            "runs",
            "webhooks",
            "pauses",
            "states",
            "telemetry",
        ],
    ),
    (
        "http",
        &[
            "accounts",
            "alerts",
            "app",
            "audit",
            "catalog",
            "clock",
            "contacts",
            "db",
            "dead_letters",
            "enrolment",
            "foreign",
            "ids",
            "ingest",
            "keys",
            "limits",
            "loops",
            "mail",
            "nearest",
            "pauses",
            "plugins",
            "purpose",
            "restore",
            "runs",
            "signed_link",
            "states",
            "templates",
            "webhooks",
            "worker",
            "telemetry",
        ],
    ),
    (
        "cli",
        &[
            "accounts",
            "app",
            "audit",
            "backfill",
            "cache",
            "catalog",
            "clock",
            "config",
            "crew",
            "db",
            "durations",
            "http",
            "http_client",
            "ids",
            "installed",
            "keys",
            "loops",
            "mail",
            "memory",
            "nearest",
            "pauses",
            "plugins",
            "purpose",
            "private",
            "restore",
            "runs",
            "states",
            "telemetry",
            "templates",
            "worker",
        ],
    ),
    (
        "fuzz",
        &[
            "contacts",
            "foreign",
            "linked_plugins",
            "plugins",
            "signed_link",
        ],
    ),
];

#[test]
fn modules_use_only_what_stands_below_them() {
    let files = read();
    for (at, (name, uses)) in MODULES.iter().enumerate() {
        for used in *uses {
            let below = MODULES[..at].iter().any(|(one, _)| one == used);
            assert!(
                below,
                "`{name}` lists `{used}`, which is not before it in MODULES"
            );
        }
    }
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for file in &files {
        let Some(module) = file.module.first() else {
            continue;
        };
        let Some((_, allowed)) = MODULES.iter().find(|(name, _)| name == module) else {
            if module != "main" {
                wrong.push(format!("`{module}` is not listed in MODULES"));
            }
            continue;
        };
        for path in &file.names {
            let Some(used) = path.first().filter(|used| *used != module) else {
                continue;
            };
            if !MODULES.iter().any(|(name, _)| name == used) {
                continue;
            }
            found
                .entry(module.clone())
                .or_default()
                .insert(used.clone());
            if !allowed.contains(&used.as_str()) {
                let (from, to) = (file.module.join("/"), path.join("::"));
                wrong.push(format!("{from} names {to}, which `{module}` may not use"));
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (module, allowed) in MODULES {
        let used = found.get(*module).cloned().unwrap_or_default();
        let idle: Vec<_> = allowed.iter().filter(|one| !used.contains(**one)).collect();
        assert!(
            idle.is_empty(),
            "`{module}` does not use {idle:?}: take it off the list"
        );
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let files = read();
    let places: HashMap<&Words, usize> = files
        .iter()
        .enumerate()
        .map(|(at, file)| (&file.module, at))
        .collect();
    let mut edges: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); files.len()];
    for (from, file) in files.iter().enumerate() {
        for path in &file.names {
            let Some(to) = home(&files, &places, path, 0) else {
                continue;
            };
            // A folder's `mod.rs` and its files count as one.
            let shared =
                |one: &File, other: &File| one.is_folder && other.module.starts_with(&one.module);
            if to != from && !shared(file, &files[to]) && !shared(&files[to], file) {
                edges[from].insert(to);
            }
        }
    }
    for start in 0..files.len() {
        if let Some(circle) = back_to(start, &edges) {
            let names: Vec<String> = circle
                .iter()
                .map(|at| files[*at].module.join("/"))
                .collect();
            panic!(
                "these files import each other in a circle: {}",
                names.join(" -> ")
            );
        }
    }
}

/// The file a path leads to, followed through re-exports.
fn home(
    files: &[File],
    places: &HashMap<&Words, usize>,
    path: &Words,
    depth: usize,
) -> Option<usize> {
    let length = (1..=path.len())
        .rev()
        .find(|n| places.contains_key(&path[..*n].to_vec()))?;
    let at = places[&path[..length].to_vec()];
    let next = path.get(length);
    match next.and_then(|name| files[at].exports.get(name)) {
        Some(further) if depth < 8 => home(files, places, further, depth + 1).or(Some(at)),
        // Naming a module alone does not use anything in it.
        _ => next.map(|_| at),
    }
}

/// A path of imports from a file back to itself, if there is one.
fn back_to(start: usize, edges: &[BTreeSet<usize>]) -> Option<Vec<usize>> {
    let mut before: HashMap<usize, usize> = HashMap::new();
    let mut next = vec![start];
    while let Some(at) = next.pop() {
        for to in &edges[at] {
            if *to == start {
                let mut way = vec![start, at];
                while let Some(one) = before.get(way.last()?) {
                    way.push(*one);
                }
                way.reverse();
                return Some(way);
            }
            if *to != start && !before.contains_key(to) {
                before.insert(*to, at);
                next.push(*to);
            }
        }
    }
    None
}

/// An engine outside the database is a folder and its settings; everything else asks the seam.
#[test]
fn only_its_folder_and_its_settings_know_an_engine_by_its_name() {
    let named = sources::naming("hatchet");
    let known = ["config/", "worker/engine/mod.rs", "worker/engine/hatchet/"];
    let (at_home, elsewhere): (Vec<_>, Vec<_>) = named
        .into_iter()
        .partition(|name| known.iter().any(|place| name.starts_with(place)));
    assert!(at_home.len() > 10, "{at_home:?}");
    assert_eq!(elsewhere, Vec::<String>::new());
}
