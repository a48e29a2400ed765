//! A server that answers as Amazon SES does, and signs messages as Amazon SNS does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Request, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use mail_parser::MessageParser;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Answer, Server};

/// A key made for tests, and its certificate.
const SNS_KEY: &[u8] = include_bytes!("../../../../plugins/plugin-ses/src/tests/fixtures/sns.pk8");
const SNS_CERTIFICATE: &str =
    include_str!("../../../../plugins/plugin-ses/src/tests/fixtures/sns.pem");

/// A mail that was accepted.
#[derive(Clone, Debug)]
pub struct Taken {
    pub id: String,
    pub to: String,
    pub from: String,
    pub subject: String,
    pub tags: Value,
}

#[derive(Default)]
struct Inner {
    taken: Vec<Taken>,
    /// Status, name and text of every answer from now on.
    refusal: Option<(u16, &'static str, &'static str)>,
    asked_for_rate: usize,
    confirmed: Vec<String>,
    messages: u32,
}

#[derive(Clone)]
pub struct Ses {
    address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
}

impl Ses {
    pub const TOPIC: &'static str = "arn:aws:sns:eu-west-1:123456789012:ses-events";
    const KEY: &'static str = "AKIDEXAMPLE";
    const SECRET: &'static str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            inner: Arc::default(),
        };
        let router = Router::new()
            .route("/v2/email/outbound-emails", post(send))
            .route("/v2/email/account", get(account))
            .route("/SimpleNotificationService-1.pem", get(SNS_CERTIFICATE))
            .route("/", get(confirm))
            .with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        server
    }

    /// The environment variables that make the host send through it.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let url = format!("http://{}", self.address);
        vec![
            ("EMAIL_PROVIDER", "ses".into()),
            ("AWS_ACCESS_KEY_ID", Self::KEY.into()),
            ("AWS_SECRET_ACCESS_KEY", Self::SECRET.into()),
            ("SES_REGION", "eu-west-1".into()),
            ("SES_FROM", "Acme <hello@acme.test>".into()),
            ("SES_TOPIC_ARN", Self::TOPIC.into()),
            ("SES_BASE_URL", url.clone()),
            ("SES_SNS_BASE_URL", url),
        ]
    }

    /// Refuses every mail until it is told otherwise.
    pub fn refuse(&self, refusal: Option<(u16, &'static str, &'static str)>) {
        self.inner.lock().unwrap().refusal = refusal;
    }

    pub fn taken(&self) -> Vec<Taken> {
        self.inner.lock().unwrap().taken.clone()
    }

    pub fn asked_for_rate(&self) -> usize {
        self.inner.lock().unwrap().asked_for_rate
    }

    /// Tokens of confirmed subscriptions.
    pub fn confirmed(&self) -> Vec<String> {
        self.inner.lock().unwrap().confirmed.clone()
    }

    /// Posts an event of SES through the topic.
    pub async fn tell(&self, server: &Server, event: &Value) -> Answer {
        let message = self.message("Notification", &event.to_string(), json!({}));
        post_message(server, &message).await
    }

    /// Posts the request to confirm a subscription.
    pub async fn ask_to_confirm(&self, server: &Server, topic: &str, token: &str) -> Answer {
        let url = format!(
            "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token={token}"
        );
        let more = json!({ "TopicArn": topic, "Token": token, "SubscribeURL": url });
        let text = "You have chosen to subscribe to the topic";
        let message = self.message("SubscriptionConfirmation", text, more);
        post_message(server, &message).await
    }

    /// A signed message (<https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html>).
    pub fn message(&self, kind: &str, text: &str, more: Value) -> Value {
        let number = {
            let mut inner = self.inner.lock().unwrap();
            inner.messages += 1;
            inner.messages
        };
        let mut message = json!({
            "Type": kind,
            "MessageId": format!("22b80b92-fdea-4c2c-8f9d-{number:012}"),
            "TopicArn": Self::TOPIC,
            "Message": text,
            "Timestamp": "2026-03-02T09:00:05.000Z",
            "SignatureVersion": "2",
            "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem",
        });
        let more = more.as_object().unwrap().clone();
        message.as_object_mut().unwrap().extend(more);
        let names: &[&str] = match kind {
            "Notification" => &[
                "Message",
                "MessageId",
                "Subject",
                "Timestamp",
                "TopicArn",
                "Type",
            ],
            _ => &[
                "Message",
                "MessageId",
                "SubscribeURL",
                "Timestamp",
                "Token",
                "TopicArn",
                "Type",
            ],
        };
        let field = |name: &&str| Some(format!("{name}\n{}\n", message[*name].as_str()?));
        let signed: String = names.iter().filter_map(field).collect();
        let key = RsaKeyPair::from_pkcs8(SNS_KEY).unwrap();
        let mut signature = vec![0; key.public().modulus_len()];
        key.sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            signed.as_bytes(),
            &mut signature,
        )
        .unwrap();
        message["Signature"] = STANDARD.encode(signature).into();
        message
    }
}

/// Posts a message as SNS does, which calls its JSON plain text.
pub async fn post_message(server: &Server, message: &Value) -> Answer {
    let text = |name: &str| message[name].as_str().unwrap();
    let request = Request::post("/v1/webhooks/ses")
        .header("content-type", "text/plain; charset=UTF-8")
        .header("x-amz-sns-message-type", text("Type"))
        .header("x-amz-sns-message-id", text("MessageId"))
        .header("x-amz-sns-topic-arn", text("TopicArn"))
        .body(Body::from(message.to_string()));
    server.request(request.unwrap()).await
}

fn error(status: u16, name: &str, message: &str) -> Response {
    let header = format!("{name}:http://internal.amazon.com/coral/com.amazonaws.ses/");
    let body = axum::Json(json!({ "message": message }));
    let status = StatusCode::from_u16(status).unwrap();
    (status, [("x-amzn-errortype", header)], body).into_response()
}

/// <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html>
async fn send(State(server): State<Ses>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    if !is_signed(&Method::POST, &uri, &headers, &body) {
        let words = "The request signature we calculated does not match";
        return error(403, "SignatureDoesNotMatch", words);
    }
    let mut inner = server.inner.lock().unwrap();
    if let Some((status, name, message)) = inner.refusal {
        return error(status, name, message);
    }
    let said: Value = serde_json::from_slice(&body).unwrap_or_default();
    let data = said["Content"]["Raw"]["Data"].as_str().unwrap_or_default();
    let message = STANDARD.decode(data).unwrap_or_default();
    let Some(message) = MessageParser::default().parse(&message) else {
        return error(400, "BadRequestException", "Invalid MIME message");
    };
    let from = message.from().and_then(|from| from.first()?.address());
    let Some(from) = from else {
        return error(
            400,
            "BadRequestException",
            "Missing required header 'From'.",
        );
    };
    let [to] = said["Destination"]["ToAddresses"]
        .as_array()
        .unwrap()
        .as_slice()
    else {
        return error(400, "BadRequestException", "one recipient at a time here");
    };
    let id = format!("0102{:016}-eu", inner.taken.len());
    inner.taken.push(Taken {
        id: id.clone(),
        to: to.as_str().unwrap().to_owned(),
        from: from.to_owned(),
        subject: message.subject().unwrap_or_default().to_owned(),
        tags: said["EmailTags"].clone(),
    });
    axum::Json(json!({ "MessageId": id })).into_response()
}

/// <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_GetAccount.html>
async fn account(State(server): State<Ses>, uri: Uri, headers: HeaderMap) -> Response {
    if !is_signed(&Method::GET, &uri, &headers, b"") {
        return error(403, "SignatureDoesNotMatch", "The signature does not match");
    }
    server.inner.lock().unwrap().asked_for_rate += 1;
    let quota = json!({ "Max24HourSend": 50_000.0, "MaxSendRate": 14.0, "SentLast24Hours": 0.0 });
    axum::Json(json!({ "SendingEnabled": true, "SendQuota": quota })).into_response()
}

async fn confirm(State(server): State<Ses>, uri: Uri) -> Response {
    let query = uri.query().unwrap_or_default();
    let Some(token) = query.strip_prefix("Action=ConfirmSubscription&Token=") else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    server
        .inner
        .lock()
        .unwrap()
        .confirmed
        .push(token.to_owned());
    "<ConfirmSubscriptionResponse/>".into_response()
}

/// Checks a signature as a receiver does, from the request alone
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html>).
fn is_signed(method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> bool {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(rest) = header("authorization").and_then(|all| all.strip_prefix("AWS4-HMAC-SHA256 "))
    else {
        return false;
    };
    let parts: BTreeMap<&str, &str> = rest
        .split(", ")
        .filter_map(|part| part.split_once('='))
        .collect();
    let Some((id, scope)) = parts["Credential"].split_once('/') else {
        return false;
    };
    let names = parts["SignedHeaders"];
    let values: String = names
        .split(';')
        .map(|name| format!("{name}:{}\n", header(name).unwrap_or_default()))
        .collect();
    let hash = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
    let canonical = format!(
        "{method}\n{}\n\n{values}\n{names}\n{}",
        uri.path(),
        hash(body)
    );
    let time = header("x-amz-date").unwrap_or_default();
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
        hash(canonical.as_bytes())
    );
    let mut key = format!("AWS4{}", Ses::SECRET).into_bytes();
    for text in scope.split('/').chain([to_sign.as_str()]) {
        let mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        key = mac.chain_update(text).finalize().into_bytes().to_vec();
    }
    id == Ses::KEY
        && scope.ends_with("/eu-west-1/ses/aws4_request")
        && hex::encode(key) == parts["Signature"]
}
