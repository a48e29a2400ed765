//! `GET /` in development: the state of the installation, and what to do next.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::layout::{Here, page};
use super::sample;
use crate::app::App;
use crate::db;
use crate::http::ApiError;
use crate::http::wire::page::escape;
use crate::plugins::DeliveryRef;

/// Shows the first steps after installation.
pub async fn show_start(State(app): State<App>) -> Result<Response, ApiError> {
    let so_far = {
        let mut conn = app.db.conn().await?;
        db::story_counts(&mut conn).await?
    };
    let url = format!("http://localhost:{}", app.config.port);
    let mut body = "<h1>Hogsend is running</h1>".to_owned();
    body += &format!(
        "<p>So far: {} {}, {} {}, {} {}.</p>",
        so_far.events,
        plural(so_far.events, "event", "events"),
        so_far.runs,
        plural(so_far.runs, "run of a journey", "runs of journeys"),
        so_far.mails,
        plural(so_far.mails, "mail", "mails"),
    );
    body += "<h2>1. Send an event</h2>";
    match sample::webhook(&url, &app) {
        Some(line) if so_far.events == 0 => {
            body += &format!(
                "<p>This is what PostHog would post for a new user. Run it in a terminal; the \
                 console of <code>hogsend dev</code> shows what follows.</p><pre>{}</pre>",
                escape(&line)
            );
        }
        Some(line) => {
            body += &format!(
                "<p>Events have arrived. Another one to try:</p><pre>{}</pre>",
                escape(&line)
            );
        }
        None => {}
    }
    body += "<h2>2. Read the mail</h2>";
    let deliveries = app.plugins().deliveries();
    let local = deliveries.iter().all(DeliveryRef::is_local);
    body += if local {
        "<p>No mail leaves this machine. Each mail is shown in the <a href=\"/outbox\">outbox</a>, where its \
         links work.</p>"
    } else {
        "<p><b>Mail goes out through a real provider.</b> The <a href=\"/outbox\">outbox</a> shows what \
         was sent; set <code>EMAIL_TEST_TO</code> to your own address while you try things out.</p>"
    };
    body += "<h2>3. Call the API</h2>";
    body += &format!(
        "<p><a href=\"/docs\">Every endpoint</a> can be called from the browser. {}</p><pre>{}</pre>",
        if app.config.development_key {
            "<code>hogsend dev</code> created a key and printed it at startup. It is stored in \
             the data folder."
        } else {
            "The key is the value of <code>ADMIN_API_KEY</code>."
        },
        escape(sample::admin(&url, &app))
    );
    body += "<h2>4. Make it yours</h2><ul>\
        <li>Your events have other names? <code>EVENT_ALIASES=signed_up=user.created</code> gives them \
        the names journeys listen for.</li>\
        <li><code>hogsend journeys list</code> shows what starts each journey, and \
        <code>hogsend journeys simulate</code> plays weeks in milliseconds.</li>\
        <li>The folder <code>docs</code> of the source has a page for each next step: \
        <code>connect-posthog.md</code>, <code>connect-resend.md</code>, and \
        <code>write-a-journey.md</code> for journeys of your own.</li></ul>";
    if !app.config.aliases.is_empty() {
        let names = app.config.aliases.iter().map(|(alias, event)| {
            format!(
                "<li><code>{}</code> is stored as <code>{}</code></li>",
                escape(alias),
                escape(event)
            )
        });
        body += &format!(
            "<h2>Aliases of events</h2><ul>{}</ul>",
            names.collect::<String>()
        );
    }
    let unheard = app.naming.unheard();
    if !unheard.is_empty() {
        let names = unheard.iter().map(|one| {
            let near = one
                .nearest
                .as_deref()
                .map(|near| format!("; did you mean <code>{}</code>?", escape(near)));
            format!(
                "<li><code>{}</code>, {} {}{}</li>",
                escape(&one.name),
                one.count,
                plural(
                    i64::try_from(one.count).unwrap_or(i64::MAX),
                    "time",
                    "times"
                ),
                near.unwrap_or_default()
            )
        });
        body += &format!(
            "<h2>Events without a journey</h2><p>They are stored but start nothing.</p><ul>{}</ul>",
            names.collect::<String>()
        );
    }
    Ok(page(StatusCode::OK, Here::Start, "Start", &body))
}

fn plural<'a>(count: i64, one: &'a str, several: &'a str) -> &'a str {
    if count == 1 { one } else { several }
}
