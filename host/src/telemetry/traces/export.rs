//! Sends spans to the OTLP endpoint: protobuf over HTTP
//! (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>).

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use opentelemetry::Value;
use opentelemetry::trace::{SpanKind, Status};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use prost::Message as _;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, StatusCode, Url};
use tokio::runtime::Handle;

use crate::config::Traces;
use crate::http_client::http_client;
use crate::telemetry::Outage;
use crate::telemetry::metrics::SPANS;

/// Timeout of a request, as the specification has it.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Pauses before a request is repeated that failed for a reason that ends by itself.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

pub(super) struct Otlp {
    target: Target,
    resource: ResourceAttributesWithSchema,
    /// Requests need the runtime; the thread of the exporter is outside it.
    runtime: Handle,
    outage: Outage,
}

#[derive(Clone)]
struct Target {
    client: Client,
    url: Url,
    headers: HeaderMap,
}

impl fmt::Debug for Otlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Otlp")
    }
}

impl Otlp {
    pub(super) fn new(settings: &Traces, runtime: Handle) -> Self {
        let mut headers = settings.headers.clone();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-protobuf"),
        );
        Self {
            target: Target {
                client: http_client(),
                url: settings.endpoint.clone(),
                headers,
            },
            resource: ResourceAttributesWithSchema::default(),
            runtime,
            outage: Outage::new(),
        }
    }
}

impl SpanExporter for Otlp {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len() as u64;
        batch.iter_mut().for_each(dress);
        let request = ExportTraceServiceRequest {
            resource_spans: group_spans_by_resource_and_scope(batch, &self.resource),
        };
        let sent = self
            .runtime
            .spawn(self.target.clone().send(request.encode_to_vec()));
        let sent = sent.await.unwrap_or(Err(Failure::Ended));
        match sent {
            Ok(rejected) => {
                SPANS.add(&["exported"], count.saturating_sub(rejected));
                SPANS.add(&["lost"], rejected.min(count));
                if let Some(recovered) = self.outage.over() {
                    let seconds = recovered.seconds;
                    tracing::info!(seconds, "the OTLP endpoint takes spans again");
                }
                Ok(())
            }
            Err(failure) => {
                SPANS.add(&["lost"], count);
                if let Some(failing) = self.outage.failed() {
                    let (failures, seconds) = (failing.failures, failing.seconds);
                    tracing::warn!(
                        failures,
                        seconds,
                        "the OTLP endpoint {failure}: spans are lost until it takes them. Check \
                         OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_HEADERS"
                    );
                }
                Err(OTelSdkError::InternalFailure(failure.to_string()))
            }
        }
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}

/// Continues a sentence about the endpoint. Never has its URL, which may hold a password.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Failure {
    #[error("cannot be reached")]
    Away,
    #[error("did not answer within {} s", TIMEOUT.as_secs())]
    Late,
    #[error("answered {0}")]
    Refused(StatusCode),
    #[error("was not asked, because the process ends")]
    Ended,
}

impl Failure {
    /// Whether a repeat may succeed, by the specification.
    fn is_passing(self) -> bool {
        match self {
            Self::Away => true,
            Self::Refused(status) => [429, 502, 503, 504].contains(&status.as_u16()),
            Self::Late | Self::Ended => false,
        }
    }
}

impl Target {
    /// Returns how many spans the endpoint rejected.
    async fn send(self, body: Vec<u8>) -> Result<u64, Failure> {
        for pause in PAUSES {
            match self.post(body.clone()).await {
                Err(failure) if failure.is_passing() => tokio::time::sleep(pause).await,
                done => return done,
            }
        }
        self.post(body).await
    }

    async fn post(&self, body: Vec<u8>) -> Result<u64, Failure> {
        let request = self
            .client
            .post(self.url.clone())
            .headers(self.headers.clone());
        let request = request.body(body).timeout(TIMEOUT);
        let reason = |error: reqwest::Error| match error.is_timeout() {
            true => Failure::Late,
            false => Failure::Away,
        };
        let answer = request.send().await.map_err(reason)?;
        if !answer.status().is_success() {
            return Err(Failure::Refused(answer.status()));
        }
        let body = answer.bytes().await.map_err(reason)?;
        let read = ExportTraceServiceResponse::decode(body).unwrap_or_default();
        let rejected = read.partial_success.map_or(0, |part| part.rejected_spans);
        Ok(u64::try_from(rejected).unwrap_or(0))
    }
}

/// Gives a span the name, kind and attributes of OpenTelemetry's conventions. Log lines keep the shorter names.
fn dress(span: &mut SpanData) {
    let value = |span: &SpanData, key: &str| {
        let found = span.attributes.iter().find(|one| one.key.as_str() == key);
        found.map(|one| one.value.clone())
    };
    match &*span.name {
        "request" => {
            span.span_kind = SpanKind::Server;
            let text =
                |key| value(span, key).map_or(Cow::Borrowed("_"), |it| it.to_string().into());
            span.name = format!("{} {}", text("method"), text("route")).into();
            if let Some(Value::I64(500..)) = value(span, "status") {
                span.status = Status::error("");
            }
            rename(span, "method", "http.request.method");
            rename(span, "route", "http.route");
            rename(span, "status", "http.response.status_code");
        }
        "plugin_request" => {
            span.span_kind = SpanKind::Client;
            let method = value(span, "method").map_or_else(String::new, |it| it.to_string());
            span.name = method.into();
            if !matches!(value(span, "status"), Some(Value::I64(1..400))) {
                span.status = Status::error("");
            }
            rename(span, "method", "http.request.method");
            rename(span, "status", "http.response.status_code");
            rename(span, "host", "server.address");
        }
        "advance" => span.span_kind = SpanKind::Consumer,
        "enrol" | "compose" => span.span_kind = SpanKind::Producer,
        "plugin_call" if value(span, "outcome").is_some_and(|it| it.as_str() != "ok") => {
            span.status = Status::error("");
        }
        _ => {}
    }
}

fn rename(span: &mut SpanData, from: &str, to: &'static str) {
    let found = span
        .attributes
        .iter_mut()
        .find(|one| one.key.as_str() == from);
    if let Some(attribute) = found {
        attribute.key = to.into();
    }
}
