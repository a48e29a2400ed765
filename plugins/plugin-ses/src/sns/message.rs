//! A message that SNS posts
//! (<https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::certificate::Unverified;

/// A message. Its values are the texts that are signed.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Message {
    #[serde(rename = "Type")]
    pub kind: Kind,
    pub message_id: String,
    pub topic_arn: String,
    #[serde(default)]
    subject: Option<String>,
    pub message: String,
    timestamp: String,
    #[serde(default)]
    token: Option<String>,
    #[serde(default, rename = "SubscribeURL")]
    pub subscribe_url: Option<String>,
    #[serde(default)]
    pub signature_version: String,
    #[serde(default)]
    signature: String,
    #[serde(default, rename = "SigningCertURL")]
    pub signing_cert_url: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Kind {
    Notification,
    SubscriptionConfirmation,
    UnsubscribeConfirmation,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Notification => "Notification",
            Self::SubscriptionConfirmation => "SubscriptionConfirmation",
            Self::UnsubscribeConfirmation => "UnsubscribeConfirmation",
        }
    }
}

impl Message {
    /// Parses a body.
    pub fn parse(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }

    pub fn signature(&self) -> Result<Vec<u8>, Unverified> {
        let signature = STANDARD.decode(&self.signature).ok();
        let signature = signature.filter(|signature| !signature.is_empty());
        signature.ok_or_else(|| Unverified::Refused("the message has no signature".into()))
    }

    /// The bytes that are signed: names and values of certain fields, sorted by name.
    pub fn signed(&self) -> String {
        let confirms = self.kind != Kind::Notification;
        let only = |condition: bool, value: &Option<String>| value.clone().filter(|_| condition);
        let fields = [
            ("Message", Some(self.message.clone())),
            ("MessageId", Some(self.message_id.clone())),
            ("Subject", only(!confirms, &self.subject)),
            ("SubscribeURL", only(confirms, &self.subscribe_url)),
            ("Timestamp", Some(self.timestamp.clone())),
            ("Token", only(confirms, &self.token)),
            ("TopicArn", Some(self.topic_arn.clone())),
            ("Type", Some(self.kind.name().to_owned())),
        ];
        fields
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}\n{}\n", value?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sha2::{Digest as _, Sha256};

    use super::Message;

    fn signed(body: &serde_json::Value) -> String {
        Message::parse(body.to_string().as_bytes())
            .unwrap()
            .signed()
    }

    #[test]
    fn the_signed_bytes_of_a_notification_are_as_computed() {
        let mut body = json!({
            "Type": "Notification",
            "MessageId": "11111111-2222-3333-4444-555555555555",
            "TopicArn": "arn:aws:sns:eu-west-1:123456789012:ses-events",
            "Message": r#"{"eventType":"Bounce"}"#,
            "Timestamp": "2023-11-14T22:13:20.000Z",
        });
        let bytes = signed(&body);
        assert_eq!(bytes.len(), 186);
        assert_eq!(
            hex::encode(Sha256::digest(&bytes)),
            "667d9677f62cb7a11352481c8666d972d13b5a46ca2c306e4639e70487b4e319"
        );
        body["Subject"] = json!(null);
        assert_eq!(signed(&body), bytes);
        body["Subject"] = json!("Hi");
        assert!(signed(&body).contains("\nSubject\nHi\nTimestamp\n"));
    }

    #[test]
    fn a_confirmation_signs_its_token_and_its_url() {
        let body = json!({
            "Type": "SubscriptionConfirmation", "MessageId": "m", "TopicArn": "t", "Message": "x",
            "Timestamp": "now", "Token": "k", "SubscribeURL": "u", "Subject": "never",
        });
        assert_eq!(
            signed(&body),
            "Message\nx\nMessageId\nm\nSubscribeURL\nu\nTimestamp\nnow\nToken\nk\nTopicArn\nt\nType\nSubscriptionConfirmation\n"
        );
    }
}
