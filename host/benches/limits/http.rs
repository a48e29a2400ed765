//! `POST /v1/events` of a running `hogsend api`, at 1, 32 and 256 connections, one event a request
//! and a hundred, against a server that reads the same bodies and keeps nothing.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::ingest::{database, drop_database};

pub const KEY: &str = "a key of the bench";
const PEOPLE: u64 = 2_000;
const SECONDS: u64 = 4;
/// Events of a batch about unknown people: the most a request may hold.
const STRANGERS: usize = 1_000;
const BATCH: usize = 100;
/// More requests than the server processes and queues.
const FLOOD: usize = 4_000;

pub async fn bench() {
    hogsend::http::open_file_limit();
    let (mut admin, name, url) = database().await;
    let syncs = Arc::new(AtomicU64::new(0));
    let through = counting_proxy(&url, syncs.clone()).await;
    let data = std::env::temp_dir().join(format!("hogsend-bench-http-{}", std::process::id()));
    let migrated = start("migrate", free_port(), &variables(&url, &data)).wait();
    assert!(migrated.expect("migrations").success());

    let bare = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let limit = bare.local_addr().expect("an address").port();
    let answer = async |axum::Json(body): axum::Json<Value>| {
        (
            StatusCode::ACCEPTED,
            axum::Json(json!({ "stored": body.is_object() })),
        )
    };
    let router = Router::new()
        .route("/v1/events", post(answer))
        .route("/v1/events/batch", post(answer));
    tokio::spawn(axum::serve(bare, router).into_future());

    let port = free_port();
    let mut api = start("api", port, &variables(&url, &data));
    answers(port).await;
    // All contacts exist from here on.
    load(port, 32, 1, Duration::from_secs(2)).await;
    let idle = memory(&api);
    for batch in [1, BATCH] {
        for connections in [1, 32, 256] {
            let bound = load(limit, connections, batch, Duration::from_secs(SECONDS)).await;
            let ours = load(port, connections, batch, Duration::from_secs(SECONDS)).await;
            println!(
                "http: {connections} connections, {batch} events a request: {:.0} requests/s, {:.0} \
                 events/s, p50 {:.2} ms, p99 {:.2} ms; ratio to a server that keeps nothing {:.3}",
                ours.rate,
                ours.rate * batch as f64,
                ours.p50,
                ours.p99,
                ours.rate / bound.rate
            );
            assert_eq!(ours.refused, 0, "requests were refused");
        }
    }
    let loaded = memory(&api);
    let flood = load(port, FLOOD, 1, Duration::from_secs(SECONDS)).await;
    println!(
        "http: {FLOOD} connections, more than there are places: {:.0} requests/s, {:.0}% of them \
         turned away, p50 {:.0} ms, p99 {:.0} ms",
        flood.rate,
        flood.refused as f64 * 100.0 / flood.requests as f64,
        flood.p50,
        flood.p99
    );
    let batches = strangers(port).await;
    println!(
        "http: {STRANGERS} events of as many new people in one request: {batches:.0} ms at the median, {:.0} \
         people/s",
        STRANGERS as f64 * 1_000.0 / batches
    );
    println!("http: the api held {idle:.1} MiB before and at most {loaded:.1} MiB under load");
    let _ = api.kill();
    let _ = api.wait();

    // Measured separately, because the proxy costs time.
    let port = free_port();
    let mut api = start("api", port, &variables(&through, &data));
    answers(port).await;
    load(port, 32, 1, Duration::from_secs(1)).await;
    for (connections, batch) in [(1, 1), (32, 1), (256, 1), (1, BATCH), (32, BATCH)] {
        let before = syncs.load(Ordering::SeqCst);
        let done = load(port, connections, batch, Duration::from_secs(2)).await;
        let trips = syncs.load(Ordering::SeqCst) - before;
        println!(
            "http: {connections} connections, {batch} events a request: {:.3} SQL round trips an event",
            trips as f64 / (done.requests * batch as u64) as f64
        );
    }
    let _ = api.kill();
    let _ = api.wait();
    let _ = std::fs::remove_dir_all(data);
    drop_database(&mut admin, &name).await;
}

/// Sends batches in which every event is about a new person. Returns the median duration of a batch
/// in milliseconds.
async fn strangers(port: u16) -> f64 {
    let http = hogsend::http_client::http_client();
    let mut times = Vec::new();
    for round in 0..9 {
        let event = |n: usize| {
            json!({
                "name": "page.viewed", "userId": format!("new-{round}-{n}"),
                "email": format!("new-{round}-{n}@example.com"), "eventProperties": { "n": n },
            })
        };
        let events: Vec<Value> = (0..STRANGERS).map(event).collect();
        let request = http
            .post(format!("http://127.0.0.1:{port}/v1/events/batch"))
            .header("authorization", format!("Bearer {KEY}"))
            .header("content-type", "application/json")
            .body(json!({ "events": events }).to_string());
        let began = Instant::now();
        let answer = request.send().await.expect("a server");
        assert_eq!(answer.status().as_u16(), 202);
        times.push(began.elapsed());
    }
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1_000.0
}

struct Load {
    /// Requests a second.
    rate: f64,
    requests: u64,
    refused: u64,
    /// Milliseconds.
    p50: f64,
    p99: f64,
}

/// Sends requests for `time`, one after the other on each of `connections` connections.
async fn load(port: u16, connections: usize, batch: usize, time: Duration) -> Load {
    let began = Instant::now();
    let next = Arc::new(AtomicU64::new(0));
    let clients = (0..connections).map(|_| {
        let next = next.clone();
        tokio::spawn(async move { client(port, batch, began + time, &next).await })
    });
    let mut times = Vec::new();
    let mut refused = 0;
    for done in futures_util::future::join_all(clients).await {
        let (mine, bad) = done.expect("a client");
        times.extend(mine);
        refused += bad;
    }
    let took = began.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    Load {
        rate: times.len() as f64 / took,
        requests: times.len() as u64,
        refused,
        p50: at(0.5),
        p99: at(0.99),
    }
}

/// One hand-written connection: a full HTTP client would take processor time from the server under
/// test.
async fn client(port: u16, batch: usize, until: Instant, next: &AtomicU64) -> (Vec<Duration>, u64) {
    let mut stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("a connection");
    stream.set_nodelay(true).expect("a socket");
    let (mut times, mut refused) = (Vec::new(), 0);
    let mut buffer = vec![0; 64 * 1024];
    while Instant::now() < until {
        let event = || {
            let n = next.fetch_add(1, Ordering::Relaxed);
            format!(
                r#"{{"name":"page.viewed","userId":"u{}","eventProperties":{{"path":"/pricing","n":{n}}}}}"#,
                n % PEOPLE
            )
        };
        let (path, body) = if batch == 1 {
            ("/v1/events", event())
        } else {
            let events: Vec<String> = (0..batch).map(|_| event()).collect();
            (
                "/v1/events/batch",
                format!("{{\"events\":[{}]}}", events.join(",")),
            )
        };
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {KEY}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let began = Instant::now();
        stream
            .write_all(request.as_bytes())
            .await
            .expect("a server");
        let status = answer(&mut stream, &mut buffer).await;
        times.push(began.elapsed());
        refused += u64::from(status != 202);
    }
    (times, refused)
}

/// Reads one answer with a `Content-Length`, and returns its status.
async fn answer(stream: &mut TcpStream, buffer: &mut [u8]) -> u16 {
    let mut read = 0;
    loop {
        let count = stream.read(&mut buffer[read..]).await.expect("an answer");
        assert!(count > 0, "the server closed the connection");
        read += count;
        let text = &buffer[..read];
        let Some(end) = text.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&text[..end]).to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .and_then(|length| length.trim().parse::<usize>().ok())
            .expect("a length");
        if read >= end + 4 + length {
            return head[9..12].parse().expect("a status");
        }
    }
}

/// The settings of a process on this database.
pub fn variables(url: &str, data: &Path) -> [(&'static str, String); 7] {
    [
        ("DATABASE_URL", url.to_owned()),
        ("HOGSEND_DATA_DIR", data.to_string_lossy().into_owned()),
        (
            "BETTER_AUTH_SECRET",
            "a secret of the bench, long enough".to_owned(),
        ),
        ("ADMIN_API_KEY", KEY.to_owned()),
        ("RATE_LIMIT_ADMIN", "0".to_owned()),
        ("REDIS_URL", "redis://127.0.0.1:1".to_owned()),
        ("LOG_LEVEL", "warn".to_owned()),
    ]
}

pub fn start(command: &str, port: u16, variables: &[(&str, String)]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_hogsend"))
        .arg(command)
        .env_clear()
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .env("PORT", port.to_string())
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program")
}

pub async fn answers(port: u16) {
    for _ in 0..200 {
        if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the api did not start");
}

pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Peak memory of a process, in MiB.
fn memory(child: &Child) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
    let status = status.unwrap_or_default();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    most.and_then(|text| text.trim().split(' ').next()?.parse::<f64>().ok())
        .unwrap_or(0.0)
        / 1_024.0
}

/// A proxy in front of Postgres that counts the messages after which the client waits: `Sync` and
/// `Query`, each the end of a round trip (PostgreSQL protocol 3.0, message formats).
async fn counting_proxy(url: &str, syncs: Arc<AtomicU64>) -> String {
    let parsed = reqwest::Url::parse(url).expect("a URL");
    let target = (
        parsed.host_str().expect("a host").to_owned(),
        parsed.port().unwrap_or(5432),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut through = parsed;
    let port = listener.local_addr().expect("an address").port();
    through.set_host(Some("127.0.0.1")).expect("a host");
    through.set_port(Some(port)).expect("a port");
    through.set_query(Some("sslmode=disable"));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect((target.0.as_str(), target.1)).await;
            let (mut from, mut to) = client.into_split();
            let (mut back, mut forth) = server.expect("the database").into_split();
            tokio::spawn(async move { tokio::io::copy(&mut back, &mut to).await });
            let syncs = syncs.clone();
            tokio::spawn(async move {
                let mut begun = false;
                let mut message = Vec::new();
                loop {
                    // The first message has no type.
                    let head = if begun { 5 } else { 4 };
                    message.resize(head, 0);
                    if from.read_exact(&mut message).await.is_err() {
                        return;
                    }
                    let [.., a, b, c, d] = message[..] else {
                        return;
                    };
                    let length = u32::from_be_bytes([a, b, c, d]) as usize;
                    if begun && matches!(message[0], b'S' | b'Q') {
                        syncs.fetch_add(1, Ordering::SeqCst);
                    }
                    message.resize(head + length - 4, 0);
                    if from.read_exact(&mut message[head..]).await.is_err()
                        || forth.write_all(&message).await.is_err()
                    {
                        return;
                    }
                    begun = true;
                }
            });
        }
    });
    through.into()
}
