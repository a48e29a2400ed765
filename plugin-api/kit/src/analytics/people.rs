//! The rules for person properties.

use std::cell::RefCell;

use hogsend_plugin_api::call::method;
use hogsend_plugin_api::export::Instance;
use hogsend_plugin_api::{
    Command, HttpError, HttpErrorKind, HttpRequest, HttpResponse, Properties, Settings, ask,
};
use serde_json::{Value, json};

use super::{People, Test};
use crate::call::talk;
use crate::request;
use crate::subject::Answer;

type Found = Result<Option<Properties>, String>;

impl Test<'_> {
    pub(super) fn check_people(&self, people: &People) {
        let verdict = &self.subject.verdict;
        verdict.check("person", || self.a_known_person_has_properties(people));
        verdict.check("unknown-person", || {
            let (found, asked) = self.person("user-1", &|_| Ok((people.unknown)()));
            assert!(!asked.is_empty(), "the product is asked");
            assert_eq!(found, Ok(None), "an unknown person is None");
        });
        verdict.check("person-unanswered", || self.no_answer_is_an_error());
        verdict.check("odd-ids", || self.an_odd_id_is_encoded(people));
    }

    fn person(&self, id: &str, answer: Answer<'_>) -> (Found, Vec<HttpRequest>) {
        self.person_of(self.plugin.as_ref(), id, answer, &Value::Null)
    }

    fn person_of(
        &self,
        plugin: &dyn Instance,
        id: &str,
        answer: Answer<'_>,
        cached: &Value,
    ) -> (Found, Vec<HttpRequest>) {
        let called = self.subject.call_with_cache::<_, Found>(
            plugin,
            method::ANALYTICS_PERSON,
            &id,
            answer,
            cached,
        );
        let found = called.value;
        let found = found.unwrap_or_else(|error| panic!("a plugin reports what it found: {error}"));
        (found, called.asked)
    }

    fn a_known_person_has_properties(&self, people: &People) {
        let properties = [
            ("email".to_owned(), json!("ann@example.com")),
            ("plan".to_owned(), json!("pro")),
            ("seats".to_owned(), json!(3)),
        ]
        .into_iter()
        .collect::<Properties>();
        // What another version cached, or a cache that fails, does not count.
        for cached in [Value::Null, json!("{oops"), json!("[1]")] {
            let answer = |_: &HttpRequest| Ok((people.known)(&properties));
            let (found, asked) = self.person_of(self.plugin.as_ref(), "user-1", &answer, &cached);
            assert_eq!(
                found,
                Ok(Some(properties.clone())),
                "a known person has the properties the product gives, also where the cache has {cached}"
            );
            assert!(!asked.is_empty(), "the product is asked");
        }
        let (found, _) = self.person("user-1", &|_| Ok((people.known)(&Properties::new())));
        assert!(
            matches!(found, Ok(None)) || found == Ok(Some(Properties::new())),
            "a person without properties is no error: {found:?}"
        );
    }

    fn no_answer_is_an_error(&self) {
        let secrets: RefCell<String> = RefCell::default();
        let _ = self.person("user-1", &|request| {
            let values = request.headers.iter().map(|(_, value)| value.as_str());
            *secrets.borrow_mut() = values.collect::<Vec<_>>().join(" ");
            Ok(HttpResponse::new(500, &[], ""))
        });
        let secrets = secrets.into_inner();
        for status in [401, 403, 429, 500, 503, 302] {
            self.is_an_error(&format!("status {status}"), &|_| {
                Ok(HttpResponse::new(status, &[], secrets.clone()))
            });
        }
        for body in ["", "<html>", "[", "7"] {
            self.is_an_error(&format!("200 with '{body}'"), &|_| {
                Ok(HttpResponse::new(200, &[], body))
            });
        }
        let kinds = [
            HttpErrorKind::Lost,
            HttpErrorKind::Connect,
            HttpErrorKind::Refused,
        ];
        for kind in kinds {
            self.is_an_error("no answer", &|_| Err(HttpError::new(kind, "no answer")));
        }
    }

    fn is_an_error(&self, what: &str, answer: Answer<'_>) {
        let (found, _) = self.person("user-1", answer);
        let Err(reason) = found else {
            panic!("{what} is an error, not what the product knows: {found:?}");
        };
        assert!(
            !reason.trim().is_empty(),
            "{what} is an error with a reason"
        );
        let mut kept = 0;
        let perform = |command: &Command| match command.kind.as_str() {
            ask::HTTP => answer(&request(command))
                .map(|response| json!(response))
                .map_err(HttpError::into_step_error),
            ask::CACHE_PUT => {
                kept += 1;
                Ok(Value::Null)
            }
            _ => Ok(Value::Null),
        };
        let plugin = self.plugin.as_ref();
        let _ = talk::<_, Found>(plugin, method::ANALYTICS_PERSON, &"user-1", perform);
        assert_eq!(kept, 0, "{what} is not cached");
    }

    /// The request for an odd id has the form of one for a plain id.
    fn an_odd_id_is_encoded(&self, people: &People) {
        let form = |id: &str| {
            let (_, asked) = self.person(id, &|_| Ok((people.unknown)()));
            asked.last().cloned()
        };
        let Some(plain) = form("plain") else {
            panic!("the product is asked about a person");
        };
        let odd = [
            "a b",
            "..",
            "a/../b",
            "a?x=1&y=2#z",
            "%2e%2e",
            "é\u{0}\n",
            "a\\b\"c",
        ];
        let mut urls = vec![plain.clone()];
        for id in odd {
            let Some(request) = form(id) else {
                panic!(
                    "the product is asked about the person '{}'",
                    id.escape_debug()
                );
            };
            let same = url::Url::parse(&request.url).is_ok_and(|url| {
                url.as_str() == request.url && shape(&request.url) == shape(&plain.url)
            });
            assert!(
                same,
                "the id '{}' is encoded in the URL: {}",
                id.escape_debug(),
                request.url
            );
            assert!(
                !urls.contains(&request),
                "the id '{}' is asked for, and no other",
                id.escape_debug()
            );
            urls.push(request);
        }
    }

    pub(super) fn without_settings_nobody_is_asked(&self) {
        let Ok(plugin) = self.subject.make(&Settings::default()) else {
            return;
        };
        let answer = |_: &HttpRequest| Ok(HttpResponse::new(401, &[], ""));
        let (found, asked) = self.person_of(plugin.as_ref(), "user-1", &answer, &Value::Null);
        assert!(
            found == Ok(None) && asked.is_empty(),
            "without any setting nobody is known and nothing is asked: {found:?} after {} requests",
            asked.len()
        );
    }
}

/// The characters of a URL that divide it.
fn shape(url: &str) -> String {
    url.chars().filter(|c| "/?&#=".contains(*c)).collect()
}
