//! Amazon SNS, through which SES posts its events: who posts, what it signs, and how it is answered
//! (<https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html>).

mod certificate;
mod message;
mod topic;

use std::time::Duration;

use hogsend_plugin_api::{DeliveryReading, Host, HttpMethod, HttpRequest, Refusal, Webhook};
use url::Url;

use crate::{TOPIC_ARN, event};
use certificate::Unverified;
use message::{Kind, Message};
pub use topic::Topic;

/// How long a certificate is cached. SNS gives each certificate a URL of its own.
const CERTIFICATE_KEPT: Duration = Duration::from_secs(24 * 3_600);
/// How long a certificate or a confirmation may take. SNS waits 15 seconds for the answer to a message.
const PATIENCE: Duration = Duration::from_secs(4);
/// What SES posts as a message, instead of JSON, when a topic becomes an event destination.
const VALIDATED: &str = "Successfully validated SNS topic";

/// The topics whose messages are believed.
#[derive(Default)]
pub struct Sns {
    /// None: nothing is verified, as in development.
    pub topics: Vec<Topic>,
    /// Stands in for SNS in tests.
    pub base: Option<Url>,
}

impl Sns {
    /// Verifies and reads a message. SNS declares it as plain text.
    pub async fn read(&self, host: &Host, webhook: &Webhook) -> Result<DeliveryReading, Refusal> {
        let verifies = !self.topics.is_empty();
        let message = Message::parse(webhook.body.as_slice()).map_err(|error| {
            let details = format!(
                "the body is not a message of SNS: {error}. Leave 'raw message delivery' of the subscription off"
            );
            if verifies {
                // It has no signature.
                Refusal::unauthorized_because(details)
            } else {
                Refusal::invalid(details)
            }
        })?;
        if verifies {
            let topic = self.topic(&message)?;
            matches_its_headers(&message, webhook)?;
            match self.verify(host, &message, topic).await {
                Ok(()) => {}
                Err(Unverified::Refused(reason)) => {
                    return Err(Refusal::unauthorized_because(reason));
                }
                Err(Unverified::Unavailable(reason)) => return Ok(again(&reason)),
            }
            if message.kind == Kind::SubscriptionConfirmation {
                return self.confirm(host, &message, topic).await;
            }
        }
        match message.kind {
            Kind::Notification if message.message.starts_with(VALIDATED) => {
                Ok(DeliveryReading::skipped("SES has validated the topic"))
            }
            Kind::Notification => event::read(&message.message, &message.message_id),
            Kind::SubscriptionConfirmation => Ok(DeliveryReading::skipped(format!(
                "set {TOPIC_ARN} to '{}' and request the confirmation again, in the SNS console under Subscriptions",
                message.topic_arn.escape_debug()
            ))),
            Kind::UnsubscribeConfirmation => Ok(DeliveryReading::skipped(format!(
                "the subscription to '{}' was deleted: events of mails arrive no longer",
                message.topic_arn.escape_debug()
            ))),
        }
    }

    /// The topic of a message, before anything is fetched for it: strangers' topics sign validly too.
    fn topic(&self, message: &Message) -> Result<&Topic, Refusal> {
        let known = self.topics.iter().find(|one| one.arn == message.topic_arn);
        known.ok_or_else(|| {
            Refusal::unauthorized_because(format!(
                "the topic '{}' is not in {TOPIC_ARN}",
                message.topic_arn.escape_debug()
            ))
        })
    }

    async fn verify(
        &self,
        host: &Host,
        message: &Message,
        topic: &Topic,
    ) -> Result<(), Unverified> {
        let url = topic
            .url(&message.signing_cert_url)
            .filter(|url| url.path().ends_with(".pem") && url.query().is_none())
            .ok_or_else(|| {
                let host = topic.host();
                Unverified::Refused(format!("SigningCertURL is not a .pem at https://{host}"))
            })?;
        let signature = message.signature()?;
        let key = format!("ses:certificate:{url}");
        if let Some(pem) = host.cache_get(&key).await {
            return certificate::verify(pem.as_bytes(), message, &signature);
        }
        let answer = host.http(self.get(&url)).await;
        let answer = answer.map_err(|error| Unverified::Unavailable(error.message))?;
        if answer.status != 200 {
            return Err(Unverified::Unavailable(format!(
                "SNS answered {} instead of its certificate",
                answer.status
            )));
        }
        let pem = answer.body.text_lossy();
        let verified = certificate::verify(pem.as_bytes(), message, &signature);
        if verified.is_ok() {
            host.cache_put(&key, &pem, CERTIFICATE_KEPT).await;
        }
        verified
    }

    /// Confirms the subscription of a configured topic, so that it needs no visit to the console.
    async fn confirm(
        &self,
        host: &Host,
        message: &Message,
        topic: &Topic,
    ) -> Result<DeliveryReading, Refusal> {
        let url = message.subscribe_url.as_deref();
        let url = url.and_then(|url| topic.url(url)).ok_or_else(|| {
            Refusal::invalid(format!(
                "SubscribeURL must begin with https://{}/",
                topic.host()
            ))
        })?;
        match host.http(self.get(&url)).await {
            Ok(answer) if answer.status == 200 => Ok(DeliveryReading::skipped(format!(
                "the subscription to {} is confirmed",
                topic.arn
            ))),
            Ok(answer) if (400..500).contains(&answer.status) && answer.status != 429 => {
                Err(Refusal::invalid(format!(
                    "SNS answered {} to the confirmation: request it again, in the SNS console under Subscriptions",
                    answer.status
                )))
            }
            Ok(answer) => Ok(again(&format!(
                "SNS answered {} to the confirmation",
                answer.status
            ))),
            Err(error) => Ok(again(&error.message)),
        }
    }

    fn get(&self, url: &Url) -> HttpRequest {
        let mut url = url.clone();
        if let Some(base) = &self.base {
            let mut stand_in = base.clone();
            stand_in.set_path(url.path());
            stand_in.set_query(url.query());
            url = stand_in;
        }
        HttpRequest::new(HttpMethod::Get, url.as_str())
            .header("user-agent", crate::USER_AGENT)
            .timeout(PATIENCE)
    }
}

/// SNS repeats a message that is answered with 5xx.
fn again(reason: &str) -> DeliveryReading {
    DeliveryReading::answer(503, "text/plain", reason.to_owned())
}

/// The headers repeat what the signed body says.
fn matches_its_headers(message: &Message, webhook: &Webhook) -> Result<(), Refusal> {
    for (name, expected) in [
        ("x-amz-sns-message-type", message.kind.name()),
        ("x-amz-sns-message-id", message.message_id.as_str()),
        ("x-amz-sns-topic-arn", message.topic_arn.as_str()),
    ] {
        if webhook.header(name) != Some(expected) {
            return Err(Refusal::unauthorized_because(format!(
                "the header {name} is missing or differs from the body"
            )));
        }
    }
    Ok(())
}
