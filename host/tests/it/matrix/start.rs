//! Plugins that are refused at start, and what is left of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{Host, Place, folder};
use crate::faults::spoil;
use crate::support::process::{run, until};

/// What `hogsend plugin list` says of the folder, with these variables.
async fn list(folder: &Path, more: &[(&str, &str)]) -> (Option<i32>, String) {
    let (folder, more) = (folder.to_owned(), more.to_vec());
    let more: Vec<(String, String)> = more
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let list = move || {
        let data = tempfile::tempdir().unwrap();
        let mut variables = vec![
            ("PLUGIN_DIR", folder.to_str().unwrap()),
            ("HOGSEND_DATA_DIR", data.path().to_str().unwrap()),
        ];
        variables.extend(more.iter().map(|(name, value)| (&**name, &**value)));
        run(data.path(), &["plugin", "list"], &variables)
    };
    tokio::task::spawn_blocking(list).await.unwrap()
}

/// Lists the folder, and expects one refusal of the plugin with each of these parts.
async fn refused(folder: &Path, more: &[(&str, &str)], parts: &[&str]) {
    let (code, said) = list(folder, more).await;
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("1 problem to fix"), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part}: {said}");
    }
}

pub async fn a_manifest_that_never_returns_is_refused(place: Place) {
    let folder = folder(place);
    spoil(folder.path(), "loop");
    let said = ["PLUGIN-022", "faults.so", "its manifest within 10 seconds"];
    refused(folder.path(), &[], &said).await;
}

pub async fn a_start_that_never_ends_is_refused(place: Place) {
    let folder = folder(place);
    let said = ["PLUGIN-011", "'faults'", "its settings within 10 seconds"];
    refused(folder.path(), &[("FAULTS_AT_NEW", "loop")], &said).await;
}

pub async fn a_manifest_that_is_too_large_is_refused(place: Place) {
    let folder = folder(place);
    spoil(folder.path(), "large");
    let said = ["PLUGIN-009", "faults.so", "manifest", "at most 1 MiB"];
    refused(folder.path(), &[], &said).await;
}

pub async fn settings_of_others_are_not_given(place: Place) {
    let folder = folder(place);
    spoil(folder.path(), "thief");
    let secret = "a-secret-of-the-host-that-is-long-enough";
    let own = [
        ("ADMIN_API_KEY", secret),
        ("BETTER_AUTH_SECRET", secret),
        ("RESEND_API_KEY", secret),
    ];
    let (code, said) = list(folder.path(), &own).await;
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("4 problems to fix"), "{said}");
    for (name, whose) in [
        ("ADMIN_API_KEY", "of Hogsend"),
        ("BETTER_AUTH_SECRET", "of Hogsend"),
        ("DATABASE_URL", "of Hogsend"),
        ("RESEND_API_KEY", "of the plugin 'resend'"),
    ] {
        let line = format!("PLUGIN-016 the plugin 'faults' reads {name}, a setting {whose}");
        assert!(said.contains(&line), "{line}: {said}");
    }
    assert!(!said.contains(secret), "{said}");
    let allowed = [
        "ADMIN_API_KEY",
        "BETTER_AUTH_SECRET",
        "DATABASE_URL",
        "RESEND_API_KEY",
    ];
    let allowed = allowed.map(|name| format!("faults:{name}")).join(",");
    let (code, said) = list(folder.path(), &[("PLUGIN_SHARED_SETTINGS", &allowed)]).await;
    assert_eq!(code, Some(0), "{said}");
}

/// A plugin of all kinds, of which one is not used.
pub async fn a_kind_that_is_not_used_leaves_the_others(place: Place) {
    for (variable, value) in [
        ("EMAIL_PROVIDER", "outbox"),
        ("ENABLED_JOURNEYS", "activation-welcome"),
    ] {
        let host = Host::start(place, &[(variable, value)]).await;
        let plugins = host.server.app.plugins();
        let delivers = plugins.delivery("faults").is_some();
        assert_eq!(delivers, variable != "EMAIL_PROVIDER");
        let analytics = plugins.analytics();
        let analytics = analytics.iter().find(|one| one.id() == "faults").unwrap();
        let person = analytics.person("odd").await.unwrap().unwrap();
        assert_eq!(person["plan"], "pro");
        let answer = host
            .server
            .post_raw("/v1/webhooks/faults", b"none".into())
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let stored = "SELECT count(*) FROM user_events WHERE source = 'faults'";
        assert_eq!(host.server.count(stored).await, 1);
        host.happens("faults.mail", "ann", "none").await;
        host.server.drain().await;
        let expected = match delivers {
            true => "",
            false => "ann sent",
        };
        assert_eq!(host.mails().await, expected, "{variable}");
        host.server.stop().await;
    }
}

pub async fn a_folder_that_others_may_change_is_refused_in_production(place: Place) {
    let folder = folder(place);
    let chmod = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let (path, library) = (folder.path(), folder.path().join("faults.so"));
    chmod(path, 0o755);
    chmod(&library, 0o644);
    let production = [
        ("NODE_ENV", "production"),
        ("API_PUBLIC_URL", "https://acme.test"),
    ];
    let (code, said) = list(path, &production).await;
    assert_eq!(code, Some(0), "{said}");
    for (place, mode, sound) in [(path, 0o777, 0o755), (library.as_path(), 0o664, 0o644)] {
        chmod(place, mode);
        refused(path, &production, &["PLUGIN-006", "chmod"]).await;
        chmod(place, sound);
    }
    fs::write(
        path.join("plugins.lock"),
        format!("{}  gone.so\n", "0".repeat(64)),
    )
    .unwrap();
    chmod(&path.join("plugins.lock"), 0o644);
    refused(path, &production, &["PLUGIN-012", "lists gone.so"]).await;
}

pub async fn the_copy_of_a_replaced_library_is_deleted(place: Place) {
    let host = Host::start(place, &[]).await;
    let library = host.folder.path().join("faults.so");
    let copies = || {
        let folder = host.server.app.config.data_dir.join("plugins");
        fs::read_dir(folder).unwrap().count()
    };
    for _ in 0..2 {
        let next = host.folder.path().join("next");
        let mut bytes = fs::read(&library).unwrap();
        bytes.push(0);
        fs::write(&next, bytes).unwrap();
        fs::rename(&next, &library).unwrap();
        let reloaded = host.server.reload().await;
        assert_eq!(reloaded.changed.len(), 1, "{reloaded:?}");
    }
    // A child ends a moment after its plugin is not used any more.
    until("only one copy is left", async || {
        host.server.reload().await;
        copies() == 1
    })
    .await;
    host.server.stop().await;
}
