//! What the outside world does, as far as a test says.

use std::collections::{BTreeMap, VecDeque};

use hogsend_plugin_api::{HttpRequest, StepError};
use serde_json::Value;

/// How mails of a template end.
#[derive(Clone, Debug)]
pub(super) enum Fate {
    Fail(String),
    Skip(String),
}

/// The answers given beforehand.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub mails: BTreeMap<String, Fate>,
    /// By the beginning of the URL, in the order they were given.
    http: Vec<(String, VecDeque<Result<Value, StepError>>)>,
}

impl Script {
    pub fn answer(&mut self, url: &str, answer: Result<Value, StepError>) {
        match self.http.iter_mut().find(|(known, _)| known == url) {
            Some((_, answers)) => answers.push_back(answer),
            None => self.http.push((url.to_owned(), [answer].into())),
        }
    }

    /// The next answer of the longest beginning that fits; its last answer stays.
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
