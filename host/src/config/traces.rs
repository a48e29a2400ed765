//! Where traces go, as OpenTelemetry's specification names the settings
//! (<https://opentelemetry.io/docs/specs/otel/protocol/exporter/>,
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>).

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::Mode;
use super::reader::Reader;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";

/// Where traces go.
#[derive(Clone)]
pub struct Traces {
    /// With its path, `…/v1/traces`.
    pub endpoint: Url,
    /// Sent with each request; all are secret.
    pub headers: HeaderMap,
    /// The name of this process among others.
    pub service: String,
    pub sampler: Sampler,
}

/// Which traces are exported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// What a caller decided holds; otherwise the rest decides.
    pub parent: bool,
    pub off: bool,
    /// This part of all, from 0 to 1.
    pub ratio: Option<f64>,
}

impl std::fmt::Debug for Traces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The endpoint may hold a password.
        f.debug_struct("Traces")
            .field("service", &self.service)
            .field("sampler", &self.sampler)
            .finish_non_exhaustive()
    }
}

/// None without an endpoint.
pub(super) fn read(reader: &mut Reader<'_>, mode: Mode) -> Option<Traces> {
    let endpoint = endpoint(reader);
    let headers = headers(reader);
    if let Some(other) = reader.optional(PROTOCOL).filter(|it| it != "http/protobuf") {
        let message =
            format!("is '{other}': only http/protobuf is supported, usually at port 4318");
        reader.problem(PROTOCOL, message);
    }
    let sampler = sampler(reader);
    let own = match mode {
        Mode::Worker => "hogsend-worker",
        Mode::Dev => "hogsend-dev",
        _ => "hogsend-api",
    };
    let service = reader.optional("OTEL_SERVICE_NAME");
    Some(Traces {
        endpoint: endpoint?,
        headers,
        service: service.unwrap_or_else(|| own.to_owned()),
        sampler,
    })
}

/// The base URL with the path of traces.
fn endpoint(reader: &mut Reader<'_>) -> Option<Url> {
    let text = reader.optional(ENDPOINT)?;
    let url = Url::parse(&text).ok();
    let url = url.filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
    let Some(mut url) = url else {
        // Not the value: a URL may contain a password.
        reader.problem(ENDPOINT, "is not a URL of the form http://host:4318");
        return None;
    };
    let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Some(url)
}

/// `name=value,name=value`, with percent-encoded values. Problems never contain a value.
fn headers(reader: &mut Reader<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (place, part) in reader.words(HEADERS).iter().enumerate() {
        let pair = part.split_once('=').and_then(|(name, value)| {
            let value = percent_decoded(value.trim())?;
            let name = HeaderName::try_from(name.trim()).ok()?;
            Some((name, HeaderValue::from_bytes(&value).ok()?))
        });
        match pair {
            Some((name, mut value)) => {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
            None => reader.problem(
                HEADERS,
                format!(
                    "has an entry (the {}.) that is not of the form name=value, with special characters \
                     percent-encoded",
                    place + 1
                ),
            ),
        }
    }
    headers
}

fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.extend(hex::decode(digits).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    Some(bytes)
}

/// The specification wants what is unknown to be reported and ignored.
fn sampler(reader: &mut Reader<'_>) -> Sampler {
    let named = reader.text(SAMPLER);
    let (parent, root) = match named.strip_prefix("parentbased_") {
        Some(root) => (true, root),
        None => (false, named.as_str()),
    };
    let plain = |off| Sampler {
        parent,
        off,
        ratio: None,
    };
    match root {
        "always_on" => plain(false),
        "always_off" => plain(true),
        "traceidratio" => {
            let given = reader.optional(SAMPLER_ARG);
            let ratio = given.as_deref().map_or(Ok(1.0), str::parse);
            let ratio = ratio.ok().filter(|ratio| (0.0..=1.0).contains(ratio));
            if ratio.is_none() {
                reader.warnings.push(format!(
                    "{SAMPLER_ARG} is '{}' and is ignored: use a number from 0 to 1",
                    given.unwrap_or_default()
                ));
            }
            Sampler {
                parent,
                off: false,
                ratio: Some(ratio.unwrap_or(1.0)),
            }
        }
        _ => {
            reader.warnings.push(format!(
                "{SAMPLER} is '{named}' and is ignored: use always_on, always_off, traceidratio, or one of these \
                 after parentbased_"
            ));
            Sampler {
                parent: true,
                off: false,
                ratio: None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Mode, Problem};
    use super::Sampler;

    fn read(pairs: &[(&str, &str)]) -> (Config, Vec<Problem>) {
        let lookup = |name: &str| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Config::read(&lookup, Mode::Dev)
    }

    #[test]
    fn the_endpoint_gets_the_path_of_traces_and_the_headers_are_decoded() {
        let (config, problems) = read(&[
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "https://otel.example.com/base/",
            ),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b%2C, other = c=d"),
            ("OTEL_SERVICE_NAME", "mail"),
        ]);
        assert!(problems.is_empty());
        let traces = config.traces.unwrap();
        assert_eq!(
            traces.endpoint.as_str(),
            "https://otel.example.com/base/v1/traces"
        );
        assert_eq!(traces.headers["x-key"], "a b,");
        assert_eq!(traces.headers["other"], "c=d");
        assert_eq!(traces.service, "mail");
        assert!(!format!("{traces:?}").contains("a b"));
        assert!(read(&[]).0.traces.is_none());
    }

    #[test]
    fn what_is_wrong_is_named_without_secrets() {
        let (_, problems) = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "user:hunter2@host"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2,a=%zz"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ]);
        let names: Vec<&str> = problems.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "OTEL_EXPORTER_OTLP_HEADERS",
                "OTEL_EXPORTER_OTLP_HEADERS",
                "OTEL_EXPORTER_OTLP_PROTOCOL",
            ]
        );
        assert!(
            !problems
                .iter()
                .any(|one| one.to_string().contains("hunter2"))
        );
    }

    #[test]
    fn samplers_are_those_of_the_specification_and_others_are_reported_and_ignored() {
        let of = |name: &str, arg: &str| {
            let (config, problems) = read(&[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318"),
                ("OTEL_TRACES_SAMPLER", name),
                ("OTEL_TRACES_SAMPLER_ARG", arg),
            ]);
            assert!(problems.is_empty());
            let Sampler { parent, off, ratio } = config.traces.unwrap().sampler;
            (parent, off, ratio, config.warnings.len())
        };
        assert_eq!(of("", ""), (true, false, None, 0));
        assert_eq!(of("always_off", ""), (false, true, None, 0));
        assert_eq!(of("parentbased_always_off", ""), (true, true, None, 0));
        assert_eq!(of("traceidratio", "0.25"), (false, false, Some(0.25), 0));
        assert_eq!(
            of("parentbased_traceidratio", "2"),
            (true, false, Some(1.0), 1)
        );
        assert_eq!(of("jaeger_remote", ""), (true, false, None, 1));
    }
}
