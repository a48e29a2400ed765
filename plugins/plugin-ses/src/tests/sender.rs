//! Signs messages as SNS does, with a key made for these tests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hogsend_plugin_kit::delivery::Signed;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};

use super::TOPIC;

/// The certificate of the key.
pub const CERTIFICATE: &str = include_str!("fixtures/sns.pem");
/// The certificate of another key.
pub const OTHER_CERTIFICATE: &str = include_str!("fixtures/other.pem");
pub const CERTIFICATE_URL: &str =
    "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123.pem";

pub struct Sender(RsaKeyPair);

impl Sender {
    pub fn new() -> Self {
        Self(RsaKeyPair::from_pkcs8(include_bytes!("fixtures/sns.pk8")).unwrap())
    }

    /// The fields of a notification before they are signed.
    pub fn fields(content: &str, at: DateTime<Utc>) -> Value {
        json!({
            "Type": "Notification",
            "MessageId": format!("22b80b92-{}", at.timestamp()),
            "TopicArn": TOPIC,
            "Subject": "Amazon SES Email Event Notification",
            "Message": content,
            "Timestamp": at.format("%Y-%m-%dT%H:%M:%S.000Z").to_string(),
            "SignatureVersion": "2",
            "SigningCertURL": CERTIFICATE_URL,
            "UnsubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe",
        })
    }

    pub fn notification(&self, content: &str, at: DateTime<Utc>) -> Signed {
        self.sign(Self::fields(content, at))
    }

    pub fn sign(&self, mut fields: Value) -> Signed {
        let text = |name: &str| {
            fields[name]
                .as_str()
                .map(|value| format!("{name}\n{value}\n"))
        };
        let names: &[&str] = if fields["Type"] == "Notification" {
            &[
                "Message",
                "MessageId",
                "Subject",
                "Timestamp",
                "TopicArn",
                "Type",
            ]
        } else {
            &[
                "Message",
                "MessageId",
                "SubscribeURL",
                "Timestamp",
                "Token",
                "TopicArn",
                "Type",
            ]
        };
        let signed: String = names.iter().filter_map(|name| text(name)).collect();
        let mut signature = vec![0; self.0.public().modulus_len()];
        self.0
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                signed.as_bytes(),
                &mut signature,
            )
            .unwrap();
        fields["Signature"] = STANDARD.encode(signature).into();
        posted(&fields)
    }
}

/// The request that carries a message.
pub fn posted(fields: &Value) -> Signed {
    let header = |name: &str, field: &str| {
        (
            name.to_owned(),
            fields[field].as_str().unwrap_or_default().to_owned(),
        )
    };
    let headers = vec![
        header("x-amz-sns-message-type", "Type"),
        header("x-amz-sns-message-id", "MessageId"),
        header("x-amz-sns-topic-arn", "TopicArn"),
    ];
    Signed::new(headers, fields.to_string())
}
