//! The plugins of this installation.

use axum::Json;
use axum::extract::State;
use hogsend_plugin_api::Kind;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::http::ApiError;
use crate::http::auth::{Caller, Read};
use crate::http::wire::openapi::Routes;
use crate::plugins::Origin;
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(list_plugins))
}

/// A linked or loaded plugin.
#[derive(Serialize, ToSchema)]
#[schema(as = AdminPluginOut)]
pub struct PluginOut {
    id: String,
    version: String,
    /// The version of the plugin interface it was built with.
    api: String,
    #[schema(value_type = Vec<String>)]
    kinds: Vec<Kind>,
    /// `linked` into the binary, or `loaded` from the plugin folder.
    #[schema(value_type = String, example = "linked")]
    origin: Origin,
    /// SHA-256 of the plugin's file, in hex; absent for a linked plugin.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct PluginsOut {
    plugins: Vec<PluginOut>,
    total: usize,
    limit: usize,
    offset: usize,
}

/// Lists every plugin, including inactive ones, without pagination.
#[utoipa::path(
    get, path = "/v1/admin/plugins", tag = "plugins",
    security(("key" = ["read"]), ("session" = [])),
    responses((status = 200, description = "Every plugin", body = PluginsOut)),
)]
pub async fn list_plugins(
    State(app): State<App>,
    _: Caller<Read>,
) -> Result<Json<PluginsOut>, ApiError> {
    let plugins = app.plugins();
    let plugins = plugins.info().iter().map(|plugin| PluginOut {
        id: plugin.id.clone(),
        version: plugin.version.clone(),
        api: plugin.api.clone(),
        kinds: plugin.kinds.clone(),
        origin: plugin.origin,
        sha256: plugin.sha256.clone(),
    });
    let plugins: Vec<_> = plugins.collect();
    Ok(Json(PluginsOut {
        total: plugins.len(),
        limit: plugins.len(),
        offset: 0,
        plugins,
    }))
}
