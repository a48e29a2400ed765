//! Sample commands to paste into a terminal.

use chrono::SecondsFormat;

use crate::app::App;

/// A command that posts a webhook as its vendor would.
pub fn webhook(url: &str, app: &App) -> Option<String> {
    app.plugins().info().iter().find_map(|plugin| {
        let source = app.plugins().event_source(&plugin.id)?;
        let manifest = source.manifest();
        let body = manifest
            .sample_webhook
            .as_deref()?
            .replace("{uuid}", &uuid::Uuid::new_v4().to_string())
            .replace(
                "{now}",
                &app.clock.now().to_rfc3339_opts(SecondsFormat::Secs, true),
            );
        // Not the value itself: terminals and shells keep a history.
        let secret = manifest
            .webhook_secret
            .as_ref()
            .filter(|_| source.has_webhook_secret());
        let secret = secret.map(|name| format!(" -H \"authorization: Bearer ${name}\""));
        Some(format!(
            "curl -X POST {url}/v1/webhooks/{} -H 'content-type: application/json'{} -d '{body}'",
            plugin.id,
            secret.unwrap_or_default()
        ))
    })
}

/// A command that lists mails, with the configured key.
pub fn admin(url: &str, app: &App) -> String {
    let key = if app.config.development_key {
        let file = app.config.data_dir.join(crate::keys::KEY_FILE);
        format!("$(cat {})", file.display())
    } else {
        "$ADMIN_API_KEY".to_owned()
    };
    format!("curl {url}/v1/admin/emails -H \"authorization: Bearer {key}\"")
}
