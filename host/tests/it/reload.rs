//! Reading plugins and templates again while the process works.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::plugins::{later, library};
use crate::support::process::{Process, free_port, until, worker_variables};
use crate::support::{Server, Store, amount, posthog};

/// Replaces a file as an installation does: whole or not at all.
fn put(path: &Path, bytes: &[u8]) {
    let partial = path.with_extension("partial");
    fs::write(&partial, bytes).unwrap();
    fs::rename(partial, path).unwrap();
}

async fn enter(server: &Server, user: &str) {
    let address = format!("{user}@example.com");
    let body = posthog(&format!("id-{user}"), "user.created", user, &address, "Ann");
    let answer = server.post("/v1/webhooks/posthog", &body).await;
    assert!(answer.status.is_success(), "{}", answer.text());
}

fn versions(server: &Server) -> Vec<String> {
    let plugins = server.app.plugins();
    let own = plugins.info().iter().filter(|one| one.id == "lifecycle");
    own.map(|one| one.version.clone()).collect()
}

/// How many copies of libraries the data folder has.
fn copies(server: &Server) -> usize {
    let folder = server.app.config.data_dir.join("plugins");
    fs::read_dir(folder).unwrap().count()
}

const SOUND: &[u8] = b"+++\nsubject = \"New\"\n+++\n<p>Hello</p>";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_library_is_in_use_at_once_and_the_old_one_while_runs_need_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lifecycle.so");
    put(&file, &fs::read(library("lifecycle")).unwrap());
    let variables = [("PLUGIN_DIR", folder.path().to_str().unwrap())];
    let server = Server::with(Store::native().await, &variables).await;
    let old = env!("CARGO_PKG_VERSION");
    let new = old.replacen('0', "7", 1);
    enter(&server, "ann").await;
    server.drain().await;
    let unchanged = server.reload().await;
    assert!(
        unchanged.changed.is_empty() && unchanged.refused.is_empty(),
        "{unchanged:?}"
    );

    put(&file, &later());
    let reloaded = server.reload().await;
    let line = format!("plugin 'lifecycle' is {new} now, it was {old}");
    assert_eq!((reloaded.changed, reloaded.refused), (vec![line], vec![]));
    // Ann's run began with the old version, which stays for it.
    assert_eq!(versions(&server), [new.as_str(), old]);
    assert_eq!(copies(&server), 2);
    enter(&server, "bob").await;
    let of = "SELECT string_agg(s.plugin_version, ' ' ORDER BY c.external_id) FROM journey_states s
              JOIN contacts c ON c.id = s.contact_id WHERE s.journey_id = 'activation-welcome'";
    assert_eq!(server.text(of).await, format!("{old} {new}"));
    server
        .run_sql("UPDATE journey_states SET pinned = true")
        .await;
    server.drain().await;
    server.advance(Duration::from_secs(10 * 86_400)).await;
    let open = "SELECT count(*) FROM journey_states
                WHERE journey_id = 'activation-welcome' AND status <> 'completed'";
    assert_eq!(server.count(open).await, 0);

    // Nobody needs it any more. The linked plugin has this version too.
    server.reload().await;
    server.reload().await;
    assert_eq!(versions(&server), [new.as_str(), old]);
    assert_eq!(copies(&server), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_used_leaves_what_is_in_use() {
    let (plugins, templates) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = plugins.path().join("lifecycle.so");
    let whole = fs::read(library("lifecycle")).unwrap();
    put(&file, &whole);
    put(&templates.path().join("welcome.mjml"), SOUND);
    let variables = [
        ("PLUGIN_DIR", plugins.path().to_str().unwrap()),
        ("TEMPLATE_DIR", templates.path().to_str().unwrap()),
    ];
    let server = Server::with(Store::native().await, &variables).await;
    let before = server.app.plugins().journeys().len();
    let subject = || {
        let catalog = server.app.catalog();
        catalog.template("welcome").unwrap().subject.clone()
    };
    // A file that is still being written, a text, a second file of the same plugin, an unlisted one.
    let second = plugins.path().join("second.so");
    let lock = plugins.path().join("plugins.lock");
    let hashes = format!("{}  lifecycle.so\n", "0".repeat(64));
    for (path, bytes, code) in [
        (&file, &whole[..whole.len() / 2], "PLUGIN-003"),
        (&file, b"no library".as_slice(), "PLUGIN-002"),
        (&second, &[whole.as_slice(), b"x"].concat(), "PLUGIN-010"),
        (&lock, hashes.as_bytes(), "PLUGIN-012"),
    ] {
        put(path, bytes);
        let reloaded = server.reload().await;
        let [refused] = reloaded.refused.as_slice() else {
            panic!("{reloaded:?}");
        };
        assert!(
            refused.starts_with(code) && !refused.contains('\n'),
            "{refused}"
        );
        assert!(reloaded.changed.is_empty(), "{reloaded:?}");
        assert_eq!(versions(&server), [env!("CARGO_PKG_VERSION")]);
        assert_eq!(server.app.plugins().journeys().len(), before);
        if path == &file {
            put(path, &whole);
        } else {
            fs::remove_file(path).unwrap();
        }
    }
    // A faulty template and a sound one: each counts for itself.
    put(
        &templates.path().join("welcome.mjml"),
        b"+++\nsubject = \"{% if %}\"\n+++\n",
    );
    put(&templates.path().join("activation-nudge.mjml"), SOUND);
    let reloaded = server.reload().await;
    assert!(
        reloaded.refused[0].contains("welcome.mjml, line 2"),
        "{reloaded:?}"
    );
    assert_eq!(reloaded.changed, ["template 'activation-nudge' changed"]);
    assert_eq!(subject(), "New");
    fs::remove_file(templates.path().join("welcome.mjml")).unwrap();
    assert!(server.reload().await.refused.is_empty());
    assert_ne!(subject(), "New");
    server.stop().await;
}

/// Resident memory of this process, in KiB, where the system tells.
fn resident() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The library without debug information, which is most of a debug build.
fn small(folder: &Path) -> Vec<u8> {
    let to = folder.join("small");
    let stripped = Command::new("strip")
        .args(["--strip-debug", "-o"])
        .arg(&to)
        .arg(library("lifecycle"))
        .status();
    match stripped.is_ok_and(|status| status.success()) {
        true => fs::read(to).unwrap(),
        false => fs::read(library("lifecycle")).unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_under_load_harm_no_run() {
    let count = amount(20, 100);
    let (folder, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = folder.path().join("lifecycle.so");
    let bytes = small(work.path());
    put(&file, &bytes);
    let variables = [("PLUGIN_DIR", folder.path().to_str().unwrap())];
    let server = Server::with(Store::native().await, &variables).await;
    let done = AtomicBool::new(false);
    let events = async {
        let mut people = 0;
        while !done.load(Ordering::Relaxed) {
            enter(&server, &format!("u{people}")).await;
            people += 1;
        }
        people
    };
    let runs = async {
        while !done.load(Ordering::Relaxed) {
            server.drain().await;
            tokio::task::yield_now().await;
        }
    };
    let before = resident();
    let reloads = async {
        for number in 0..count {
            // Other bytes after the end of the library make another version of the same code.
            put(&file, &[bytes.as_slice(), &number.to_le_bytes()].concat());
            let reloaded = server.reload().await;
            assert_eq!(reloaded.changed.len(), 1, "{reloaded:?}");
            assert!(reloaded.refused.is_empty(), "{reloaded:?}");
            // Runs wake up during the reloads that follow.
            server.clock.advance(Duration::from_secs(3_600));
        }
        done.store(true, Ordering::Relaxed);
    };
    let (people, (), ()) = tokio::join!(events, runs, reloads);
    if let (Some(before), Some(after)) = (before, resident()) {
        let each = after.saturating_sub(before) / count;
        println!(
            "{people} people during {count} reloads; memory {before} KiB, then {after} KiB, {each} KiB each"
        );
    }
    server.drain().await;
    server.advance(Duration::from_secs(10 * 86_400)).await;
    let entered = "SELECT count(*) FROM journey_states WHERE journey_id = 'activation-welcome'";
    assert_eq!(server.count(entered).await, people);
    let harmed = "SELECT count(*) FROM journey_states
                  WHERE journey_id = 'activation-welcome' AND status <> 'completed'";
    assert_eq!(server.count(harmed).await, 0);
    let mails =
        "SELECT count(*) FROM email_sends WHERE template_key = 'welcome' AND status = 'sent'";
    assert_eq!(server.count(mails).await, people);
    assert_eq!(server.libraries(), count + 1);
    server.reload().await;
    assert_eq!(copies(&server), 1);
    server.stop().await;
}

/// The version of a plugin that a process reports.
async fn version(health_port: &str, id: &str) -> Option<String> {
    let url = format!("http://127.0.0.1:{health_port}/v1/health");
    let answer = reqwest::get(url).await.ok()?;
    let health: Value = answer.json().await.ok()?;
    let plugins = health["plugins"].as_array()?;
    let plugin = plugins.iter().find(|one| one["id"] == json!(id))?;
    plugin["version"].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_reloads_on_sighup_and_dev_by_itself() {
    let server = Server::start(Store::native().await).await;
    let new = env!("CARGO_PKG_VERSION").replacen('0', "7", 1);
    for (arguments, asked) in [(&["api"] as &[&str], true), (&["dev", "--watch"], false)] {
        let (data, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = folder.path().join("liblifecycle.so");
        put(&file, &fs::read(library("lifecycle")).unwrap());
        let path = file.to_str().unwrap();
        let plugin_dir = [("PLUGIN_DIR", folder.path().to_str().unwrap())];
        let mut variables = worker_variables(server.database_url(), data.path(), "5").to_vec();
        let health_port = free_port().to_string();
        variables.push(("HEALTH_PORT", &health_port));
        let mut arguments = arguments.to_vec();
        match asked {
            true => variables.extend(plugin_dir),
            false => arguments.extend(["--plugin", path]),
        }
        let mut process = Process::start_with(&arguments, free_port(), &variables);
        until("the process answers", || async {
            version(&health_port, "lifecycle").await.as_deref() == Some(env!("CARGO_PKG_VERSION"))
        })
        .await;
        put(&file, &later());
        if asked {
            process.ask_to_reload();
        }
        until("the new version is in use", || async {
            version(&health_port, "lifecycle").await.as_deref() == Some(new.as_str())
        })
        .await;
        process.terminate();
    }
    server.stop().await;
}
