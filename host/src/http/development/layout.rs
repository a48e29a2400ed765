//! The layout of the development pages: light and dark, usable on a phone and by keyboard. No scripts,
//! no external resources.

use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

/// Text has a contrast of at least 4.5:1 in both color schemes (WCAG 2.2, 1.4.3).
const STYLE: &str = "
:root { color-scheme: light dark; --back: #fff; --text: #1c1917; --soft: #57534e; --line: #d6d3d1;
  --panel: #f5f5f4; --accent: #9a3412; }
@media (prefers-color-scheme: dark) { :root { --back: #1c1917; --text: #f5f5f4; --soft: #bcb6b0;
  --line: #44403c; --panel: #292524; --accent: #fdba74; } }
* { box-sizing: border-box; }
body { margin: 0; font: 16px/1.55 system-ui, sans-serif; color: var(--text); background: var(--back); }
.skip { position: absolute; left: -100rem; }
.skip:focus { left: 1rem; top: .5rem; background: var(--back); padding: .25rem .5rem; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; padding: .75rem 1rem; border-bottom: 1px solid var(--line);
  max-width: 62rem; margin: 0 auto; align-items: baseline; }
nav b { margin-right: auto; }
nav a { padding: .25rem 0; }
nav a[aria-current] { color: var(--text); text-decoration: none; font-weight: 600; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p, ol, ul { margin: .5rem 0 1rem; max-width: 46rem; }
li { margin: .35rem 0; }
a { color: var(--accent); text-underline-offset: .15em; }
a:focus-visible, summary:focus-visible, [tabindex]:focus-visible, iframe:focus-visible {
  outline: 3px solid var(--accent); outline-offset: 2px; border-radius: .2rem; }
code, pre { font: .9em/1.5 ui-monospace, monospace; }
code { background: var(--panel); padding: .1em .3em; border-radius: .25rem; overflow-wrap: anywhere; }
pre { overflow-x: auto; padding: .9rem 1rem; background: var(--panel); border: 1px solid var(--line);
  border-radius: .5rem; white-space: pre-wrap; overflow-wrap: anywhere; margin: .5rem 0 1rem; }
table { width: 100%; border-collapse: collapse; }
th, td { text-align: left; padding: .55rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top;
  overflow-wrap: anywhere; }
th { font-size: .85rem; color: var(--soft); font-weight: 600; }
td.time { white-space: nowrap; font-variant-numeric: tabular-nums; }
.soft { color: var(--soft); }
.tag { display: inline-block; padding: 0 .55rem; border-radius: 1rem; background: var(--panel);
  border: 1px solid var(--line); font-size: .85rem; }
dl { display: grid; grid-template-columns: minmax(6rem, auto) 1fr; gap: .3rem 1rem; margin: 0 0 1rem; }
dt { color: var(--soft); overflow-wrap: anywhere; } dd { margin: 0; overflow-wrap: anywhere; }
iframe { width: 100%; height: 46rem; border: 1px solid var(--line); border-radius: .5rem; background: #fff; }
@media (max-width: 40rem) {
  .rows, .rows tbody, .rows tr, .rows td { display: block; }
  .rows thead { position: absolute; left: -100rem; }
  .rows tr { padding: .7rem 0; border-bottom: 1px solid var(--line); }
  .rows td { border: 0; padding: .1rem 0; }
  .rows td[data-name]::before { content: attr(data-name) ': '; color: var(--soft); }
  .rows td.main { font-weight: 600; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .5rem; }
}
";

/// The current page, for the navigation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Here {
    Start,
    Outbox,
    Nowhere,
}

/// Builds a page. `title` and `body` are HTML: the caller escapes text from outside.
pub fn page(status: StatusCode, here: Here, title: &str, body: &str) -> Response {
    let link = |place: Here, path: &str, name: &str| {
        let current = if place == here {
            " aria-current=\"page\""
        } else {
            ""
        };
        format!("<a href=\"{path}\"{current}>{name}</a>")
    };
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"robots\" content=\"noindex\">\
         <title>{title} · Hogsend</title><style>{STYLE}</style></head>\
         <body><a class=\"skip\" href=\"#main\">Skip to content</a>\
         <nav aria-label=\"Pages\"><b>Hogsend</b>{}{}<a href=\"/docs\">API</a>\
         <a href=\"/v1/health\">Health</a></nav>\
         <main id=\"main\">{body}</main></body></html>",
        link(Here::Start, "/", "Start"),
        link(Here::Outbox, "/outbox", "Outbox"),
    );
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; img-src https: data:; frame-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
    ];
    (status, headers, Html(html)).into_response()
}
