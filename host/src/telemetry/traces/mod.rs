//! Traces for an OTLP endpoint.
//!
//! One trace follows an event: the request that brings it, its enrolment, the advances of the run, the mail that
//! is composed, the attempt to deliver it. The run and the mail wait in the database meanwhile, each with its
//! `traceparent`, and whoever takes them up goes on with it ([`resume`]). All spans are in [`spans`]; log lines are not
//! exported.

mod export;
mod parent;
pub mod spans;

pub use parent::{current, moved, of_headers};

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler as Chosen, SdkTracer, SdkTracerProvider,
};
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use crate::config::{Sampler, Traces};

/// The target of every span.
pub const TARGET: &str = "hogsend::spans";
/// Spans that wait to be exported; further ones are dropped.
const QUEUE: usize = 4_096;
/// Spans in one request to the endpoint.
const BATCH: usize = 512;
/// How long a span waits for others at most.
const DELAY: Duration = Duration::from_secs(1);

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Whether spans are exported.
pub fn on() -> bool {
    PROVIDER.get().is_some()
}

/// Starts exporting, in a thread of its own. None where that was started before.
pub(super) fn start(settings: &Traces) -> Option<SdkTracer> {
    let exporter = export::Otlp::new(settings, tokio::runtime::Handle::current());
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE)
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(DELAY)
        .build();
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches);
    let resource = Resource::builder_empty()
        .with_service_name(settings.service.clone())
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", uuid::Uuid::new_v4().to_string()),
        ]);
    let provider = SdkTracerProvider::builder()
        .with_span_processor(processor.build())
        .with_sampler(sampler(settings.sampler))
        .with_resource(resource.build())
        .build();
    let tracer = provider.tracer("hogsend");
    PROVIDER.set(provider).ok().map(|()| tracer)
}

fn sampler(sampler: Sampler) -> Chosen {
    let root = match sampler.ratio {
        None if sampler.off => Chosen::AlwaysOff,
        None => Chosen::AlwaysOn,
        Some(ratio) => Chosen::TraceIdRatioBased(ratio),
    };
    match sampler.parent {
        true => Chosen::ParentBased(Box::new(root)),
        false => root,
    }
}

/// Passes the spans of [`spans`] on, without log lines, source files and threads.
pub(super) fn layer<S>(tracer: SdkTracer) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_level(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(|about| {
            about.is_span() && about.target() == TARGET
        }))
}

/// Exports what has ended. Blocks for at most `patience`.
pub(super) fn finish(patience: Duration) {
    if let Some(provider) = PROVIDER.get() {
        // The exporter has logged what went wrong.
        let _ = provider.shutdown_with_timeout(patience);
    }
}
