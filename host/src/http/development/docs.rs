//! The interactive API page (Swagger UI). All its files are part of this binary.

use std::sync::Arc;

use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa_swagger_ui::{Config, serve};

use crate::http::ApiError;

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Hogsend API</title>
<meta name="color-scheme" content="light dark">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="stylesheet" href="/docs/theme.css">
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"#;

/// `validatorUrl: null` keeps the page from sending the document to an online validator.
const START: &str = r##"SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
"##;

/// Additions to Swagger UI's styles: contrast, dark mode, narrow screens.
const THEME: &str = include_str!("docs.css");

/// The page's scripts may connect to this server only.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data:; connect-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

/// The page.
pub async fn show_docs() -> Response {
    answer("text/html; charset=utf-8", PAGE)
}

/// Its scripts and styles.
pub async fn show_docs_file(Path(name): Path<String>) -> Result<Response, ApiError> {
    if name == "start.js" {
        return Ok(answer("text/javascript; charset=utf-8", START));
    }
    if name == "theme.css" {
        return Ok(answer("text/css; charset=utf-8", THEME));
    }
    // Not Swagger UI's own page and initializer, which load a document from elsewhere.
    let wanted = [
        "swagger-ui.css",
        "swagger-ui-bundle.js",
        "favicon-32x32.png",
    ];
    let file = wanted
        .contains(&name.as_str())
        .then(|| {
            serve(&name, Arc::new(Config::from("/openapi.json")))
                .ok()
                .flatten()
        })
        .flatten()
        .ok_or_else(|| ApiError::not_found("Not found"))?;
    Ok(answer(&file.content_type, file.bytes.into_owned()))
}

fn answer(kind: &str, body: impl IntoResponse) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, body).into_response()
}
