//! What reads the bytes of strangers, one function for each reader. `host/fuzz` calls them with bytes that a fuzzer
//! makes up, and a test of this crate with the corpus and changes of it.
//!
//! Each function takes any bytes. It panics where a reader does, and where one accepts what it then cannot keep its
//! word about.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use hmac::{Hmac, Mac as _};
use hogsend_plugin_api::call::{CallError, Reply, method};
use hogsend_plugin_api::export::{Instance, Linked, linked};
use hogsend_plugin_api::{Kind, Mail, Past, Properties, Reading, Settings, Webhook, wire};
use hogsend_render::{Brand, Footer, Values};
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::Sha256;
use uuid::Uuid;

use crate::contacts::file::Table;
use crate::foreign;
use crate::plugins::library_header;
use crate::signed_link::{LinkSigner, TokenError};

/// Reads bytes.
pub type Target = fn(&[u8]);

/// Gives the bytes to the reader of this name.
///
/// # Panics
///
/// Where there is none, or it fails.
pub fn read(name: &str, bytes: &[u8]) {
    let (_, read) = TARGETS
        .iter()
        .find(|(known, _)| *known == name)
        .expect("a target");
    read(bytes);
}

/// The readers by name; `host/fuzz/corpus` has a folder of each.
pub const TARGETS: [(&str, Target); 9] = [
    ("address", address),
    ("answer", answer),
    ("library", library),
    ("mail", mail),
    ("properties", properties),
    ("table", table),
    ("template", template),
    ("token", token),
    ("webhook", webhook),
];

/// A secret that every signature scheme of the linked plugins takes.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLw==";

/// One webhook: the id of a plugin in the first line, then header lines, an empty line, and the body. A `svix-id`
/// is signed here, so that what is behind the signature is reached too.
fn webhook(bytes: &[u8]) {
    static PLUGINS: LazyLock<Vec<Plugin>> = LazyLock::new(|| {
        crate::linked_plugins::link();
        linked().filter_map(Plugin::start).collect()
    });
    let Some((plugin, webhook)) = PLUGINS
        .iter()
        .find_map(|plugin| Some((plugin, plugin.addressed(bytes)?)))
    else {
        return;
    };
    let input = serde_json::to_vec(&webhook).expect("a webhook is JSON");
    for kind in &plugin.kinds {
        let method = match kind {
            Kind::EventSource => method::EVENT_SOURCE_READ,
            Kind::Delivery => method::DELIVERY_READ_WEBHOOK,
            _ => continue,
        };
        if let Err(error) = plugin.instance.call(method, &input) {
            assert_ne!(error.code, CallError::PANICKED, "{}: {error}", plugin.id);
        }
    }
}

struct Plugin {
    id: String,
    kinds: Vec<Kind>,
    instance: Box<dyn Instance>,
}

impl Plugin {
    /// Starts a plugin that reads webhooks. With the secret where it fits; SendGrid's is a public key.
    fn start(linked: &Linked) -> Option<Self> {
        let manifest = (linked.manifest)();
        let reads = |kind: &Kind| matches!(kind, Kind::EventSource | Kind::Delivery);
        if !manifest.kinds.iter().any(reads) {
            return None;
        }
        let own = |with_secret: bool| -> Settings {
            let settings = manifest.settings.iter().filter_map(|setting| {
                let secret = Some(&setting.name) == manifest.webhook_secret.as_ref();
                let wanted = setting.required || (with_secret && secret);
                let made = || wanted.then(|| fitting(&setting.name).to_owned());
                let value = setting.default.clone().or_else(made)?;
                Some((setting.name.clone(), value))
            });
            settings.collect()
        };
        let instance = (linked.create)(&own(true))
            .or_else(|_| (linked.create)(&own(false)))
            .unwrap_or_else(|error| panic!("'{}' does not start: {error}", manifest.id));
        Some(Self {
            id: manifest.id,
            kinds: manifest.kinds,
            instance,
        })
    }

    /// The webhook in these bytes, if it is for this plugin.
    fn addressed(&self, bytes: &[u8]) -> Option<Webhook> {
        let rest = bytes
            .strip_prefix(self.id.as_bytes())?
            .strip_prefix(b"\n")?;
        let end = rest.windows(2).position(|two| two == b"\n\n")?;
        let body = &rest[end + 2..];
        let head = String::from_utf8_lossy(&rest[..end]);
        let headers = head.lines().filter_map(|line| line.split_once(": "));
        let mut headers: Vec<(String, String)> = headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        if let Some((_, id)) = headers.iter().find(|(name, _)| name == "svix-id") {
            let signature = signature(id, body);
            headers.push(("svix-timestamp".into(), "0".into()));
            headers.push(("svix-signature".into(), signature));
        }
        Some(Webhook::new(headers, body.to_vec(), DateTime::UNIX_EPOCH))
    }
}

/// A value that a required setting of this name accepts.
fn fitting(name: &str) -> &'static str {
    match name.rsplit('_').next() {
        Some("DOMAIN" | "HOST") => "mail.example.com",
        Some("REGION") => "eu-west-1",
        Some("URL") => "https://vendor.example",
        _ => SECRET,
    }
}

/// Of a webhook sent in the first second of 1970 (<https://docs.svix.com/receiving/verifying-payloads/how-manual>).
fn signature(id: &str, body: &[u8]) -> String {
    let key = STANDARD.decode(&SECRET["whsec_".len()..]).expect("base64");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length");
    mac.update(id.as_bytes());
    mac.update(b".0.");
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// What a plugin answers. An answer that is accepted reads the same after it was stored.
fn answer(bytes: &[u8]) {
    stays::<Reply<Reading>>(bytes);
    stays::<Reply<Past>>(bytes);
    stays::<Reply<Properties>>(bytes);
    stays::<Mail>(bytes);
    stays::<Webhook>(bytes);
}

fn stays<T: DeserializeOwned + Serialize>(bytes: &[u8]) {
    let Ok((read, _)) = wire::read::<T>(bytes) else {
        return;
    };
    let stored = serde_json::to_vec(&read).expect("what was read is JSON");
    let (again, left_out) = wire::read::<T>(&stored).expect("what was written is read");
    assert!(left_out.is_empty(), "all that was written is understood");
    let again = serde_json::to_vec(&again).expect("what was read is JSON");
    assert_eq!(stored, again);
}

/// A file that may be a library.
fn library(bytes: &[u8]) {
    if let Ok(name) = library_header(bytes) {
        assert!(!name.is_empty());
    }
}

/// An address with a display name.
fn address(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let _ = hogsend_mime::name_addr("sender", text);
    if let Ok(address) = hogsend_mime::bare_address("recipient", text) {
        let again = hogsend_mime::bare_address("recipient", &address);
        assert_eq!(again.as_ref(), Ok(&address), "{text:?}");
    }
}

/// A mail as JSON. The message is of lines that RFC 5322 §2.1.1 allows, and no field has added a header.
fn mail(bytes: &[u8]) {
    #[derive(Deserialize)]
    struct Fields {
        from: String,
        to: String,
        subject: String,
        html: String,
        text: String,
        headers: Vec<(String, String)>,
    }
    let Ok(fields) = serde_json::from_slice::<Fields>(bytes) else {
        return;
    };
    let mut mail = Mail::new(Uuid::nil(), &fields.from, &fields.to, DateTime::UNIX_EPOCH);
    mail.message_id = "id@example.com".into();
    mail.subject = fields.subject;
    mail.html = fields.html;
    mail.text = fields.text;
    mail.headers = fields.headers;
    let Ok(message) = hogsend_mime::message(&mail) else {
        return;
    };
    let text = String::from_utf8(message).expect("a message is ASCII");
    let (head, _) = text.split_once("\r\n\r\n").expect("it has a body");
    for line in text.split("\r\n") {
        assert!(line.len() <= 998, "a line has {} octets", line.len());
        assert!(!line.contains(['\r', '\n']), "{line:?}");
    }
    let names = head
        .split("\r\n")
        .filter(|line| !line.starts_with([' ', '\t']));
    let names: Vec<&str> = names
        .map(|line| line.split_once(':').expect("a header has a name").0)
        .collect();
    let own = |name: &&&str| {
        !mail
            .headers
            .iter()
            .any(|(given, _)| given.eq_ignore_ascii_case(name))
    };
    // From, To, Subject, Date, Message-ID, MIME-Version and Content-Type.
    assert!(names.iter().filter(own).count() <= 7, "{names:?}");
}

/// The properties of an event or a contact.
fn properties(bytes: &[u8]) {
    let Ok(mut given) = serde_json::from_slice::<Properties>(bytes) else {
        return;
    };
    foreign::fit(&mut given);
    let stored = serde_json::to_vec(&given).expect("properties are JSON");
    let again: Properties = serde_json::from_slice(&stored).expect("they are read again");
    assert_eq!(given, again);
    assert!(
        !String::from_utf8_lossy(&stored).contains("\\u0000"),
        "Postgres stores no NUL"
    );
    let mut issues = Vec::new();
    foreign::check("properties", &given, &mut issues);
    assert!(issues.is_empty(), "what fits is accepted");
}

/// A file of contacts.
fn table(bytes: &[u8]) {
    let Ok(mut table) = Table::open(bytes) else {
        return;
    };
    let columns = table.head().len();
    let mut number = 0;
    while let Ok(Some(row)) = table.next_row() {
        number += 1;
        assert_eq!(row.number, number);
        assert!(row.cells.len() <= columns);
        assert!(number <= bytes.len() + 1, "it ends");
    }
}

/// A file of a template.
fn template(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(file) = hogsend_render::file::parse(text) else {
        return;
    };
    let template = file.template("t", None);
    let footer = Footer {
        lang: "en".into(),
        reason: "You signed up.".into(),
        unsubscribe: "Unsubscribe".into(),
        choose: "Choose".into(),
    };
    let none = Properties::new();
    let values = Values {
        contact: Value::Null,
        props: &none,
        event: &none,
        category: "journey",
        unsubscribe_url: "https://example.com/u",
        preferences_url: "https://example.com/p",
        postal_address: "1 Main St",
        brand: &Brand::new("Acme", "https://acme.test", "", None),
        footer: &footer,
    };
    if let Ok(mail) = hogsend_render::render(&template, None, None, &values) {
        assert!(!mail.subject.contains(['\r', '\n']), "{:?}", mail.subject);
        assert!(!mail.html.contains("<script"), "scripts are removed");
    }
}

/// The token of a link. Nobody but the host can make one.
fn token(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let secret = |value: &str| SecretString::from(value);
    let signer = LinkSigner::new(&secret("a"), &[secret("b")], "https://acme.test");
    let read = signer.verify(&text, DateTime::UNIX_EPOCH);
    assert_eq!(read, Err(TokenError::Invalid));
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::TARGETS;

    /// What is done to a file of the corpus.
    #[derive(Clone, Debug)]
    enum Change {
        Cut(Index),
        Flip(Index, u8),
        Insert(Index, Vec<u8>),
        Repeat(Index, Index),
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            any::<Index>().prop_map(Change::Cut),
            (any::<Index>(), 1_u8..).prop_map(|(at, bits)| Change::Flip(at, bits)),
            (any::<Index>(), prop::collection::vec(any::<u8>(), 1..8))
                .prop_map(|(at, bytes)| Change::Insert(at, bytes)),
            any::<(Index, Index)>().prop_map(|(from, to)| Change::Repeat(from, to)),
        ]
    }

    fn changed(mut bytes: Vec<u8>, change: &Change) -> Vec<u8> {
        let at = |index: &Index, bytes: &[u8]| index.index(bytes.len() + 1);
        match change {
            Change::Cut(end) => bytes.truncate(at(end, &bytes)),
            Change::Flip(place, bits) => {
                let place = at(place, &bytes);
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= bits;
                }
            }
            Change::Insert(place, more) => {
                let place = at(place, &bytes);
                bytes.splice(place..place, more.iter().copied());
            }
            Change::Repeat(from, to) => {
                let (from, to) = (at(from, &bytes), at(to, &bytes));
                let part = bytes[from.min(to)..from.max(to)].to_vec();
                bytes.extend(part);
            }
        }
        bytes
    }

    fn corpus(name: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/corpus")
            .join(name);
        let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        let files: Vec<_> = files
            .map(|file| fs::read(file.unwrap().path()).unwrap())
            .collect();
        assert!(!files.is_empty(), "{folder:?} is empty");
        files
    }

    #[test]
    fn each_target_has_a_program_and_takes_its_corpus() {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/Cargo.toml");
        let manifest = fs::read_to_string(manifest).unwrap();
        for (name, read) in TARGETS {
            for bytes in corpus(name) {
                read(&bytes);
            }
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_reader_takes_any_bytes(
            file in any::<Index>(),
            changes in prop::collection::vec(change(), 0..6),
            bytes in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            for (name, read) in TARGETS {
                read(&bytes);
                let files = corpus(name);
                let start = files[file.index(files.len())].clone();
                read(&changes.iter().fold(start, changed));
            }
        }
    }
}
