//! Journeys that are not code but documents, which the host hands to the plugin.

use serde::{Deserialize, Serialize};

/// A document that an operator gave the host, for a plugin that makes journeys of documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Document {
    /// Unique among the documents: `onboarding.yaml`.
    pub name: String,
    /// The version of the document, counted by the host from 1.
    #[serde(default)]
    pub version: u32,
    /// The content.
    pub text: String,
}

impl Document {
    /// A document with its name, version and content.
    pub fn new(name: &str, version: u32, text: &str) -> Self {
        Self {
            name: name.into(),
            version,
            text: text.into(),
        }
    }
}

/// What is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DocumentFault {
    /// [`Document::name`].
    pub document: String,
    /// The line, from 1, where known.
    #[serde(default)]
    pub line: Option<u32>,
    /// What is wrong and how to fix it.
    pub message: String,
}

impl DocumentFault {
    /// A fault in a document, at this line where it is known.
    pub fn new(document: &str, line: Option<u32>, message: impl Into<String>) -> Self {
        Self {
            document: document.into(),
            line,
            message: message.into(),
        }
    }
}

/// Input of a request for the catalogue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CatalogueIn {
    /// The documents the plugin may make journeys of.
    #[serde(default)]
    pub documents: Vec<Document>,
}

impl CatalogueIn {
    /// A request for the catalogue with the journeys of these documents.
    pub fn new(documents: Vec<Document>) -> Self {
        Self { documents }
    }
}
