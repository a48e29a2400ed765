//! The database goes away while something is being stored: what the answer says is true.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::{Answer, Server, Store};

/// When a connection is cut that carries these bytes to the server.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// The server never gets them.
    Before(&'static str),
    /// The server has done what they say, and its answer is lost.
    After(&'static str),
    /// The same, and nobody reaches the server any more.
    ForGood(&'static str),
}

/// Stands between the host and the server.
#[derive(Clone, Default)]
struct Line {
    cut: Arc<Mutex<Option<Cut>>>,
    /// Nobody reaches the server, and who has is cut off.
    down: watch::Sender<bool>,
}

impl Line {
    /// Returns the URL by which the database is reached through it.
    async fn lay(&self, url: &str) -> String {
        let (_, rest) = url.split_once('@').unwrap();
        let (server, database) = rest.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let through = listener.local_addr().unwrap();
        let (line, upstream) = (self.clone(), server.to_owned());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !*line.down.borrow() {
                    tokio::spawn(line.clone().carry(client, upstream.clone()));
                }
            }
        });
        url.replace(server, &through.to_string())
            .replace(rest, &format!("{through}/{database}"))
    }

    async fn carry(self, mut client: TcpStream, upstream: String) {
        let mut server = TcpStream::connect(upstream).await.unwrap();
        let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
        let mut falls = self.down.subscribe();
        loop {
            tokio::select! {
                () = async { let _ = falls.wait_for(|down| *down).await; } => return,
                read = client.read(&mut up) => {
                    let Ok(count @ 1..) = read else { return };
                    let bytes = &up[..count];
                    let cut = self.meets(bytes);
                    if matches!(cut, Some(Cut::Before(_))) || server.write_all(bytes).await.is_err() {
                        return;
                    }
                    if let Some(cut) = cut {
                        // With the first byte of the answer it is done.
                        let _ = server.read(&mut down).await;
                        self.down.send_replace(matches!(cut, Cut::ForGood(_)));
                        return;
                    }
                }
                read = server.read(&mut down) => {
                    let Ok(count @ 1..) = read else { return };
                    if client.write_all(&down[..count]).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Whether these bytes are the ones waited for.
    fn meets(&self, bytes: &[u8]) -> Option<Cut> {
        let mut armed = self.cut.lock().unwrap();
        let (Cut::Before(part) | Cut::After(part) | Cut::ForGood(part)) = (*armed)?;
        let found = bytes.windows(part.len()).any(|one| one == part.as_bytes());
        if found { armed.take() } else { None }
    }

    fn arm(&self, cut: Cut) {
        *self.cut.lock().unwrap() = Some(cut);
    }
}

async fn tell(server: &Server, user: &str, key: &str) -> Answer {
    let body = json!({ "name": "e", "userId": user });
    let request = Request::post("/v1/events")
        .header(header::CONTENT_TYPE, "application/json")
        .header("idempotency-key", key)
        .body(Body::from(body.to_string()));
    server.request(request.unwrap()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_says_what_became_of_an_event_whose_commit_was_cut_off() {
    let store = Store::native().await;
    let line = Line::default();
    let url = line.lay(store.url()).await;
    let direct = store.db().clone();
    let server = Server::with(Store::at(&url).await, &[]).await;
    assert_eq!(tell(&server, "known-person", "first").await.status, 202);
    let cases = [
        // A person nobody knew takes a transaction.
        ("new-1", Cut::After("COMMIT"), 202, "", 1),
        ("new-2", Cut::Before("COMMIT"), 503, "nothing was stored", 0),
        // Whom it changes in nothing takes one statement.
        ("known-person", Cut::After("known-person"), 202, "", 1),
        (
            "known-person",
            Cut::Before("known-person"),
            503,
            "may have been stored",
            0,
        ),
        (
            "new-3",
            Cut::ForGood("COMMIT"),
            503,
            "may have been stored",
            1,
        ),
        (
            "known-person",
            Cut::ForGood("known-person"),
            503,
            "may have been stored",
            1,
        ),
    ];
    for (n, (user, cut, status, says, stored)) in cases.into_iter().enumerate() {
        let events = async || -> i64 {
            let mut conn = direct.conn().await.unwrap();
            let count = sqlx::query_scalar("SELECT count(*) FROM user_events");
            count.fetch_one(&mut *conn).await.unwrap()
        };
        let before = events().await;
        let key = format!("key-{n}");
        line.arm(cut);
        let answer = tell(&server, user, &key).await;
        assert_eq!(answer.status, status, "{cut:?}: {}", answer.text());
        assert!(answer.text().contains(says), "{cut:?}: {}", answer.text());
        assert!(line.cut.lock().unwrap().is_none(), "{cut:?} was not met");
        assert_eq!(events().await - before, stored, "{cut:?}");
        line.down.send_replace(false);
        // Whatever became of it, a repeat makes it one.
        let again = tell(&server, user, &key).await;
        assert_eq!(again.status, 202, "{cut:?}: {}", again.text());
        assert_eq!(events().await - before, 1, "{cut:?}");
    }
    server.stop().await;
    store.remove().await;
}
