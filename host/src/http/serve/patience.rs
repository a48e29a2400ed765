//! Time limits of connections.
//!
//! There are limits for sending a request head, for staying idle between requests, and for reading a
//! response. They hold on HTTP/2 too, where answering pings does not keep a connection open. The
//! request itself has a time limit of its own.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// The limit from the start of a connection, and on HTTP/1 from the first byte of each further request,
/// until the request head has arrived. Longer than the time limit of a request.
pub const HEAD: Duration = Duration::from_secs(60);
/// How long a connection may be idle between requests. Longer than the usual minute of proxies, so
/// that the proxy closes first.
pub const IDLE: Duration = Duration::from_secs(72);
/// How long a client may read nothing of a response that is ready.
pub const TAKING: Duration = Duration::from_secs(30);

/// The activity of a connection. Clones share it.
#[derive(Clone)]
pub struct Life(Arc<Mutex<Doing>>);

struct Doing {
    exchanges: Vec<Exchange>,
    next: u64,
    asked: bool,
    http2: bool,
    /// Since when there is no open request.
    quiet_since: Instant,
    /// Since when a request head is incomplete.
    head_since: Option<Instant>,
    /// Since when writing is blocked because the client does not read.
    blocked_since: Option<Instant>,
}

struct Exchange {
    id: u64,
    /// Since when a part of the response waits for the client to read it.
    offered: Option<Instant>,
}

/// The result of checking a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Fine,
    /// There is no open request: the connection may be closed gracefully.
    Idle,
    /// The client exceeded a limit: the connection is cut off.
    Late,
}

impl Life {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Doing {
            exchanges: Vec::new(),
            next: 0,
            asked: false,
            http2: false,
            quiet_since: Instant::now(),
            head_since: None,
            blocked_since: None,
        })))
    }

    pub fn judge(&self) -> Verdict {
        let doing = self.lock();
        let now = Instant::now();
        let over = |since: Option<Instant>, max| since.is_some_and(|since| now - since >= max);
        if over(doing.blocked_since, TAKING) {
            return Verdict::Late;
        }
        if doing.exchanges.iter().any(|one| over(one.offered, TAKING)) {
            return Verdict::Late;
        }
        if !doing.exchanges.is_empty() {
            return Verdict::Fine;
        }
        if !doing.http2 && over(doing.head_since, HEAD) {
            return Verdict::Late;
        }
        let patience = if doing.asked { IDLE } else { HEAD };
        if over(Some(doing.quiet_since), patience) {
            return Verdict::Idle;
        }
        Verdict::Fine
    }

    /// Notes that a request arrived. Keep the guard until the client has read the response.
    pub fn exchange(&self, http2: bool) -> UnderWay {
        let mut doing = self.lock();
        let id = doing.next;
        doing.next += 1;
        doing.asked = true;
        doing.http2 |= http2;
        doing.head_since = None;
        doing.exchanges.push(Exchange { id, offered: None });
        UnderWay {
            life: self.clone(),
            id,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Doing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open request of a connection.
pub struct UnderWay {
    life: Life,
    id: u64,
}

impl UnderWay {
    fn offer(&self, at: Option<Instant>) {
        let mut doing = self.life.lock();
        if let Some(one) = doing.exchanges.iter_mut().find(|one| one.id == self.id) {
            one.offered = at;
        }
    }

    /// Wraps the body of the response, to note how the client reads it.
    pub fn answer(self, body: Body) -> Taken {
        self.offer(Some(Instant::now()));
        Taken {
            body,
            under_way: self,
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut doing = self.life.lock();
        doing.exchanges.retain(|one| one.id != self.id);
        if doing.exchanges.is_empty() {
            doing.quiet_since = Instant::now();
            doing.head_since = None;
        }
    }
}

/// The body of a response, which notes how the client reads it.
pub struct Taken {
    body: Body,
    under_way: UnderWay,
}

impl http_body::Body for Taken {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // The client has read everything so far; the server produces the next part.
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.under_way.offer(polled.is_ready().then(Instant::now));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that notes the activity of its connection.
pub struct Noted<T> {
    inner: T,
    life: Life,
}

impl<T> Noted<T> {
    pub fn new(inner: T, life: Life) -> Self {
        Self { inner, life }
    }

    fn wrote(&self, polled: &Poll<io::Result<usize>>) {
        let mut doing = self.life.lock();
        match polled {
            Poll::Pending => {
                doing.blocked_since.get_or_insert_with(Instant::now);
            }
            Poll::Ready(_) => doing.blocked_since = None,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Noted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            let mut doing = self.life.lock();
            if doing.exchanges.is_empty() {
                doing.head_since.get_or_insert_with(Instant::now);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Noted<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.wrote(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, parts);
        self.wrote(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_waited_for_longer_than_a_trickling_head() {
        let (mut client, server) = duplex(1024);
        let life = Life::new();
        let mut server = Noted::new(server, life.clone());
        let mut buffer = [0; 64];
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        server.read_exact(&mut buffer[..18]).await.unwrap();
        drop(life.exchange(false));
        advance(IDLE - SECOND).await;
        assert_eq!(life.judge(), Verdict::Fine);
        advance(SECOND).await;
        assert_eq!(life.judge(), Verdict::Idle);

        drop(life.exchange(false));
        for _ in 0..6 {
            assert_eq!(life.judge(), Verdict::Fine);
            client.write_all(b"G").await.unwrap();
            server.read_exact(&mut buffer[..1]).await.unwrap();
            advance(HEAD / 6).await;
        }
        assert_eq!(life.judge(), Verdict::Late);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_never_asks_or_only_answers_pings_is_given_up() {
        let (mut client, server) = duplex(1024);
        let life = Life::new();
        let mut server = Noted::new(server, life.clone());
        advance(HEAD).await;
        assert_eq!(life.judge(), Verdict::Idle);
        drop(life.exchange(true));
        for _ in 0..8 {
            assert_eq!(life.judge(), Verdict::Fine);
            client.write_all(b"ping").await.unwrap();
            server.read_exact(&mut [0; 4]).await.unwrap();
            advance(IDLE / 8).await;
        }
        assert_eq!(life.judge(), Verdict::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_cut_off_and_a_slow_handler_is_not() {
        let (mut client, server) = duplex(4);
        let life = Life::new();
        let mut server = Noted::new(server, life.clone());
        let under_way = life.exchange(false);
        advance(TAKING * 2).await;
        assert_eq!(life.judge(), Verdict::Fine, "our own work is no idling");
        let wrote = tokio::time::timeout(SECOND, server.write_all(b"too much")).await;
        assert!(wrote.is_err());
        advance(TAKING).await;
        assert_eq!(life.judge(), Verdict::Late);
        client.read_exact(&mut [0; 4]).await.unwrap();
        server.write_all(b"more").await.unwrap();
        assert_eq!(life.judge(), Verdict::Fine);

        // On HTTP/2 one response may be blocked while other bytes flow.
        let mut body = under_way.answer(Body::from("answer"));
        advance(TAKING - SECOND).await;
        assert_eq!(life.judge(), Verdict::Fine);
        advance(SECOND).await;
        assert_eq!(life.judge(), Verdict::Late);
        body.frame().await.unwrap().unwrap();
        assert_eq!(life.judge(), Verdict::Fine);
    }
}
