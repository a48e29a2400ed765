//! What a process may be made to hold by clients that send and do not finish.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, Request};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::Store;
use crate::support::admin::KEY;
use crate::support::process::{Process, free_port, until};

const MIB: usize = 1024 * 1024;
/// `REQUEST_MEMORY_MB`.
const BUDGET: usize = 64 * MIB;
/// What connections take beside bodies: buffers of 16 KiB, and the tasks that serve them.
const CONNECTIONS: usize = 96 * MIB;
/// How long one request may take on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long each kind of client goes on.
const EACH: Duration = Duration::from_secs(8);

struct Api {
    process: Process,
    http: reqwest::Client,
    store: Store,
    _data: tempfile::TempDir,
}

impl Api {
    async fn start(more: &[(&str, &str)]) -> Self {
        let store = Store::native().await;
        hogsend::db::migrate(store.db()).await.unwrap();
        let data = tempfile::tempdir().unwrap();
        let mut variables = vec![
            ("DATABASE_URL", store.url()),
            ("REDIS_URL", "redis://127.0.0.1:1"),
            ("HOGSEND_DATA_DIR", data.path().to_str().unwrap()),
            (
                "BETTER_AUTH_SECRET",
                "a secret of tests, long enough for all",
            ),
            ("ADMIN_API_KEY", KEY),
            ("LOG_LEVEL", "error"),
        ];
        variables.extend(more);
        let process = Process::start("api", free_port(), &variables);
        let api = Self {
            process,
            http: hogsend::http_client::http_client(),
            store,
            _data: data,
        };
        until("the API answers", async || api.health().await == Some(200)).await;
        api
    }

    async fn health(&self) -> Option<u16> {
        let asked = self.http.get(self.process.url("/v1/health"));
        let asked = asked.header("connection", "close");
        let answer = asked.timeout(PATIENCE).send().await.ok()?;
        Some(answer.status().as_u16())
    }

    async fn ingest(&self, user: &str) -> Option<u16> {
        let body = json!({ "event": "e", "userId": user });
        let sent = self
            .http
            .post(self.process.url("/v1/ingest"))
            .header("authorization", format!("Bearer {KEY}"))
            .header("content-type", "application/json")
            .timeout(PATIENCE)
            .body(body.to_string())
            .send();
        Some(sent.await.ok()?.status().as_u16())
    }

    /// Waits until health is answered and an event is stored. A machine that does much else may take
    /// its time, and the server may turn a request away that it could not take at once; a client that
    /// comes back gets through.
    async fn works(&self, user: &str, what: &str) {
        until(&format!("health during {what}"), async || {
            self.health().await == Some(200)
        })
        .await;
        until(&format!("an event during {what}"), async || {
            self.ingest(user).await == Some(202)
        })
        .await;
    }

    async fn connect(port: u16) -> TcpStream {
        TcpStream::connect(("127.0.0.1", port)).await.unwrap()
    }

    async fn stop(self) {
        drop(self.process);
        self.store.remove().await;
    }
}

/// Sends what the server takes, and stays.
async fn say(port: u16, head: String, rest: Arc<Vec<u8>>) {
    let mut stream = Api::connect(port).await;
    let sent = async {
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&rest).await
    };
    let _ = timeout(EACH, sent).await;
    let _ = timeout(EACH, stream.read(&mut [0; 1])).await;
}

const POST: &str =
    "POST /v1/webhooks/posthog HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";

fn stalled_posts(port: u16, clients: &mut JoinSet<()>) {
    let body = Arc::new(vec![b' '; MIB - 1]);
    for _ in 0..500 {
        let head = format!("{POST}content-length: {MIB}\r\n\r\n");
        clients.spawn(say(port, head, body.clone()));
    }
}

fn half_heads(port: u16, clients: &mut JoinSet<()>) {
    let line = format!("x-part: {}\r\n", "x".repeat(1_000));
    let rest = Arc::new(line.repeat(400).into_bytes());
    for _ in 0..1_000 {
        clients.spawn(say(port, POST.to_owned(), rest.clone()));
    }
}

fn one_byte_chunks(port: u16, clients: &mut JoinSet<()>) {
    let rest = Arc::new(b"1\r\n \r\n".repeat(200_000));
    for _ in 0..100 {
        let head = format!("{POST}transfer-encoding: chunked\r\n\r\n");
        clients.spawn(say(port, head, rest.clone()));
    }
}

fn http2_streams(port: u16, clients: &mut JoinSet<()>) {
    for _ in 0..5 {
        clients.spawn(async move {
            let stream = Api::connect(port).await;
            let (sender, connection) = h2::client::handshake(stream).await.unwrap();
            let mut streams = JoinSet::new();
            streams.spawn(async {
                let _ = connection.await;
            });
            for _ in 0..200 {
                streams.spawn(stalled_stream(sender.clone()));
            }
            let _ = timeout(EACH * 2, async {
                while streams.join_next().await.is_some() {}
            })
            .await;
        });
    }
}

async fn stalled_stream(sender: h2::client::SendRequest<Bytes>) {
    let Ok(mut sender) = sender.ready().await else {
        return;
    };
    let request = Request::post("http://x/v1/webhooks/posthog")
        .header("content-type", "application/json")
        .body(());
    let Ok((answer, mut body)) = sender.send_request(request.unwrap(), false) else {
        return;
    };
    let filled = async {
        let mut left = MIB - 1;
        while left > 0 {
            body.reserve_capacity(left.min(64 * 1024));
            let Some(Ok(room)) = std::future::poll_fn(|cx| body.poll_capacity(cx)).await else {
                return;
            };
            let room = room.min(left);
            if body
                .send_data(Bytes::from(vec![b' '; room]), false)
                .is_err()
            {
                return;
            }
            left -= room;
        }
    };
    let _ = timeout(EACH, filled).await;
    let _ = timeout(EACH, answer).await;
    let _ = body.send_trailers(HeaderMap::new());
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_never_finish_take_no_more_than_the_budget() {
    hogsend::http::open_file_limit();
    let api = Api::start(&[]).await;
    for n in 0..20 {
        api.works(&format!("warm{n}"), "nothing").await;
    }
    let idle = api.process.peak_memory().unwrap();
    let port = api.process.port;
    type Kind = fn(u16, &mut JoinSet<()>);
    let kinds: [(&str, Kind); 4] = [
        ("500 stalled posts of a mebibyte", stalled_posts),
        ("5 connections of 200 streams each", http2_streams),
        ("1,000 half heads", half_heads),
        ("bodies in chunks of one byte", one_byte_chunks),
    ];
    for (what, begin) in kinds {
        let mut clients = JoinSet::new();
        begin(port, &mut clients);
        // The product goes on meanwhile, and so does who asks whether all is well.
        for n in 0..10 {
            api.works(&format!("busy{n}"), what).await;
        }
        while clients.join_next().await.is_some() {}
        let peak = api.process.peak_memory().unwrap();
        let most = idle + BUDGET + CONNECTIONS;
        assert!(
            peak <= most,
            "{what}: {} MiB of at most {} MiB, {} MiB when idle",
            peak / MIB,
            most / MIB,
            idle / MIB
        );
    }
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_connections_are_taken_health_is_answered_and_the_rest_turned_away() {
    let api = Api::start(&[("HTTP_CONNECTIONS", "16")]).await;
    let port = api.process.port;
    let mut idle = Vec::new();
    // One keeps its place by a request, so that all are accepted when the last is answered.
    for _ in 0..40 {
        idle.push(Api::connect(port).await);
    }
    let ask = async |path: &str| {
        let mut stream = Api::connect(port).await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = ask("/v1/admin/plugins").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("retry-after: 5"), "{answer}");
    // Its connection ends with the answer, or nothing would have been read to its end.
    let answer = ask("/v1/health").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    idle.clear();
    until("there is room again", async || {
        ask_status(port, "/v1/admin/plugins").await == 401
    })
    .await;
    api.stop().await;
}

async fn ask_status(port: u16, path: &str) -> u16 {
    let url = format!("http://127.0.0.1:{port}{path}");
    let http = hogsend::http_client::http_client();
    http.get(url).send().await.unwrap().status().as_u16()
}
