//! HTML pages without scripts and external resources.

use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

/// Escapes text for HTML, in elements and in quoted attributes.
pub use htmlize::escape_all_quotes as escape;

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --accent: #c2410c; --on-accent: #fff; --link: #c2410c; }
@media (prefers-color-scheme: dark) { :root { --link: #fdba74; } }
* { box-sizing: border-box; }
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 2rem 1rem; }
main.card { max-width: 28rem; margin-top: 10vh; text-align: center; }
h1 { font-size: 1.4rem; margin: 0 0 .75rem; }
p { margin: .5rem 0 1rem; }
button { font: inherit; font-weight: 600; padding: .7rem 1.4rem; border: 0; border-radius: .5rem;
  background: var(--accent); color: var(--on-accent); cursor: pointer; }
.brand { font-size: 1.1rem; font-weight: 700; margin: 0 0 1.5rem; }
.brand a { color: inherit; text-decoration: none; }
.brand img { max-width: 100%; height: auto; }
button.quiet { background: none; color: inherit; border: 1px solid var(--line); font-weight: 400; }
form + form { margin-top: 1rem; }
fieldset { border: 0; padding: 0; margin: 0 0 1.25rem; text-align: left; }
.choice { display: flex; gap: .75rem; align-items: center; padding: .8rem .25rem; border-bottom: 1px solid var(--line); cursor: pointer; }
.choice small { opacity: .75; }
.choice input { width: 1.25rem; height: 1.25rem; accent-color: var(--accent); flex: none; }
.note { padding: .5rem; border-radius: .5rem; background: var(--soft); }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
a { color: var(--link); }
.table { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; }
th, td { text-align: left; padding: .5rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-size: .8rem; opacity: .7; font-weight: 600; }
td.time { white-space: nowrap; font-variant-numeric: tabular-nums; }
.muted { opacity: .7; }
.tag { display: inline-block; padding: 0 .5rem; border-radius: 1rem; background: var(--soft); font-size: .85rem; }
dl { display: grid; grid-template-columns: auto 1fr; gap: .25rem 1rem; margin: 0 0 1rem; }
dt { opacity: .7; } dd { margin: 0; overflow-wrap: anywhere; }
iframe { width: 100%; height: 46rem; border: 1px solid var(--line); border-radius: .5rem; background: #fff; }
pre { overflow-x: auto; padding: 1rem; background: var(--soft); border-radius: .5rem; white-space: pre-wrap; }
";

/// Builds an English page. `title` and `body` are HTML: the caller escapes text from outside.
pub fn page(status: StatusCode, title: &str, class: &str, body: &str) -> Response {
    page_in("en", status, title, class, body)
}

/// Builds a page in the language of this tag (RFC 5646), which is already escaped.
pub fn page_in(lang: &str, status: StatusCode, title: &str, class: &str, body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"{lang}\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"robots\" content=\"noindex\">\
         <title>{title}</title><style>{STYLE}</style></head>\
         <body><main class=\"{class}\">{body}</main></body></html>"
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

/// Fills values into a text with placeholders in braces, as HTML. The values are already HTML.
pub fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(&escape(before));
        let named = after.split_once('}').and_then(|(name, after)| {
            let value = values.iter().find(|(known, _)| *known == name)?;
            Some((value.1, after))
        });
        rest = if let Some((value, after)) = named {
            out.push_str(value);
            after
        } else {
            out.push('{');
            after
        };
    }
    out.push_str(&escape(rest));
    out
}
