//! Signs requests by AWS Signature Version 4
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html>).

use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac};
use hogsend_plugin_api::{HttpMethod, HttpRequest};
use sha2::{Digest, Sha256};
use url::Url;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The access key of an IAM user, or a temporary one of a role.
pub struct Keys {
    pub id: String,
    pub secret: String,
    /// For temporary keys.
    pub session: Option<String>,
}

impl Keys {
    /// A request to a service of a region, signed for the time `now`: a `POST` of a body of this media
    /// type, or a `GET` without one. The URL has no query.
    pub fn request(
        &self,
        scope: (&str, &str),
        url: &Url,
        media_type: Option<&str>,
        body: Vec<u8>,
        now: DateTime<Utc>,
    ) -> HttpRequest {
        let time = now.format("%Y%m%dT%H%M%SZ").to_string();
        let (method, name) = match media_type {
            Some(_) => (HttpMethod::Post, "POST"),
            None => (HttpMethod::Get, "GET"),
        };
        // Sorted by name, as they are signed.
        let mut headers: Vec<(&str, String)> = vec![("host", host(url)), ("x-amz-date", time)];
        if let Some(media_type) = media_type {
            headers.insert(0, ("content-type", media_type.to_owned()));
        }
        if let Some(session) = &self.session {
            headers.push(("x-amz-security-token", session.clone()));
        }
        let authorization = self.authorization(scope, (name, url.path()), &headers, &body, now);
        let mut request = HttpRequest::new(method, url.as_str()).body(body);
        // The client derives the host from the URL.
        for (name, value) in headers.iter().filter(|(name, _)| *name != "host") {
            request = request.header(name, value);
        }
        request.header("authorization", &authorization)
    }

    fn authorization(
        &self,
        (region, service): (&str, &str),
        (method, path): (&str, &str),
        headers: &[(&str, String)],
        body: &[u8],
        now: DateTime<Utc>,
    ) -> String {
        let date = now.format("%Y%m%d").to_string();
        let scope = format!("{date}/{region}/{service}/aws4_request");
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let canonical = canonical(method, path, headers, &names, body);
        let time = now.format("%Y%m%dT%H%M%SZ");
        let to_sign = format!(
            "{ALGORITHM}\n{time}\n{scope}\n{}",
            sha256(canonical.as_bytes())
        );
        let key = self.key(&date, region, service);
        let signature = hex::encode(keyed(&key, &to_sign));
        format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.id
        )
    }

    fn key(&self, date: &str, region: &str, service: &str) -> Vec<u8> {
        let mut key = format!("AWS4{}", self.secret).into_bytes();
        for part in [date, region, service, "aws4_request"] {
            key = keyed(&key, part);
        }
        key
    }
}

/// The canonical form of a request without a query.
fn canonical(
    method: &str,
    path: &str,
    headers: &[(&str, String)],
    names: &str,
    body: &[u8],
) -> String {
    let mut text = format!("{method}\n{path}\n\n");
    for (name, value) in headers {
        text += &format!("{name}:{}\n", value.trim());
    }
    text + "\n" + names + "\n" + &sha256(body)
}

/// The value of the `Host` header (RFC 9110 §7.2): without the scheme's own port.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn keyed(key: &[u8], text: &str) -> Vec<u8> {
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(key) else {
        // HMAC takes keys of every length (RFC 2104 §2).
        return Vec::new();
    };
    mac.chain_update(text).finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeZone as _, Utc};
    use hogsend_plugin_api::HttpRequest;
    use url::Url;

    use super::{Keys, canonical, sha256};

    const BODY: &str = r#"{"FromEmailAddress":"a@example.com","Destination":{"ToAddresses":["b@example.net"]},"Content":{"Simple":{"Subject":{"Data":"Hi"},"Body":{"Text":{"Data":"Hello"}}}}}"#;

    fn keys() -> Keys {
        Keys {
            id: "AKIDEXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            session: None,
        }
    }

    fn now() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2015, 8, 30, 12, 36, 0).unwrap()
    }

    fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
        let found = request.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The first example of AWS's test suite for Signature Version 4.
    #[test]
    fn the_plainest_request_has_the_signature_aws_publishes() {
        let url = Url::parse("https://example.amazonaws.com/").unwrap();
        let scope = ("us-east-1", "service");
        let request = keys().request(scope, &url, None, Vec::new(), now());
        assert_eq!(
            header(&request, "authorization").unwrap(),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        );
    }

    #[test]
    fn each_step_of_the_signature_of_a_mail_is_as_computed() {
        assert_eq!(BODY.len(), 164);
        let headers = [
            ("content-type", "application/json".to_owned()),
            ("host", "email.eu-west-1.amazonaws.com".to_owned()),
            ("x-amz-date", "20150830T123600Z".to_owned()),
        ];
        let names = "content-type;host;x-amz-date";
        let path = "/v2/email/outbound-emails";
        let canonical = canonical("POST", path, &headers, names, BODY.as_bytes());
        assert!(
            canonical.ends_with("8bae80deb0dc344d7236b05897720114123d1b51256d486b5fc8dd26068091d0")
        );
        assert_eq!(
            sha256(canonical.as_bytes()),
            "7fddeb3c45aada1a8528f8ed9e1fa001140c25052442fb89efd02474feefcad6"
        );
        assert_eq!(
            hex::encode(keys().key("20150830", "eu-west-1", "ses")),
            "57cbad416f32646a4ef1642bea01ffd640e58612c028c5233e027e9600add9aa"
        );
    }

    fn mail(keys: &Keys, url: &str) -> HttpRequest {
        let url = Url::parse(url).unwrap();
        let kind = Some("application/json");
        keys.request(("eu-west-1", "ses"), &url, kind, BODY.into(), now())
    }

    #[test]
    fn a_mail_is_signed_with_its_media_type_its_host_and_its_time() {
        for url in [
            "https://email.eu-west-1.amazonaws.com/v2/email/outbound-emails",
            "https://EMAIL.eu-west-1.amazonaws.com:443/v2/email/outbound-emails",
        ] {
            let request = mail(&keys(), url);
            assert_eq!(
                header(&request, "authorization").unwrap(),
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/eu-west-1/ses/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=96dd363125ad31ea4ad37fc27ca71a9a0c2394d53b45f265fe9c74f0bdfe05dc"
            );
            assert_eq!(header(&request, "x-amz-date").unwrap(), "20150830T123600Z");
            assert_eq!(
                header(&request, "content-type").unwrap(),
                "application/json"
            );
            assert_eq!(header(&request, "host"), None);
        }
    }

    #[test]
    fn a_session_token_is_sent_and_signed() {
        let url = "https://email.eu-west-1.amazonaws.com/v2/email/outbound-emails";
        let temporary = Keys {
            session: Some("hush".into()),
            ..keys()
        };
        let request = mail(&temporary, url);
        assert_eq!(header(&request, "x-amz-security-token").unwrap(), "hush");
        let authorization = header(&request, "authorization").unwrap();
        assert!(
            authorization
                .contains("SignedHeaders=content-type;host;x-amz-date;x-amz-security-token,"),
            "{authorization}"
        );
        assert!(!authorization.contains("hush"));
    }

    #[test]
    fn a_port_is_part_of_the_signed_host() {
        let signed = |url| {
            let request = mail(&keys(), url);
            header(&request, "authorization").unwrap().to_owned()
        };
        assert_ne!(
            signed("http://127.0.0.1:4010/x"),
            signed("http://127.0.0.1:4011/x")
        );
    }
}
