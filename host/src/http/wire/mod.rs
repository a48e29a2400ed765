//! Parsing requests and building responses: bodies, parameters, pages, errors, the OpenAPI document.

pub mod body;
pub mod error;
pub mod names;
pub mod openapi;
pub mod page;
pub mod paging;
pub mod params;
pub mod search;
pub mod words;
