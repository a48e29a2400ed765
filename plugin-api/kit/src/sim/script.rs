//! The scripted answers of the outside world.

use std::collections::{BTreeMap, VecDeque};

use hogsend_plugin_api::{HttpRequest, StepError};
use serde_json::Value;

/// The scripted outcome of a template's mails.
#[derive(Clone, Debug)]
pub(super) enum Fate {
    Fail(String),
    Skip(String),
}

/// The scripted outcomes and answers.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub mails: BTreeMap<String, Fate>,
    /// By URL prefix, in the order they were added.
    http: Vec<(String, VecDeque<Result<Value, StepError>>)>,
}

impl Script {
    pub fn answer(&mut self, url: &str, answer: Result<Value, StepError>) {
        match self.http.iter_mut().find(|(known, _)| known == url) {
            Some((_, answers)) => answers.push_back(answer),
            None => self.http.push((url.to_owned(), [answer].into())),
        }
    }

    /// The next answer for the longest matching URL prefix. Its last answer is used repeatedly.
    pub fn http(&mut self, request: &HttpRequest) -> Result<Value, StepError> {
        let fitting = self
            .http
            .iter_mut()
            .filter(|(url, _)| request.url.starts_with(url.as_str()))
            .max_by_key(|(url, _)| url.len());
        let answers = fitting.map(|(_, answers)| answers);
        let answer = answers.and_then(|answers| match answers.len() {
            0 | 1 => answers.front().cloned(),
            _ => answers.pop_front(),
        });
        answer.unwrap_or_else(|| {
            let message = format!(
                "nothing answers {} in this simulation: give it an answer with `Sim::http`",
                request.url
            );
            Err(StepError::new("http_unscripted", message))
        })
    }
}
