//! What each fault of a plugin does to its host, in the host's process and in a child.

use std::process::Command;

use hogsend::plugins::{ErrorKind, Registry};
use hogsend_plugin_api::{Attempt, Prepared, SendOutcome, Settings};

use crate::isolation::{faults, read, start};
use crate::plugins::library;

pub const INSIDE: &str = "isolation = \"none\"";
/// The limit ends the plugin that takes memory without end before it takes the machine's.
pub const APART: &str = "[[plugin]]\nfile = \"faults.so\"\nmemory_mb = 300";

/// What a fault comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// The call is answered.
    Answered,
    /// The call fails; the plugin answers the next one.
    Fails(ErrorKind),
    /// The process of the host ends. What follows for the run or mail of the call is in `crash.rs`.
    HostEnds,
    /// Hogsend refuses the plugin at start, with this code.
    Refused(&'static str),
    /// Nothing is promised.
    Unbounded,
}

use End::{Answered, Fails, HostEnds, Refused, Unbounded};
use ErrorKind::{Deadline, Ended, Panicked, Protocol};

/// A fault of a call, with what it comes to in the host's process and in a child.
const CALLS: &[(&str, End, End)] = &[
    ("none", Answered, Answered),
    ("print", Answered, Answered),
    ("panic", Fails(Panicked), Fails(Panicked)),
    ("twice", HostEnds, Fails(Ended)),
    ("abort", HostEnds, Fails(Ended)),
    ("exit", HostEnds, Fails(Ended)),
    ("segv", HostEnds, Fails(Ended)),
    ("stack", HostEnds, Fails(Ended)),
    ("alloc", HostEnds, Fails(Ended)),
    ("memory", Unbounded, Fails(Ended)),
    ("loop", Fails(Deadline), Fails(Deadline)),
    ("long", Fails(Protocol), Fails(Protocol)),
];

/// A fault of `manifest`, likewise. Each name has six letters at most.
const MANIFESTS: &[(&str, End, End)] = &[
    ("panic", Refused("PLUGIN-009"), Refused("PLUGIN-009")),
    ("abort", HostEnds, Refused("PLUGIN-021")),
    ("exit", HostEnds, Refused("PLUGIN-021")),
    ("segv", HostEnds, Refused("PLUGIN-021")),
    ("memory", Unbounded, Refused("PLUGIN-021")),
    ("loop", Refused("PLUGIN-022"), Refused("PLUGIN-022")),
];

/// A fault of `new`, likewise.
const NEWS: &[(&str, End, End)] = &[
    ("panic", Refused("PLUGIN-011"), Refused("PLUGIN-011")),
    ("abort", HostEnds, Refused("PLUGIN-011")),
    ("exit", HostEnds, Refused("PLUGIN-011")),
    ("stack", HostEnds, Refused("PLUGIN-011")),
    ("memory", Unbounded, Refused("PLUGIN-011")),
    ("loop", Refused("PLUGIN-011"), Refused("PLUGIN-011")),
];

/// The ends that are right. A slow machine does not write the long answer in time.
fn ends(fault: &str, expected: End) -> Vec<End> {
    match fault {
        // On its way the answer takes several times its size: a child may meet its limit of memory first.
        "long" => vec![expected, Fails(Deadline), Fails(Ended)],
        _ => vec![expected],
    }
}

/// Where a fault is committed.
#[derive(Clone, Copy, Debug)]
enum Place {
    Manifest,
    New,
    Read,
    Send,
}

/// Commits a fault in this process or in a child, and says what came of it.
async fn commit(place: Place, fault: &str, plan: &str) -> End {
    let folder = faults(plan);
    let mut settings = Settings::default();
    match place {
        Place::Manifest => spoil(folder.path(), fault),
        Place::New => settings.insert("FAULTS_AT_NEW", fault),
        Place::Read | Place::Send => {}
    }
    let plugins = match start(folder.path(), settings).await {
        Ok(plugins) => plugins,
        Err(problems) => {
            assert_eq!(problems.len(), 1, "{problems:?}");
            let named = problems[0].message.contains("faults");
            assert!(
                named && !problems[0].message.contains('\n'),
                "{}",
                problems[0]
            );
            return Refused(problems[0].code);
        }
    };
    let end = match place {
        Place::Send => send(&plugins, fault).await,
        _ => read(&plugins, fault).await.map(|_| ()),
    };
    let Err(error) = end else {
        return Answered;
    };
    // It asked for nothing, so nothing was sent.
    assert!(!error.begun, "{place:?} {fault}: {error}");
    let next = read(&plugins, "none").await;
    assert!(next.is_ok(), "{place:?} {fault}: {next:?}");
    Fails(error.kind)
}

/// Hands a mail over.
async fn send(plugins: &Registry, fault: &str) -> Result<(), hogsend::plugins::PluginError> {
    let prepared = Prepared::new("text/plain", fault);
    let attempt = Attempt::new("key", prepared, Default::default(), 1);
    let sent = plugins.delivery("faults").unwrap().send(attempt).await?;
    assert_eq!(sent.outcome, SendOutcome::accepted("taken"));
    Ok(())
}

/// Replaces the name of the fault of `manifest` in the library.
pub fn spoil(folder: &std::path::Path, fault: &str) {
    let file = folder.join("faults.so");
    let mut bytes = std::fs::read(library("faults")).unwrap();
    let mark = b"fault at manifest:none..";
    let mut places = bytes.windows(mark.len()).enumerate();
    let at = places.position(|(_, part)| part == mark).unwrap() + mark.len() - 6;
    bytes[at..at + 6].copy_from_slice(format!("{fault:.<6}").as_bytes());
    std::fs::write(file, bytes).unwrap();
}

fn rows() -> impl Iterator<Item = (Place, &'static str, End, End)> {
    let all = [
        (Place::Manifest, MANIFESTS),
        (Place::New, NEWS),
        (Place::Read, CALLS),
        (Place::Send, CALLS),
    ];
    all.into_iter().flat_map(|(place, rows)| {
        // A mail's outcome cannot be long.
        let fits = move |(fault, ..): &&(&str, End, End)| {
            !(matches!(place, Place::Send) && *fault == "long")
        };
        let rows = rows.iter().filter(fits);
        rows.map(move |(fault, inside, apart)| (place, *fault, *inside, *apart))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fault_of_a_plugin_in_a_child_ends_the_host() {
    let rows: Vec<_> = rows().collect();
    // A few at once: some wait for a deadline, others need the processor.
    for some in rows.chunks(8) {
        let rows = some.iter().map(|(place, fault, _, expected)| {
            let (place, fault, expected) = (*place, *fault, *expected);
            tokio::spawn(async move {
                let end = commit(place, fault, APART).await;
                let right = ends(fault, expected).contains(&end);
                (!right).then(|| format!("{place:?} {fault}: {end:?}"))
            })
        });
        let wrong: Vec<_> = futures_util::future::join_all(rows)
            .await
            .into_iter()
            .filter_map(Result::unwrap)
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

/// Each row runs in a process of its own, as some end it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_of_a_plugin_in_the_hosts_process_ends_its_call_or_the_process() {
    let rows: Vec<_> = rows().collect();
    for some in rows.chunks(8) {
        let rows = some.iter().map(|row| {
            let (place, fault, expected, _) = *row;
            let number = rows.iter().position(|one| std::ptr::eq(one, row)).unwrap();
            tokio::task::spawn_blocking(move || {
                if expected == Unbounded {
                    return None;
                }
                let output = Command::new(std::env::current_exe().unwrap())
                    .args([
                        "--ignored",
                        "--exact",
                        "faults::one_of_the_rows",
                        "--nocapture",
                    ])
                    .env("HOGSEND_FAULT", number.to_string())
                    .output()
                    .unwrap();
                let said = String::from_utf8_lossy(&output.stdout).into_owned();
                let survived = said.contains("the end: ");
                let right = match expected {
                    // The harness would have had its say.
                    HostEnds => !survived && !said.contains("test result"),
                    end => {
                        let lines = ends(fault, end).into_iter();
                        let mut lines = lines.map(|end| format!("the end: {end:?}\n"));
                        lines.any(|line| said.contains(&line))
                    }
                };
                let said = said + &String::from_utf8_lossy(&output.stderr);
                (!right).then(|| format!("{place:?} {fault}, not {expected:?}: {said}"))
            })
        });
        let wrong: Vec<_> = futures_util::future::join_all(rows)
            .await
            .into_iter()
            .filter_map(Result::unwrap)
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "another test starts it, as a process of its own"]
async fn one_of_the_rows() {
    let Ok(number) = std::env::var("HOGSEND_FAULT") else {
        return;
    };
    let row = rows().nth(number.parse().unwrap());
    let (place, fault, ..) = row.unwrap();
    println!("the end: {:?}", commit(place, fault, INSIDE).await);
    // The runtime would wait for a call that does not end.
    std::process::exit(0);
}

/// What the plugin asked the host for may have had an effect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_ends_after_a_request_leaves_its_call_in_doubt() {
    let folder = faults(APART);
    // Nobody listens there.
    let settings = Settings::from([("FAULTS_URL", "http://127.0.0.1:1/")]);
    let plugins = start(folder.path(), settings).await.unwrap();
    let error = read(&plugins, "request, abort").await.unwrap_err();
    assert_eq!((error.kind, error.begun), (Ended, true), "{error}");
    for part in ["plugin 'faults'", "ended its process", "SIGABRT"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

/// The same file is the same library, however often it is opened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_nothing_uses_any_more_is_dropped_whatever_it_does_then() {
    let folder = faults(INSIDE);
    let count = async |plugins: &Registry| {
        let event = read(plugins, "instances").await.unwrap();
        event.properties["count"].as_u64().unwrap()
    };
    let first = start(folder.path(), Settings::default()).await.unwrap();
    for fault in ["none", "panic"] {
        let settings = Settings::from([("FAULTS_AT_DROP", fault)]);
        let second = start(folder.path(), settings).await.unwrap();
        assert_eq!(count(&first).await, 2);
        drop(second);
        assert_eq!(count(&first).await, 1, "{fault}");
    }
}
