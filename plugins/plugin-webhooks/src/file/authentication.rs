//! The table `[authentication]`.

use super::section::Section;
use crate::place::Place;
use crate::template::Template;
use crate::verify::{Algorithm, Authentication, Encoding, Scheme, Signed};

const KEYS: [&str; 12] = [
    "scheme",
    "secret",
    "previous_secret",
    "help",
    "header",
    "prefix",
    "algorithm",
    "encoding",
    "signed",
    "secret_encoding",
    "timestamp",
    "tolerance_seconds",
];
/// Seconds that the time of a signature may be off, as vendors recommend.
const TOLERANCE: i64 = 300;

#[derive(Clone, Copy)]
enum Kind {
    Header,
    Hmac,
    Standard,
    Stripe,
    Basic,
}

/// Reads `[authentication]`; `None` with its mistakes noted.
pub fn read(top: &Section<'_>) -> Option<Authentication> {
    let Some(table) = top.table("authentication") else {
        let what =
            "say how the vendor proves that a webhook is its own, for example scheme = \"header\"";
        top.require("authentication", what);
        return None;
    };
    let own = top.inner("authentication", table);
    let what = "the environment variable with the secret, such as \"ACME_WEBHOOK_SECRET\"";
    let secret = own.required("secret", &format!("name {what}"));
    let secret = secret.filter(|name| is_variable(&own, "secret", name));
    let previous = own.text("previous_secret");
    let previous = previous.filter(|name| is_variable(&own, "previous_secret", name));
    if previous.is_some() && previous == secret {
        let message = "is the variable of secret: name another one for the former secret";
        own.problem("previous_secret", message);
    }
    let help = own.text("help");
    let kinds = [
        ("header", Kind::Header),
        ("hmac", Kind::Hmac),
        ("standard-webhooks", Kind::Standard),
        ("svix", Kind::Standard),
        ("stripe", Kind::Stripe),
        ("basic", Kind::Basic),
    ];
    own.require(
        "scheme",
        "use header, hmac, standard-webhooks, svix, stripe or basic",
    );
    let kind = own.one_of("scheme", &kinds);
    let scheme = kind.and_then(|kind| scheme(&own, kind));
    if kind.is_some() {
        own.finish(&KEYS);
    }
    Some(Authentication {
        scheme: scheme?,
        secret: secret?.to_owned(),
        previous_secret: previous.map(str::to_owned),
        help: help.map_or_else(|| "the webhook's secret".to_owned(), str::to_owned),
    })
}

/// Checks that a text is the name of an environment variable, and most likely no secret.
fn is_variable(own: &Section<'_>, key: &str, name: &str) -> bool {
    let sound = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let starts = name.starts_with(|c: char| c.is_ascii_uppercase());
    let sound = starts && name.len() <= 100 && name.chars().all(sound);
    if !sound {
        // Somebody may have put the secret itself there, so it is not repeated.
        let message = "must be the name of an environment variable in capital letters, such as \
                       \"ACME_WEBHOOK_SECRET\", and not the secret itself";
        own.problem(key, message);
    }
    sound
}

fn scheme(own: &Section<'_>, kind: Kind) -> Option<Scheme> {
    let tolerance = || {
        let given = own.number("tolerance_seconds", 1, 86_400);
        given.unwrap_or(TOLERANCE)
    };
    match kind {
        Kind::Basic => Some(Scheme::Basic),
        Kind::Standard => Some(Scheme::Standard {
            tolerance: tolerance(),
        }),
        Kind::Stripe => Some(Scheme::Stripe {
            tolerance: tolerance(),
        }),
        Kind::Header => {
            let name = own.required("header", "name the header with the secret");
            let prefix = own.text("prefix").unwrap_or_default().trim();
            Some(Scheme::Header {
                name: header(own, name?)?,
                prefix: prefix.to_owned(),
            })
        }
        Kind::Hmac => {
            let name = own.required("header", "name the header with the signature");
            let name = name.and_then(|name| header(own, name));
            own.require("algorithm", "use sha256, sha1 or sha512");
            let algorithms = [
                ("sha256", Algorithm::Sha256),
                ("sha1", Algorithm::Sha1),
                ("sha512", Algorithm::Sha512),
            ];
            let algorithm = own.one_of("algorithm", &algorithms);
            let encodings = [("hex", Encoding::Hex), ("base64", Encoding::Base64)];
            let encoding = own.one_of("encoding", &encodings).unwrap_or(Encoding::Hex);
            let secret_encodings = [
                ("text", None),
                ("hex", Some(Encoding::Hex)),
                ("base64", Some(Encoding::Base64)),
            ];
            let secret_encoding = own.one_of("secret_encoding", &secret_encodings);
            let text = own.text("signed").unwrap_or("{body}");
            let text = own.sound("signed", Template::signed(text));
            Some(Scheme::Hmac(Signed {
                algorithm: algorithm?,
                encoding,
                header: name?,
                prefix: own.text("prefix").unwrap_or_default().to_owned(),
                time: text.as_ref().and_then(|text| time(own, text)),
                text: text?,
                secret_encoding: secret_encoding.flatten(),
            }))
        }
    }
}

fn header(own: &Section<'_>, name: &str) -> Option<String> {
    match own.sound("header", Place::parse(&format!("header:{name}")))? {
        Place::Header(name) => Some(name),
        _ => None,
    }
}

/// The time of signing, which only counts where it is signed itself.
fn time(own: &Section<'_>, signed: &Template) -> Option<(Place, i64)> {
    let tolerance = own.number("tolerance_seconds", 1, 86_400);
    let Some(text) = own.text("timestamp") else {
        if tolerance.is_some() {
            let message = "says where the time of signing is, such as \"header:x-timestamp\": add it, or \
                           remove tolerance_seconds";
            own.problem("timestamp", message);
        }
        return None;
    };
    let place = own.sound("timestamp", Place::parse(text))?;
    if !signed.has(&place) {
        let message = format!(
            "'{text}' is not in authentication.signed: an unsigned time proves nothing. Add it there, such \
             as \"{{{text}}}.{{body}}\", or remove it"
        );
        own.problem("timestamp", message);
        return None;
    }
    Some((place, tolerance.unwrap_or(TOLERANCE)))
}
