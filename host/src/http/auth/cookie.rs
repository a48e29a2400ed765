//! The session cookie in Better Auth's format: the token, a dot, and the token's HMAC-SHA256 under
//! `BETTER_AUTH_SECRET` in base64, all percent-encoded.

use axum::http::{HeaderMap, HeaderValue, header};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::accounts::Session;
use crate::app::App;

const NAME: &str = "better-auth.session_token";

fn name(app: &App) -> String {
    if app.config.access.https() {
        format!("__Secure-{NAME}")
    } else {
        NAME.to_owned()
    }
}

/// The token in the request's cookie, if the signature is ours.
pub fn session_token(app: &App, headers: &HeaderMap) -> Option<String> {
    let name = name(app);
    let values = headers.get_all(header::COOKIE).iter();
    let value = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|pair| {
            let (key, value) = pair.trim().split_once('=')?;
            (key == name).then_some(value)
        })?;
    read(&app.config.secret, value)
}

/// The `Set-Cookie` of a session.
pub fn session_cookie(app: &App, session: &Session, now: DateTime<Utc>) -> HeaderValue {
    let value = write(&app.config.secret, &session.token);
    // A cookie without a Max-Age ends with the browser.
    let life = session
        .remembered()
        .then(|| (session.expires_at - now).num_seconds());
    set_cookie(app, &value, life)
}

/// The `Set-Cookie` that deletes the cookie.
pub fn no_cookie(app: &App) -> HeaderValue {
    set_cookie(app, "", Some(0))
}

fn set_cookie(app: &App, value: &str, life: Option<i64>) -> HeaderValue {
    let life = life.map(|seconds| format!("; Max-Age={seconds}"));
    let secure = if app.config.access.https() {
        "; Secure"
    } else {
        ""
    };
    let cookie = format!(
        "{}={value}{}; Path=/; HttpOnly{secure}; SameSite=Lax",
        name(app),
        life.unwrap_or_default()
    );
    // Letters, digits and percent signs are always a header value.
    HeaderValue::from_str(&cookie).unwrap_or(HeaderValue::from_static(""))
}

fn write(secret: &SecretString, token: &str) -> String {
    let signature = STANDARD.encode(mac(secret, token).finalize().into_bytes());
    let value = format!("{token}.{signature}");
    form_urlencoded::byte_serialize(value.as_bytes()).collect()
}

fn read(secret: &SecretString, value: &str) -> Option<String> {
    // An unencoded plus sign belongs to the base64 signature and is not a space.
    let value = value.trim_matches('"').replace('+', "%2B");
    let (decoded, _) = form_urlencoded::parse(value.as_bytes()).next()?;
    // The form parser takes an unencoded `=` at the end for its separator.
    let decoded = decoded.trim_end_matches('=');
    let (token, signature) = decoded.rsplit_once('.')?;
    let signature = STANDARD.decode(format!("{signature}=")).ok()?;
    mac(secret, token).verify_slice(&signature).ok()?;
    Some(token.to_owned())
}

fn mac(secret: &SecretString, token: &str) -> Hmac<Sha256> {
    let key = secret.expose_secret().as_bytes();
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(token.as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::{read, write};

    #[test]
    fn a_cookie_is_read_encoded_or_not_and_a_changed_one_is_refused() {
        let secret = "a secret of tests, long enough for all".into();
        let value = write(&secret, "tok-en_1");
        assert!(value.starts_with("tok-en_1."), "{value}");
        assert!(value.ends_with("%3D"), "{value}");
        assert_eq!(read(&secret, &value).as_deref(), Some("tok-en_1"));
        let plain = value
            .replace("%3D", "=")
            .replace("%2F", "/")
            .replace("%2B", "+");
        assert_eq!(read(&secret, &plain).as_deref(), Some("tok-en_1"));
        for wrong in [
            &value[1..],
            "tok-en_1",
            "tok-en_1.",
            "",
            &value.replace("tok", "tik"),
        ] {
            assert_eq!(read(&secret, wrong), None, "{wrong}");
        }
        assert_eq!(read(&"another secret".into(), &value), None);
    }

    /// Created with `makeSignature` of Better Auth's `better-call`.
    #[test]
    fn the_signature_is_better_auths() {
        let secret = "better-auth-secret-123456789012345".into();
        assert_eq!(
            write(&secret, "abc"),
            "abc.alH3X6FQxUGvp%2BoRlvfMRtnGmziPuyRs1kbqy6%2F6bws%3D"
        );
    }
}
