//! Plugins as libraries: the very files `cargo build` makes, loaded at run time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use axum::http::StatusCode;
use hogsend::plugins::{Discovered, Libraries, Origin, Problem, Search};
use hogsend_plugin_api::Kind;

use crate::support::process::binary;
use crate::support::resend::Resend;
use crate::support::{Server, Store, posthog};

/// A library built from this workspace.
pub fn library(plugin: &str) -> PathBuf {
    let folder = std::env::var_os("HOGSEND_TEST_PLUGIN_DIR")
        .map_or_else(|| binary().parent().unwrap().to_owned(), PathBuf::from);
    let file = folder.join(format!("libhogsend_plugin_{plugin}.so"));
    assert!(
        file.exists(),
        "{} is missing: run the tests with `cargo xtask test`, which builds it",
        file.display()
    );
    file
}

/// A plugin folder with copies of these libraries.
fn folder(plugins: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for plugin in plugins {
        fs::copy(library(plugin), folder.path().join(format!("{plugin}.so"))).unwrap();
    }
    folder
}

fn find(folder: &Path) -> (Discovered, Vec<String>) {
    let cache = tempfile::tempdir().unwrap();
    let (found, problems) = Discovered::find(Some(folder), cache.path());
    (found, problems.iter().map(ToString::to_string).collect())
}

#[test]
fn a_loaded_plugin_replaces_the_linked_one_and_says_the_same_of_itself() {
    let libraries = [
        "posthog",
        "resend",
        "postmark",
        "ses",
        "mailgun",
        "smtp",
        "outbox",
        "lifecycle",
    ];
    let folder = folder(&libraries);
    let (loaded, problems) = find(folder.path());
    assert!(problems.is_empty(), "{problems:?}");
    let (linked, _) = Discovered::find(None, folder.path());
    for (loaded, linked) in loaded.info().iter().zip(linked.info()) {
        assert_eq!(
            (&loaded.id, &loaded.version, &loaded.kinds),
            (&linked.id, &linked.version, &linked.kinds)
        );
        // The tests' plugins and the described sources are in no library.
        if libraries.contains(&loaded.id.as_str()) {
            assert_eq!(
                (loaded.origin, linked.origin),
                (Origin::Loaded, Origin::Linked)
            );
            assert_eq!(loaded.sha256.as_ref().unwrap().len(), 64);
        }
    }
    let manifests: Vec<_> = loaded.manifests().cloned().collect();
    let linked: Vec<_> = linked.manifests().cloned().collect();
    assert_eq!(manifests, linked);
    assert!(
        manifests
            .iter()
            .any(|manifest| manifest.kinds == [Kind::EventSource, Kind::Analytics])
    );
}

/// The main job with every plugin loaded comes to what it comes to with every plugin linked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_main_job_is_the_same_with_loaded_plugins() {
    let folder = folder(&["posthog", "resend", "lifecycle"]);
    let mut outcomes = Vec::new();
    for plugin_dir in ["", folder.path().to_str().unwrap()] {
        let resend = Resend::start().await;
        let url = resend.url();
        let variables = [
            ("PLUGIN_DIR", plugin_dir),
            ("EMAIL_PROVIDER", "resend"),
            ("RESEND_API_KEY", Resend::KEY),
            ("RESEND_BASE_URL", &url),
            ("POSTHOG_WEBHOOK_SECRET", "hush"),
        ];
        let server = Server::with(Store::native().await, &variables).await;
        let origin = if plugin_dir.is_empty() {
            Origin::Linked
        } else {
            Origin::Loaded
        };
        for id in ["posthog", "resend", "lifecycle"] {
            let plugins = server.app.plugins();
            let mut info = plugins.info().iter();
            let info = info.find(|plugin| plugin.id == id).unwrap();
            assert_eq!(info.origin, origin);
        }
        let body = posthog("0190-a", "user.created", "u-1", "ann@example.com", "Ann");
        assert_eq!(
            server.post("/v1/webhooks/posthog", &body).await.status,
            StatusCode::UNAUTHORIZED
        );
        let request = axum::http::Request::post("/v1/webhooks/posthog")
            .header("x-posthog-webhook-secret", "hush")
            .body(axum::body::Body::from(body.to_string()));
        assert_eq!(
            server.request(request.unwrap()).await.status,
            StatusCode::OK
        );
        server.drain().await;
        server
            .advance(std::time::Duration::from_secs(3 * 86_400))
            .await;
        let mut mails: Vec<_> = resend
            .accepted()
            .into_iter()
            .map(|(_, mail)| mail)
            .collect();
        for mail in &mut mails {
            // The signed link and one tag hold this server's own ids.
            mail.as_object_mut()
                .unwrap()
                .retain(|name, _| ["from", "to", "subject", "tags"].contains(&name.as_str()));
            let tags = mail["tags"].as_array_mut().unwrap();
            tags.retain(|tag| tag["name"] != "send_id");
        }
        let steps = "SELECT string_agg(kind || ' ' || print || ' ' || state, ', ' ORDER BY seq) FROM journey_steps";
        outcomes.push((
            mails,
            server.text(steps).await,
            server.text("SELECT status FROM journey_states").await,
        ));
        server.stop().await;
    }
    assert_eq!(outcomes[0].0.len(), 2);
    assert_eq!(outcomes[0].2, "completed");
    assert_eq!(outcomes[0], outcomes[1]);
}

#[test]
fn a_damaged_or_unpinned_plugin_is_refused_with_file_reason_and_mend() {
    let folder = folder(&["posthog"]);
    let whole = fs::read(folder.path().join("posthog.so")).unwrap();
    for (name, bytes) in [
        ("cut-4k.so", &whole[..4_096]),
        ("cut-half.so", &whole[..whole.len() / 2]),
        ("cut-end.so", &whole[..whole.len() - 200]),
        ("text.so", b"not a library"),
        ("empty.so", b""),
    ] {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    // A library of a later ABI: its one symbol says so.
    let name = b"hogsend_plugin_header_v1__";
    let mut later = whole;
    let mut at = 0;
    while let Some(found) = later[at..]
        .windows(name.len())
        .position(|window| window == name)
    {
        at += found + name.len();
        later[at - 3] = b'2';
    }
    fs::write(folder.path().join("later.so"), later).unwrap();
    fs::write(folder.path().join("README.txt"), "ignored").unwrap();
    let (found, problems) = find(folder.path());
    assert_eq!(problems.len(), 6, "{problems:?}");
    let abi = problems
        .iter()
        .find(|problem| problem.contains("later.so"))
        .unwrap();
    assert!(
        abi.starts_with("PLUGIN-007") && abi.contains("another ABI"),
        "{abi}"
    );
    for problem in &problems {
        assert!(
            problem.starts_with("PLUGIN-00") && problem.contains(".so") && !problem.contains('\n'),
            "{problem}"
        );
    }
    assert!(
        found
            .info()
            .iter()
            .any(|plugin| plugin.id == "posthog" && plugin.origin == Origin::Loaded)
    );

    fs::write(
        folder.path().join("plugins.lock"),
        format!("{}  posthog.so\n", "0".repeat(64)),
    )
    .unwrap();
    let (found, problems) = find(folder.path());
    assert!(
        problems
            .iter()
            .all(|problem| problem.starts_with("PLUGIN-012")),
        "{problems:?}"
    );
    assert!(
        found
            .info()
            .iter()
            .all(|plugin| plugin.origin == Origin::Linked)
    );
}

/// Bound lazily, the missing function would end the host at its first call.
#[test]
fn a_library_that_lacks_a_function_is_refused_when_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("broken.c");
    let code = "void *hogsend_plugin_header_v1__broken;
        extern int function_of_a_later_system(void);
        int call(void) { return function_of_a_later_system(); }";
    fs::write(&source, code).unwrap();
    let library = folder.path().join("broken.so");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wl,-z,lazy", "-o"])
        .arg(&library)
        .arg(&source)
        .status();
    assert!(built.unwrap().success());
    let (_, problems) = find(folder.path());
    let [problem] = problems.as_slice() else {
        panic!("{problems:?}");
    };
    for part in ["PLUGIN-008", "broken.so", "function_of_a_later_system"] {
        assert!(problem.contains(part), "{problem}");
    }
}

/// A later release of the stock journeys: the same library, but for its version.
fn later_lifecycle(folder: &Path) {
    fs::write(folder.join("lifecycle-later.so"), later()).unwrap();
}

/// The bytes of a later release of the stock journeys.
pub fn later() -> Vec<u8> {
    let mut bytes = fs::read(library("lifecycle")).unwrap();
    let old = env!("CARGO_PKG_VERSION").as_bytes();
    let places: Vec<usize> = (0..bytes.len() - old.len())
        .filter(|at| bytes[*at..].starts_with(old))
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at] = b'7';
    }
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_versions_of_a_plugin_run_side_by_side() {
    let folder = folder(&["lifecycle"]);
    later_lifecycle(folder.path());
    let variables = [("PLUGIN_DIR", folder.path().to_str().unwrap())];
    let server = Server::with(Store::native().await, &variables).await;
    let old = env!("CARGO_PKG_VERSION");
    let new = old.replacen('0', "7", 1);
    let plugins = server.app.plugins();
    let of_lifecycle = plugins.info().iter();
    let of_lifecycle = of_lifecycle.filter(|plugin| plugin.id == "lifecycle");
    let versions: Vec<_> = of_lifecycle
        .map(|plugin| (plugin.version.as_str(), plugin.origin))
        .collect();
    assert_eq!(
        versions,
        [(new.as_str(), Origin::Loaded), (old, Origin::Loaded)]
    );
    for version in [old, &new] {
        let found = server
            .app
            .plugins()
            .journeys_at("lifecycle", version)
            .unwrap();
        assert_eq!(found.version(), version);
    }

    // People enter the newer one; whoever began with the older one goes on with it where told to.
    let body = posthog("0190-v", "user.created", "u-1", "ann@example.com", "Ann");
    assert_eq!(
        server.post("/v1/webhooks/posthog", &body).await.status,
        StatusCode::OK
    );
    server.drain().await;
    assert_eq!(
        server
            .text("SELECT plugin_version FROM journey_states")
            .await,
        new
    );
    server
        .run_sql("UPDATE journey_states SET plugin_version = '0.1.0', pinned = true")
        .await;
    server
        .advance(std::time::Duration::from_secs(3 * 86_400))
        .await;
    let ended = "SELECT status FROM journey_states WHERE journey_id = 'activation-welcome'";
    assert_eq!(server.text(ended).await, "completed");
    server.stop().await;
}

#[test]
fn a_lock_is_checked_both_ways_and_so_are_owners_and_modes() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = folder(&["posthog"]);
    let path = folder.path();
    let chmod = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let library = path.join("posthog.so");
    chmod(path, 0o755);
    chmod(&library, 0o644);
    let (cache, libraries) = (tempfile::tempdir().unwrap(), Libraries::default());
    let find = |strict| {
        let mut search = Search::new(cache.path(), &libraries);
        (search.dir, search.strict) = (Some(path), strict);
        let (found, problems) = search.find();
        let texts = |all: &[Problem]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        let loaded = found.info().iter().any(|one| one.origin == Origin::Loaded);
        (loaded, texts(&problems), texts(&found.warnings))
    };
    assert_eq!(find(true), (true, vec![], vec![]));
    for (place, mode, sound, fix) in [
        (path, 0o775, 0o755, "its group: run `chmod g-w`"),
        (
            path,
            0o777,
            0o755,
            "anyone on this machine: run `chmod go-w`",
        ),
        (&library, 0o664, 0o644, "its group: run `chmod g-w`"),
    ] {
        chmod(place, mode);
        let (loaded, problems, warnings) = find(true);
        assert!(
            !loaded && problems[0].starts_with("PLUGIN-006"),
            "{problems:?}"
        );
        assert!(
            problems[0].contains(fix) && warnings.is_empty(),
            "{problems:?}"
        );
        let (loaded, problems, warnings) = find(false);
        assert!(
            loaded && problems.is_empty() && warnings[0].contains(fix),
            "{warnings:?}"
        );
        chmod(place, sound);
    }
    let hash = find_hash(path);
    fs::write(
        path.join("plugins.lock"),
        format!("{hash}  posthog.so\n{hash}  other.so\n"),
    )
    .unwrap();
    chmod(&path.join("plugins.lock"), 0o644);
    let (loaded, problems, _) = find(true);
    assert!(
        !loaded && problems[0].contains("lists other.so"),
        "{problems:?}"
    );
    let (loaded, _, warnings) = find(false);
    assert!(
        loaded && warnings[0].contains("lists other.so"),
        "{warnings:?}"
    );
}

fn find_hash(folder: &Path) -> String {
    let (found, _) = find(folder);
    let all = found.info();
    let loaded = all.iter().find_map(|one| one.sha256.clone());
    loaded.unwrap()
}

#[test]
fn two_files_with_one_id_are_refused() {
    let folder = folder(&["posthog"]);
    fs::copy(
        folder.path().join("posthog.so"),
        folder.path().join("second.so"),
    )
    .unwrap();
    let (_, problems) = find(folder.path());
    assert_eq!(problems.len(), 1);
    assert!(problems[0].starts_with("PLUGIN-010"), "{problems:?}");
}

/// The program itself, told to list: one plugin a paragraph, and a bad file ends it with its name.
#[test]
fn the_list_names_every_plugin_and_every_refusal() {
    let folder = folder(&["posthog"]);
    let list = |folder: &Path| {
        let data = tempfile::tempdir().unwrap();
        let output = Command::new(binary())
            .args(["plugins", "list"])
            .env_clear()
            .env("PLUGIN_DIR", folder)
            .env("HOGSEND_DATA_DIR", data.path())
            .current_dir(std::env::temp_dir())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let (code, out, _) = list(folder.path());
    assert_eq!(code, Some(0));
    for words in [
        "posthog 0.1.0",
        "event source, analytics; loaded from",
        "resend 0.1.0",
        "RESEND_API_KEY (required, secret)",
    ] {
        assert!(out.contains(words), "{words}: {out}");
    }
    fs::write(folder.path().join("bad.so"), "x").unwrap();
    let (code, out, told) = list(folder.path());
    assert_eq!(code, Some(78));
    assert!(out.contains("posthog 0.1.0"));
    assert!(
        told.contains("PLUGIN-002") && told.contains("bad.so"),
        "{told}"
    );
}
