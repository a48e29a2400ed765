//! Every variable of the host: name, default, help. Plugins declare their own.

/// One environment variable.
pub struct Variable {
    pub name: &'static str,
    /// Empty where there is none.
    pub default: &'static str,
    /// One line, in Markdown.
    pub help: &'static str,
    /// What production asks of it; empty where that is nothing.
    pub production: &'static str,
}

impl Variable {
    /// Says what production asks of a variable.
    const fn in_production(mut self, what: &'static str) -> Self {
        self.production = what;
        self
    }
}

const fn variable(name: &'static str, default: &'static str, help: &'static str) -> Variable {
    Variable {
        name,
        default,
        help,
        production: "",
    }
}

/// The host's variables, in the order of the README's table.
pub const TABLE: &[Variable] = &[
    variable(
        "NODE_ENV",
        "development",
        "`production` closes the open defaults and the development pages",
    ),
    variable(
        "HOST",
        "",
        "address the API listens on; by default every address of the machine, with `hogsend dev` `127.0.0.1`",
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
        "Postgres; `hogsend dev` brings its own where it is not set",
    )
    .in_production("required"),
    variable(
        "HEALTH_PORT",
        "",
        "port where /v1/health, /v1/health/live and /v1/health/ready answer in full without a key, for the API and the worker",
    ),
    variable(
        "REDIS_URL",
        "",
        "cache, redis:// or rediss://; in production redis://localhost:6379 where it is not set; `off` does without",
    ),
    variable(
        "BETTER_AUTH_SECRET",
        "",
        "signs the links in mails and the cookies of sessions",
    )
    .in_production("required, 32 characters or more"),
    variable(
        "BETTER_AUTH_SECRET_PREVIOUS",
        "",
        "comma-separated secrets of the past: links they signed and addresses of erased people they hashed are still recognised",
    ),
    variable(
        "API_PUBLIC_URL",
        "http://localhost:3002",
        "base of the links in mails",
    )
    .in_production("required, https, and not an address of the machine itself"),
    variable(
        "BETTER_AUTH_URL",
        "",
        "where browsers reach /api/auth; by default `API_PUBLIC_URL`; on https the cookies of sessions are for https only",
    )
    .in_production("https"),
    variable(
        "TRUSTED_ORIGINS",
        "",
        "comma-separated further origins whose pages may change things with a session",
    ),
    variable(
        "TRUSTED_PROXIES",
        "",
        "comma-separated networks of the proxies whose X-Forwarded-For is believed, as `10.0.0.0/8`",
    ),
    variable(
        "WEBHOOK_ALLOWED_NETWORKS",
        "",
        "comma-separated networks webhooks and alerts may reach besides the public internet, as `10.0.0.0/8`",
    ),
    variable("ADMIN_API_KEY", "", "a key with every scope")
        .in_production("24 characters or more"),
    variable(
        "RATE_LIMIT_ADMIN",
        "100",
        "requests to /v1/admin each key or user may make within 60 s; 0 for any number",
    ),
    variable(
        "RATE_LIMIT_EMAILS",
        "30",
        "requests to /v1/emails each key may make within 60 s; 0 for any number",
    ),
    variable(
        "RATE_LIMIT_EVENTS",
        "0",
        "requests with events or contacts each key may make within 60 s; 0 for any number",
    ),
    variable(
        "HTTP_CONNECTIONS",
        "4096",
        "most connections to the API at once; beyond them only /v1/health is answered",
    ),
    variable(
        "REQUEST_MEMORY_MB",
        "64",
        "most memory, in MiB, for the bodies of all requests together; beyond it requests are answered 503",
    ),
    variable(
        "EMAIL_PROVIDER",
        "",
        "ids of the delivery plugins that take mail, with commas between, asked in this order where one is down; by default the one whose settings are there, in development without any the outbox",
    ),
    variable(
        "EMAIL_FROM",
        "",
        "sender, where the delivery plugin has no setting of its own for it, as `Acme <hello@acme.com>`",
    )
    .in_production("required, or the delivery plugin's own"),
    variable(
        "EMAIL_FROM_TRANSACTIONAL",
        "",
        "sender of mail of the category `transactional`, where it is another",
    ),
    variable(
        "EMAIL_POSTAL_ADDRESS",
        "",
        "postal address in the footer of mails; the law asks for one",
    ),
    variable(
        "BRAND_NAME",
        "",
        "the product's name, in stock mails and recipients' pages; by default that of the sender",
    ),
    variable(
        "BRAND_URL",
        "",
        "the product's own page: where its name in mails leads, and buttons without a goal of their own",
    ),
    variable(
        "BRAND_LOGO_URL",
        "",
        "picture in place of the name at the top of stock mails and recipients' pages, shown 120 pixels wide",
    ),
    variable(
        "BRAND_COLOR",
        "#c2410c",
        "color of buttons and links in stock mails and recipients' pages",
    ),
    variable(
        "TEMPLATE_DIR",
        "",
        "folder with templates that take the place of those of the plugins (docs/reference/templates.md)",
    ),
    variable(
        "PAGE_TEXTS",
        "",
        "JSON file with the texts of the pages for recipients and of the footer of mails, for another language than English",
    ),
    variable(
        "EMAIL_FREQUENCY_CAP",
        "",
        "most mails one person gets over all journeys, as `3/24h` or `10/7d`; further ones are skipped",
    ),
    variable(
        "EMAIL_SEND_WINDOW",
        "",
        "hours of the person's day in which mail goes out, as `09:00-21:00`; outside it waits",
    ),
    variable(
        "DEFAULT_TIMEZONE",
        "UTC",
        "zone of people whose own is not known",
    ),
    variable(
        "EMAIL_TEST_TO",
        "",
        "test mode: every mail goes to this address, with the original one in the subject",
    ),
    variable(
        "EMAIL_TRACKING",
        "opens,clicks",
        "what mails tell of their readers: `opens`, `clicks`, or `off` for neither",
    ),
    variable(
        "EVENT_ALIASES",
        "",
        "comma-separated other names of events, as `signed_up=user.created`: whatever brings the first is stored as the second",
    ),
    variable(
        "TRUSTED_SOURCES",
        "",
        "comma-separated ids of event sources whose events come from your servers only, for example `posthog`: what they say of people is believed",
    ),
    variable(
        "LINK_HOSTS",
        "",
        "comma-separated hosts that links from untrusted events may lead to; by default those of `BRAND_URL` and `API_PUBLIC_URL`",
    ),
    variable(
        "ENABLED_JOURNEYS",
        "*",
        "comma-separated ids of the journeys people may enter",
    ),
    variable("PLUGIN_DIR", "", "folder with plugin libraries"),
    variable(
        "HOGSEND_DATA_DIR",
        ".hogsend",
        "the embedded database, the outbox, the plugin cache",
    ),
    variable(
        "EMAIL_ATTEMPT_SECONDS",
        "60",
        "how long an attempt at a mail may take; a delivery plugin may ask for longer",
    ),
    variable(
        "WORKER_LEASE_SECONDS",
        "60",
        "after how long the work of a worker that fell silent goes to another, at least 20 in production",
    ),
    variable(
        "DATABASE_POOL_SIZE",
        "16",
        "connections of each process to Postgres, 4 to 500; a worker advances as many journeys side by side",
    ),
    variable(
        "RETENTION_BODIES_DAYS",
        "30",
        "days that the content of a mail is kept once the mail is over; 0 for ever",
    ),
    variable(
        "RETENTION_VISITS_DAYS",
        "365",
        "days that opens, clicks and providers' reports about a mail are kept; 0 for ever",
    ),
    variable(
        "RETENTION_LOGS_DAYS",
        "365",
        "days that transitions of runs, enrolments turned away, alerts and imports are kept; 0 for ever",
    ),
    variable(
        "RETENTION_DELIVERIES_DAYS",
        "30",
        "days that delivered or dismissed webhooks, and captures given up, are kept; 0 for ever",
    ),
    variable(
        "RETENTION_VISITORS_DAYS",
        "90",
        "days that events of visitors nobody knows are kept; 0 for ever",
    ),
    variable(
        "RETENTION_EVENTS_DAYS",
        "0",
        "days that events are kept; 0 for ever: replay and journeys that look back find no older ones",
    ),
    variable(
        "RETENTION_KEYS_DAYS",
        "365",
        "days within which an event that comes again is known; 0 for ever",
    ),
    variable(
        "RETENTION_AUDIT_DAYS",
        "0",
        "days that the audit log is kept; 0 for ever",
    ),
    variable(
        "SKIP_SCHEMA_CHECK",
        "false",
        "start although migrations are pending",
    ),
];

pub(super) fn default_of(name: &str) -> &'static str {
    let found = TABLE.iter().find(|variable| variable.name == name);
    found.map_or("", |variable| variable.default)
}

/// The table of README.md.
pub fn markdown() -> String {
    let mut text = "| Variable | Default | |\n|---|---|---|\n".to_owned();
    for variable in TABLE {
        let default = match variable.default {
            "" => String::new(),
            default => format!("`{default}` "),
        };
        let production = match variable.production {
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
