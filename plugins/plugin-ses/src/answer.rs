//! The meaning of the answers of SES for a mail
//! (<https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html#API_SendEmail_Errors>,
//! <https://docs.aws.amazon.com/ses/latest/APIReference-V2/CommonErrors.html>).

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Declined, HttpResponse, SendOutcome, first_phrase};
use serde::Deserialize;

use crate::signing::Keys;
use crate::{
    ACCESS_KEY, BASE_URL, CONFIGURATION_SET, CONFIGURATION_SET_TRANSACTIONAL, FROM, REGION,
    SECRET_KEY, SESSION_TOKEN,
};

/// How long all mails wait after the rate was exceeded, which SES measures per second.
const RATE_WAIT_MS: u64 = 2_000;
/// How long mails wait with the quota of 24 hours used up, which frees up bit by bit.
const QUOTA_WAIT_MS: u64 = 600_000;

#[derive(Deserialize)]
struct Accepted {
    #[serde(rename = "MessageId")]
    message_id: String,
}

#[derive(Default, Deserialize)]
struct Body {
    #[serde(default, rename = "__type")]
    kind: Option<String>,
    #[serde(default, alias = "Message")]
    message: Option<String>,
}

/// An error of AWS.
#[derive(Default)]
struct Failure {
    /// Without namespace, such as `MessageRejected`.
    name: String,
    message: String,
}

impl Failure {
    /// The name is in a header or in the body, as `namespace#name:uri` or a part of it.
    fn of(answer: &HttpResponse) -> Self {
        let body: Body = answer.json().unwrap_or_default();
        let name = answer
            .header("x-amzn-errortype")
            .or(body.kind.as_deref())
            .unwrap_or_default();
        let name = name.split(':').next().unwrap_or_default();
        let name = name.rsplit('#').next().unwrap_or_default();
        Self {
            name: name.trim().to_owned(),
            message: body.message.unwrap_or_default(),
        }
    }
}

/// The outcome of an answer to a mail to `recipient`. Neither the secret key nor the session token
/// appears in the reason, even if AWS repeats it.
pub fn outcome(
    answer: &HttpResponse,
    keys: &Keys,
    recipient: Option<&str>,
    now: DateTime<Utc>,
) -> SendOutcome {
    if (200..300).contains(&answer.status) {
        return match answer.json::<Accepted>() {
            Ok(Accepted { message_id }) if !message_id.is_empty() => {
                SendOutcome::accepted(message_id)
            }
            // Probably the answer of a proxy: the mail may have arrived or not.
            _ => SendOutcome::unknown(format!("SES answered {} without an id", answer.status)),
        };
    }
    let failure = Failure::of(answer);
    // For a wrong signature SES repeats the whole request, with the session token among its headers, from
    // the second line on.
    let words = failure.message.lines().next().unwrap_or_default();
    let session = keys.session.as_deref().unwrap_or_default();
    let declined = Declined::new("SES", answer.status, &[&keys.secret, session])
        .named(&failure.name)
        .saying(words)
        .after(answer.retry_after_ms(now));
    match blame(answer.status, &failure, recipient) {
        Blame::Rate => declined.or_after(RATE_WAIT_MS).limit(),
        Blame::Quota => declined.at_least(QUOTA_WAIT_MS).fix(
            "Mails wait until the quota of 24 hours has room; AWS raises it on request",
        ),
        // The fault may have come after acceptance, and SES has no idempotency keys.
        Blame::Fault => declined.doubt(),
        Blame::Redirect => declined.redirect(BASE_URL),
        Blame::Url => declined.fix(format!("Check {REGION} and {BASE_URL}: SES is not there")),
        Blame::Keys => declined.fix(format!(
            "Check {ACCESS_KEY} and {SECRET_KEY} ({SESSION_TOKEN} for temporary keys), and this machine's clock, which may be 5 minutes off at most"
        )),
        Blame::Permission => declined.fix(format!(
            "Allow the IAM user of {ACCESS_KEY} the actions ses:SendEmail and ses:SendRawEmail"
        )),
        Blame::Sandbox => declined.fix(
            "The account is in the sandbox, where recipients must be verified too: request production access on the SES page 'Get set up'",
        ),
        Blame::Account => declined.fix("Look at the account's dashboard in the SES console"),
        Blame::ConfigurationSet => declined.fix(format!(
            "Check that the sets of {CONFIGURATION_SET} and {CONFIGURATION_SET_TRANSACTIONAL} exist in the region of {REGION} and that their sending is enabled"
        )),
        Blame::Sender => declined.sender(format!(
            "Check that the sender ({FROM}, EMAIL_FROM or EMAIL_FROM_TRANSACTIONAL) is a verified identity in the region of {REGION}"
        )),
        Blame::Recipient => declined.recipient(),
        Blame::Content => declined.content(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blame {
    Rate,
    Quota,
    Fault,
    Redirect,
    Url,
    Keys,
    Permission,
    Sandbox,
    Account,
    ConfigurationSet,
    Sender,
    Recipient,
    Content,
}

/// Whose fault an error is: by its name and its text, last by the status. A refusal that names
/// neither the recipient nor the content is the account's fault.
fn blame(status: u16, failure: &Failure, recipient: Option<&str>) -> Blame {
    let words = failure.message.to_ascii_lowercase();
    // Older regions name the daily quota and the rate alike.
    let daily = ["daily message quota", "daily sending quota", "24-hour"];
    if daily.iter().any(|phrase| words.contains(phrase)) {
        return Blame::Quota;
    }
    match failure.name.as_str() {
        "TooManyRequestsException" | "RequestLimitExceeded" | "SlowDown" => return Blame::Rate,
        name if name.starts_with("Throttl") => return Blame::Rate,
        "LimitExceededException" if words.contains("sending rate") => return Blame::Rate,
        _ => {}
    }
    match status {
        429 => return Blame::Rate,
        408 | 500..=599 => return Blame::Fault,
        300..=399 => return Blame::Redirect,
        _ => {}
    }
    match failure.name.as_str() {
        "MessageRejected" if words.contains("not verified") => unverified(&words, recipient),
        "MessageRejected" => Blame::Content,
        "MailFromDomainNotVerifiedException" => Blame::Sender,
        "NotFoundException" | "ConfigurationSetDoesNotExist" => Blame::ConfigurationSet,
        "ConfigurationSetSendingPausedException" => Blame::ConfigurationSet,
        "SendingPausedException" if words.contains("configuration set") => Blame::ConfigurationSet,
        "AccessDeniedException" | "AccessDenied" => Blame::Permission,
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "SignatureDoesNotMatch"
        | "InvalidSignatureException"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "RequestExpired"
        | "ExpiredToken"
        | "ExpiredTokenException" => Blame::Keys,
        "BadRequestException" | "InvalidParameterValue" | "ValidationException" => {
            parameter(&words)
        }
        // `AccountSuspendedException`, `SendingPausedException` and future names.
        name if !name.is_empty() => Blame::Account,
        _ => match status {
            401 | 403 => Blame::Keys,
            404 | 405 => Blame::Url,
            413 | 422 => Blame::Content,
            _ => Blame::Account,
        },
    }
}

/// SES lists the identities that are not verified. In its sandbox recipients must be verified too,
/// and then it refuses mail to anyone.
fn unverified(words: &str, recipient: Option<&str>) -> Blame {
    let recipient = recipient.map(str::to_ascii_lowercase);
    if recipient.is_some_and(|recipient| words.contains(&recipient)) {
        Blame::Sandbox
    } else {
        Blame::Sender
    }
}

/// The fault of an invalid parameter. The sender was checked when the plugin built the message, and
/// is the same for many mails; what SES finds wrong with an address is the recipient's.
fn parameter(words: &str) -> Blame {
    first_phrase(PARAMETER, words).unwrap_or(Blame::Content)
}

/// Phrases and the fault they mean; the first one that occurs counts.
const PARAMETER: &[(&str, Blame)] = &[
    ("configuration set", Blame::ConfigurationSet),
    ("'from'", Blame::Sender),
    ("from address", Blame::Sender),
    ("fromemailaddress", Blame::Sender),
    ("source", Blame::Sender),
    ("header", Blame::Content),
    ("tag", Blame::Content),
    ("'@domain'", Blame::Recipient),
    ("local address", Blame::Recipient),
    ("local name", Blame::Recipient),
    ("local part", Blame::Recipient),
    ("missing domain", Blame::Recipient),
    ("domain name", Blame::Recipient),
    ("domain contains", Blame::Recipient),
    ("domain starts", Blame::Recipient),
    ("domain ends", Blame::Recipient),
    ("illegal address", Blame::Recipient),
    ("invalid address", Blame::Recipient),
    ("email address", Blame::Recipient),
    ("toaddresses", Blame::Recipient),
    ("recipient", Blame::Recipient),
];
