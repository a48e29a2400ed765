//! The sample values that a library is tried out with.

use hogsend_plugin_api::journey::{AdvanceIn, Definition, TriggerEvent, User};
use hogsend_plugin_api::{Mail, Manifest, Properties, Settings, Webhook};
use uuid::Uuid;

use crate::clock::Clock;

/// What the secrets of the sample settings contain, to find them where they must not be.
pub const SECRET: &str = "hush-sample-secret-0123456789";
/// Bodies that no vendor sends.
const GARBAGE: &[&str] = &[
    "",
    "{",
    "{}",
    "[]",
    "null",
    "\u{fffd}\u{0}<xml/>",
    "\"text\"",
    "{\"event\":7}",
];
/// Bytes of a body that is larger than usual.
const LARGE: usize = 1024 * 1024;

/// A value for each required setting, as the manifest describes it, and the given ones.
pub fn sample_settings(manifest: &Manifest, given: &[(String, String)]) -> Settings {
    let mut settings = Settings::default();
    for setting in &manifest.settings {
        let given = given.iter().find(|(name, _)| *name == setting.name);
        let value = match (given, &setting.default) {
            (Some((_, value)), _) => value.clone(),
            (None, Some(default)) => default.clone(),
            // Without a description of its form, a value may be wrong.
            (None, None) if !setting.required => continue,
            (None, None) if setting.url => "https://vendor.example".into(),
            (None, None) if setting.secret => SECRET.into(),
            (None, None) if manifest.sender.as_ref() == Some(&setting.name) => {
                "Acme <hello@acme.example>".into()
            }
            (None, None) => "sample".into(),
        };
        settings.insert(&setting.name, &value);
    }
    settings
}

pub fn sample_run(journey: &Definition) -> AdvanceIn {
    let id = Uuid::from_u128(1);
    let begun = chrono::DateTime::UNIX_EPOCH + chrono::TimeDelta::days(20_000);
    let user = User::new(id, Some("u1".into()), Some("ann@example.com".into()));
    let event = TriggerEvent::new(&journey.trigger.event, Properties::new());
    AdvanceIn::new(&journey.id, id, begun, user, event)
}

pub fn sample_mail(clock: &Clock) -> Mail {
    let mut mail = Mail::new(
        Uuid::from_u128(2),
        "Acme <hello@acme.example>",
        "ann@example.com",
        clock.now(),
    );
    mail.subject = "A sample".into();
    mail.html = "<p>A sample</p>".into();
    mail.text = "A sample".into();
    mail.message_id = "sample@acme.example".into();
    mail
}

pub fn webhook(body: Vec<u8>, clock: &Clock) -> Webhook {
    let json = ("content-type".to_owned(), "application/json".to_owned());
    Webhook::new(vec![json], body, clock.now())
}

pub fn garbage() -> impl Iterator<Item = Vec<u8>> {
    let texts = GARBAGE.iter().map(|text| text.as_bytes().to_vec());
    texts.chain([vec![0xff; 64], vec![b'['; LARGE]])
}

pub fn shown(body: &[u8]) -> String {
    match body.len() {
        0 => "an empty body".into(),
        1..=20 => format!("the body {}", String::from_utf8_lossy(body).escape_debug()),
        length => format!("a body of {length} bytes of {:#x}", body[0]),
    }
}
