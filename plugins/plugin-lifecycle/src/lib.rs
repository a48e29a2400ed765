//! The stock journeys and their templates.

#![forbid(unsafe_code)]

mod journeys;
mod templates;

use hogsend_plugin_api::journey::Journey;
use hogsend_plugin_api::{Journeys, Manifest, Plugin, Settings, Template, export_plugin};

pub struct Lifecycle;

impl Plugin for Lifecycle {
    fn manifest() -> Manifest {
        Manifest::new("lifecycle", env!("CARGO_PKG_VERSION"))
    }

    fn new(_: &Settings) -> Result<Self, String> {
        Ok(Self)
    }
}

impl Journeys for Lifecycle {
    fn journeys(&self) -> Vec<Journey> {
        journeys::all()
    }

    fn templates(&self) -> Vec<Template> {
        templates::all()
    }
}

export_plugin!(Lifecycle: journeys);
