//! Every variable of the host: name, default, help, and what production asks of it. Plugins declare
//! their own.

use super::variable::{Rule, Variable, variable};

/// The host's variables, in the order of the README's table.
pub const TABLE: &[Variable] = &[
    variable(
        "NODE_ENV",
        "development",
        "`production` switches off the open defaults and the development pages",
    ),
    variable(
        "HOST",
        "",
        "address the API listens on; by default every address of the machine, with `hogsend dev` only `127.0.0.1`",
    ),
    variable("PORT", "3002", "port of the API"),
    variable(
        "LOG_LEVEL",
        "info",
        "error, warn, info, http or debug; JSON lines in production",
    ),
    variable(
        "DATABASE_URL",
        "",
        "Postgres; without it `hogsend dev` starts an embedded one",
    )
    .in_production(&[Rule::Required("the URL of a Postgres")]),
    variable(
        "HEALTH_PORT",
        "",
        "port on which /v1/health, /v1/health/live, /v1/health/ready and /metrics show everything without a key, for the API and the worker",
    ),
    variable(
        "METRICS_TOKEN",
        "",
        "the token with which Prometheus gets /metrics from the API's own port; without it that answers 404 (docs/reference/metrics.md)",
    )
    .in_production(&[Rule::Characters(24)]),
    variable(
        "METRICS_PORT",
        "",
        "port on which the API shows /metrics without a token; the worker has it on `HEALTH_PORT`",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "",
        "base URL of an OpenTelemetry collector, for example `http://localhost:4318`: traces go to `/v1/traces` there (docs/reference/traces.md)",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_HEADERS",
        "",
        "comma-separated `name=value` headers for the collector, percent-encoded; secret",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "http/protobuf",
        "no other is supported",
    ),
    variable(
        "OTEL_SERVICE_NAME",
        "",
        "name of the service in traces; by default `hogsend-api` and `hogsend-worker`",
    ),
    variable(
        "OTEL_TRACES_SAMPLER",
        "parentbased_always_on",
        "`always_on`, `always_off` or `traceidratio`, or one of these after `parentbased_`",
    ),
    variable(
        "OTEL_TRACES_SAMPLER_ARG",
        "",
        "the part of all traces that `traceidratio` exports, from 0 to 1; by default all",
    ),
    variable(
        "REDIS_URL",
        "",
        "cache, redis:// or rediss://; in production redis://localhost:6379 by default; `off` disables it",
    ),
    variable(
        "BETTER_AUTH_SECRET",
        "",
        "signs the links in mails and session cookies",
    )
    .in_production(&[
        Rule::Required(
            "at least 32 random characters; create one with `openssl rand -base64 32`",
        ),
        Rule::Characters(32),
    ]),
    variable(
        "BETTER_AUTH_SECRET_PREVIOUS",
        "",
        "comma-separated former secrets: links they signed and addresses of erased contacts they hashed stay recognised",
    ),
    variable(
        "API_PUBLIC_URL",
        "http://localhost:3002",
        "base URL of every link in mails",
    )
    .in_production(&[
        Rule::Required(
            "the https address of the API, for example https://api.example.com. Every link in mails begins \
             with it",
        ),
        Rule::Https,
        Rule::NoLoopback,
    ]),
    variable(
        "BETTER_AUTH_URL",
        "",
        "where browsers reach /api/auth; by default `API_PUBLIC_URL`; with https, session cookies are Secure",
    )
    .in_production(&[Rule::Https, Rule::NoLoopback]),
    variable(
        "TRUSTED_ORIGINS",
        "",
        "comma-separated further origins whose pages may change data with a session",
    ),
    variable(
        "TRUSTED_PROXIES",
        "",
        "comma-separated networks of the proxies whose X-Forwarded-For is trusted, for example `10.0.0.0/8`",
    ),
    variable(
        "WEBHOOK_ALLOWED_NETWORKS",
        "",
        "comma-separated networks that webhooks and alerts may reach besides the public internet, for example `10.0.0.0/8`",
    ),
    variable("ADMIN_API_KEY", "", "a key with every scope")
        .in_production(&[Rule::Characters(24)]),
    variable(
        "RATE_LIMIT_ADMIN",
        "100",
        "requests to /v1/admin that each key or user may make within 60 s; 0 means unlimited",
    ),
    variable(
        "RATE_LIMIT_EMAILS",
        "30",
        "requests to /v1/emails that each key may make within 60 s; 0 means unlimited",
    ),
    variable(
        "RATE_LIMIT_EVENTS",
        "0",
        "requests with events or contacts that each key may make within 60 s; 0 means unlimited",
    ),
    variable(
        "HTTP_CONNECTIONS",
        "4096",
        "maximum number of open connections to the API; beyond it only /v1/health is answered",
    ),
    variable(
        "REQUEST_MEMORY_MB",
        "64",
        "maximum memory for the bodies of all requests together, in MiB; beyond it requests get 503",
    ),
    variable(
        "EMAIL_PROVIDER",
        "",
        "comma-separated ids of delivery plugins in order of preference; by default the one whose settings are there, in development without any the outbox",
    ),
    variable(
        "EMAIL_PROVIDER_TRANSACTIONAL",
        "",
        "the same for transactional mail, if other providers take it",
    ),
    variable(
        "EMAIL_FROM",
        "",
        "sender, if the delivery plugin has no setting of its own for it, for example `Acme <hello@acme.com>`",
    )
    .in_production(&[Rule::RequiredOrPlugin(
        "who mails come from, at a domain your provider has verified, for example Acme <hello@acme.com>",
    )]),
    variable(
        "EMAIL_FROM_TRANSACTIONAL",
        "",
        "sender of transactional mail, if it differs; by default the setting of the first plugin in `EMAIL_PROVIDER_TRANSACTIONAL`, or `EMAIL_FROM`",
    ),
    variable(
        "EMAIL_POSTAL_ADDRESS",
        "",
        "postal address in the footer of mails; many countries require one by law",
    ),
    variable(
        "BRAND_NAME",
        "",
        "the product's name, in stock mails and recipients' pages; by default the sender's name",
    ),
    variable(
        "BRAND_URL",
        "",
        "the product's web page: the product's name in mails links to it, and so do buttons without a link of their own",
    ),
    variable(
        "BRAND_LOGO_URL",
        "",
        "image shown instead of the name at the top of stock mails and recipients' pages, 120 pixels wide",
    ),
    variable(
        "BRAND_COLOR",
        "#c2410c",
        "color of buttons and links in stock mails and recipients' pages",
    ),
    variable(
        "TEMPLATE_DIR",
        "",
        "folder with templates that replace those of the plugins (docs/reference/templates.md)",
    ),
    variable(
        "PAGE_TEXTS",
        "",
        "JSON file with the texts of recipients' pages and mail footers, for a language other than English (docs/reference/mail.md)",
    ),
    variable(
        "EMAIL_FREQUENCY_CAP",
        "",
        "maximum number of mails to one contact over all journeys, for example `3/24h` or `10/7d`; further ones are skipped",
    ),
    variable(
        "EMAIL_SEND_WINDOW",
        "",
        "hours of the contact's day in which mail goes out, for example `09:00-21:00`; outside them mail waits",
    ),
    variable(
        "DEFAULT_TIMEZONE",
        "UTC",
        "time zone of contacts whose own is unknown",
    ),
    variable(
        "EMAIL_TEST_TO",
        "",
        "test mode: every mail goes to this address, with the original one in the subject",
    ),
    variable(
        "EMAIL_TRACKING",
        "opens,clicks",
        "what Hogsend tracks in mails: `opens`, `clicks`, or `off` for neither",
    ),
    variable(
        "EVENT_ALIASES",
        "",
        "comma-separated aliases of event names, for example `signed_up=user.created`: an event with the first name is stored under the second",
    ),
    variable(
        "TRUSTED_SOURCES",
        "",
        "comma-separated ids of event sources whose events come from your servers only, for example `posthog`: their events are trusted (docs/connect-posthog.md)",
    ),
    variable(
        "LINK_HOSTS",
        "",
        "comma-separated hosts that links from untrusted events may lead to; by default the hosts of `BRAND_URL` and `API_PUBLIC_URL`",
    ),
    variable(
        "ENABLED_JOURNEYS",
        "*",
        "comma-separated ids of the journeys that contacts may enter",
    ),
    variable(
        "SPIKE_GUARD",
        "",
        "a journey is held when more contacts enter it within ten minutes, and five times as many as ever within four weeks (docs/run-in-production.md); `off` for never; in production `1000` by default",
    ),
    variable("PLUGIN_DIR", "", "folder with plugin libraries"),
    variable(
        "PLUGIN_SHARED_SETTINGS",
        "",
        "comma-separated settings of Hogsend or of one plugin that another plugin may read, for example `acme:RESEND_API_KEY`",
    ),
    variable(
        "WEBHOOK_DIR",
        "",
        "folder with files that describe webhook sources (docs/connect-webhooks.md)",
    ),
    variable(
        "HOGSEND_DATA_DIR",
        ".hogsend",
        "folder of the embedded database, the outbox and the plugin cache",
    ),
    variable(
        "EMAIL_ATTEMPT_SECONDS",
        "60",
        "how long an attempt to deliver a mail may take; a delivery plugin may ask for more",
    ),
    variable(
        "WORKER_LEASE_SECONDS",
        "60",
        "after how long without a sign of life a worker's work goes to another worker; at least 20 in production",
    ),
    variable(
        "HATCHET_CLIENT_TOKEN",
        "",
        "a token of Hatchet, which wakes runs then in place of the worker's own engine (docs/hatchet.md)",
    ),
    variable(
        "HATCHET_CLIENT_HOST_PORT",
        "",
        "host:port of Hatchet's gRPC port; by default what the token says",
    ),
    variable(
        "HATCHET_CLIENT_NAMESPACE",
        "",
        "prefix of every name in Hatchet, so that several installations can share a tenant",
    ),
    variable(
        "HATCHET_CLIENT_TLS_STRATEGY",
        "",
        "`tls` (the default), `mtls` with a certificate of its own, or `none`",
    ),
    variable(
        "HATCHET_CLIENT_TLS_CERT_FILE",
        "",
        "PEM file with the certificate for `mtls`",
    ),
    variable(
        "HATCHET_CLIENT_TLS_KEY_FILE",
        "",
        "PEM file with its key",
    ),
    variable(
        "HATCHET_CLIENT_TLS_ROOT_CA_FILE",
        "",
        "PEM file with the authorities to trust in place of the system's",
    ),
    variable(
        "HATCHET_CLIENT_TLS_SERVER_NAME",
        "",
        "the name in Hatchet's certificate, where it is not the host",
    ),
    variable(
        "DATABASE_POOL_SIZE",
        "16",
        "connections of each process to Postgres, 4 to 500; a worker advances as many runs in parallel",
    ),
    variable(
        "RETENTION_BODIES_DAYS",
        "30",
        "days that the content of a mail is kept once the mail is final; 0 means for ever",
    ),
    variable(
        "RETENTION_VISITS_DAYS",
        "365",
        "days that opens, clicks and providers' reports about a mail are kept; 0 means for ever",
    ),
    variable(
        "RETENTION_LOGS_DAYS",
        "365",
        "days that transitions of runs, refused enrolments, alerts and imports are kept; 0 means for ever",
    ),
    variable(
        "RETENTION_DELIVERIES_DAYS",
        "30",
        "days that delivered or dismissed webhooks, and dead letters of analytics, are kept; 0 means for ever",
    ),
    variable(
        "RETENTION_VISITORS_DAYS",
        "90",
        "days that events of unidentified visitors are kept; 0 means for ever",
    ),
    variable(
        "RETENTION_EVENTS_DAYS",
        "0",
        "days that events are kept; 0 means for ever. Replay and journeys that look back find no older ones",
    ),
    variable(
        "RETENTION_KEYS_DAYS",
        "365",
        "days within which a repeated event is recognised as a duplicate; 0 means for ever",
    ),
    variable(
        "RETENTION_AUDIT_DAYS",
        "0",
        "days that the audit log is kept; 0 means for ever",
    ),
    variable(
        "BACKFILL_ON_START",
        "",
        "comma-separated event sources, for example `posthog`, whose API a worker asks at its start for the events that were missed",
    ),
    variable(
        "BACKFILL_MAX_HOURS",
        "24",
        "how far back `BACKFILL_ON_START` reads at most",
    ),
    variable(
        "BACKFILL_EVENTS",
        "",
        "comma-separated names of the events that a backfill reads, as the source spells them; by default all",
    ),
    variable(
        "SKIP_SCHEMA_CHECK",
        "false",
        "start even if migrations are pending",
    ),
];

pub(super) fn default_of(name: &str) -> &'static str {
    let found = TABLE.iter().find(|variable| variable.name == name);
    found.map_or("", |variable| variable.default)
}

/// What to set, if production requires the variable.
pub(super) fn required(name: &str) -> Option<&'static str> {
    rules_of(name).iter().find_map(|rule| match rule {
        Rule::Required(what) => Some(*what),
        _ => None,
    })
}

/// What to set, if production requires the variable or a setting of the delivery plugin.
pub(super) fn required_or_plugin(name: &str) -> Option<&'static str> {
    rules_of(name).iter().find_map(|rule| match rule {
        Rule::RequiredOrPlugin(what) => Some(*what),
        _ => None,
    })
}

/// The fewest characters that production asks of a secret.
pub(super) fn least_characters(name: &str) -> usize {
    let least = rules_of(name).iter().map(|rule| match rule {
        Rule::Characters(least) => *least,
        _ => 0,
    });
    least.max().unwrap_or(0)
}

/// What production asks of a variable.
pub(super) fn rules_of(name: &str) -> &'static [Rule] {
    let found = TABLE.iter().find(|variable| variable.name == name);
    found.map_or(&[], |variable| variable.rules)
}

/// The table of README.md.
pub fn markdown() -> String {
    let mut text = "| Variable | Default | |\n|---|---|---|\n".to_owned();
    for variable in TABLE {
        let default = match variable.default {
            "" => String::new(),
            default => format!("`{default}` "),
        };
        let production = match variable.production().as_str() {
            "" => String::new(),
            production => format!(". In production: {production}"),
        };
        text += &format!(
            "| `{}` | {default}| {}{production} |\n",
            variable.name, variable.help
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{TABLE, markdown};

    #[test]
    fn the_readme_has_the_table_and_the_example_every_variable() {
        let readme = include_str!("../../../README.md");
        assert!(
            readme.contains(&markdown()),
            "README.md has another table; `hogsend settings --markdown` prints\n{}",
            markdown()
        );
        let example = include_str!("../../../.env.example");
        for variable in TABLE {
            let line = format!("\n# {}=", variable.name);
            assert!(
                example.contains(&line),
                ".env.example lacks {}",
                variable.name
            );
        }
    }
}
