//! The people who sign up, and what happens to each of them meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::fleet::KEY;
use crate::plan::Plan;

/// People who act concurrently.
const AT_ONCE: usize = 24;
/// A request that gets no answer for this long counts as lost, and the test fails.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a person does besides signing up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Story {
    Plain,
    /// The sign-up comes three times under one key.
    Repeated,
    /// Signs up by address; while the mail is in flight the contact is merged with one that has an
    /// external id.
    Merged,
    /// Unsubscribes from everything at about the same moment.
    Left,
    /// Is erased at about the same moment.
    Erased,
}

impl Story {
    fn draw(rng: &mut StdRng) -> Self {
        match rng.random_range(0..100) {
            0..55 => Self::Plain,
            55..65 => Self::Repeated,
            65..80 => Self::Merged,
            80..90 => Self::Left,
            _ => Self::Erased,
        }
    }

    /// Whether exactly one mail is due, whatever happens.
    pub fn must_get_mail(self) -> bool {
        matches!(self, Self::Plain | Self::Repeated | Self::Merged)
    }
}

#[derive(Clone, Debug)]
pub struct Person {
    pub email: String,
    pub story: Story,
    /// Number of answers that reported the sign-up as stored.
    pub stored: usize,
}

/// Progress of the load, for the task that kills.
#[derive(Clone, Default)]
pub struct Progress {
    done: Arc<AtomicUsize>,
    all: usize,
}

impl Progress {
    pub fn is_over(&self) -> bool {
        self.done.load(Ordering::Relaxed) >= self.all
    }
}

pub struct Load {
    pub progress: Progress,
    pub people: tokio::task::JoinHandle<Vec<Person>>,
}

/// Starts the load; it goes on through every kill.
pub fn live(plan: &Plan, url: String) -> Load {
    let mut rng = StdRng::seed_from_u64(plan.seed);
    let stories: Vec<(usize, Story, u64)> = (0..plan.mails)
        .map(|n| (n, Story::draw(&mut rng), rng.random_range(0..400)))
        .collect();
    let progress = Progress {
        done: Arc::default(),
        all: plan.mails,
    };
    let api = Api {
        client: reqwest::Client::builder()
            .timeout(Duration::from_secs(10))
            .build()
            .expect("an HTTP client"),
        url,
    };
    let done = progress.done.clone();
    let people = tokio::spawn(async move {
        stream::iter(stories)
            .map(|(n, story, pause)| {
                let (api, done) = (api.clone(), done.clone());
                async move {
                    let person = api.tell(n, story, pause).await;
                    done.fetch_add(1, Ordering::Relaxed);
                    person
                }
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await
    });
    Load { progress, people }
}

#[derive(Clone)]
struct Api {
    client: reqwest::Client,
    url: String,
}

impl Api {
    async fn tell(&self, n: usize, story: Story, pause: u64) -> Person {
        let (user, email) = (format!("chaos-{n}"), format!("chaos-{n}@example.com"));
        let pause = Duration::from_millis(pause);
        let mut stored = 0;
        match story {
            Story::Plain => {
                let names = json!({ "userId": user, "email": email });
                stored += self.sign_up(n, &names).await;
            }
            Story::Repeated => {
                let names = json!({ "userId": user, "email": email });
                let answers =
                    futures_util::future::join_all((0..3).map(|_| self.sign_up(n, &names)));
                stored += answers.await.into_iter().sum::<usize>();
            }
            Story::Merged => {
                self.answer(Method::PUT, "/v1/contacts", &json!({ "userId": user }))
                    .await;
                stored += self.sign_up(n, &json!({ "email": email })).await;
                tokio::time::sleep(pause).await;
                let both = json!({ "userId": user, "email": email });
                self.answer(Method::PUT, "/v1/contacts", &both).await;
            }
            Story::Left => {
                stored += self
                    .sign_up(n, &json!({ "userId": user, "email": email }))
                    .await;
                tokio::time::sleep(pause).await;
                let path = format!("/v1/admin/contacts/{user}/preferences");
                self.answer(Method::PUT, &path, &json!({ "unsubscribedAll": true }))
                    .await;
            }
            Story::Erased => {
                stored += self
                    .sign_up(n, &json!({ "userId": user, "email": email }))
                    .await;
                tokio::time::sleep(pause).await;
                self.answer(Method::DELETE, "/v1/contacts", &json!({ "userId": user }))
                    .await;
            }
        }
        Person {
            email,
            story,
            stored,
        }
    }

    /// Sends the sign-up until it is answered. Returns 1 where this call stored it.
    async fn sign_up(&self, n: usize, names: &Value) -> usize {
        let mut event = names.clone();
        event["name"] = "user.created".into();
        event["idempotencyKey"] = format!("sign-up-{n}").into();
        let answer = self.answer(Method::POST, "/v1/events", &event).await;
        usize::from(answer["stored"] == true)
    }

    /// Repeats a request until it is answered: a killed process does not answer.
    async fn answer(&self, method: Method, path: &str, body: &Value) -> Value {
        let began = std::time::Instant::now();
        loop {
            let request = self
                .client
                .request(method.clone(), format!("{}{path}", self.url))
                .bearer_auth(KEY)
                .json(body);
            match request.send().await {
                Ok(response) if response.status().is_success() => {
                    if let Ok(answer) = response.json().await {
                        return answer;
                    }
                }
                Ok(response)
                    if response.status().is_server_error()
                        || response.status() == StatusCode::TOO_MANY_REQUESTS => {}
                // A repeated erasure finds nothing.
                Ok(response) if response.status() == StatusCode::NOT_FOUND => return Value::Null,
                Ok(response) => {
                    let status = response.status();
                    let text = response.text().await.unwrap_or_default();
                    panic!("{method} {path} with {body} answered {status}: {text}");
                }
                Err(_) => {}
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{method} {path} was not answered for {PATIENCE:?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
