//! What a span belongs to, as a W3C `traceparent` (<https://www.w3.org/TR/trace-context/>).

use std::collections::HashMap;

use ::http::HeaderMap;
use chrono::TimeDelta;
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// What waited longer begins a trace of its own, with a link: a trace that lasts days is of no use, and what
/// collects traces no longer waits for its spans.
const CONTINUES: TimeDelta = TimeDelta::minutes(15);
const TRACEPARENT: &str = "traceparent";

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }
}

/// Whether the parts have their lengths, which the propagator does not check. Later versions may append parts.
fn is_shaped(text: &[u8]) -> bool {
    const LENGTH: usize = 55;
    let dashes = [2, 35, 52].iter().all(|at| text.get(*at) == Some(&b'-'));
    let ends = text.len() == LENGTH || !text.starts_with(b"00") && text.get(LENGTH) == Some(&b'-');
    dashes && ends
}

/// The context that a request brings; an empty one where it brings none or a wrong one.
pub fn of_headers(headers: &HeaderMap) -> Context {
    let given = headers.get(TRACEPARENT).map(|value| value.as_bytes());
    if !given.is_some_and(is_shaped) {
        return Context::new();
    }
    TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers))
}

/// The context of a stored `traceparent`.
pub(super) fn parse(text: &str) -> Option<SpanContext> {
    if !is_shaped(text.as_bytes()) {
        return None;
    }
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), text.to_owned())]);
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    let span = context.span().span_context().clone();
    span.is_valid().then_some(span)
}

/// The `traceparent` of the span that is entered now, to store with what it leads to. None where nothing is traced.
pub fn current() -> Option<String> {
    if !super::on() {
        return None;
    }
    of(&Span::current())
}

pub(super) fn of(span: &Span) -> Option<String> {
    let context = span.context();
    let span = context.span();
    let span = span.span_context();
    span.is_valid().then(|| {
        format!(
            "00-{}-{}-{:02x}",
            span.trace_id(),
            span.span_id(),
            span.trace_flags().to_u8()
        )
    })
}

/// The `traceparent` to store in place of this one: where the span that is entered now belongs to another trace.
pub fn moved(stored: Option<&str>) -> Option<String> {
    let current = current()?;
    let trace = |text: &str| parse(text).map(|span| span.trace_id());
    (stored.and_then(trace) != trace(&current)).then_some(current)
}

/// Goes on with the trace of what waited in the database, or links to it after a long wait. The span must not
/// have been entered.
pub(super) fn resume(span: &Span, stored: Option<&str>, waited: TimeDelta) {
    let Some(stored) = stored.filter(|_| super::on()).and_then(parse) else {
        return;
    };
    if waited <= CONTINUES {
        let remote = Context::new().with_remote_span_context(stored);
        let _ = span.set_parent(remote);
    } else {
        span.add_link(stored);
    }
}

#[cfg(test)]
mod tests {
    use ::http::HeaderMap;
    use opentelemetry::trace::TraceContextExt as _;

    use super::{of_headers, parse};

    const SAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_as_the_recommendation_says() {
        let span = parse(SAMPLE).unwrap();
        assert!(span.is_sampled() && span.is_remote());
        assert_eq!(span.trace_id().to_string(), &SAMPLE[3..35]);
        for wrong in [
            "",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6-00f067aa0ba902b7-01",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_request_brings_its_trace_or_none() {
        let mut headers = HeaderMap::new();
        let span = |headers: &HeaderMap| of_headers(headers).span().span_context().clone();
        assert!(!span(&headers).is_valid());
        headers.insert("traceparent", SAMPLE.parse().unwrap());
        headers.insert("tracestate", "a=1".parse().unwrap());
        assert_eq!(span(&headers).trace_state().get("a"), Some("1"));
        headers.insert("traceparent", "\u{e9}".parse().unwrap());
        assert!(!span(&headers).is_valid());
    }
}
