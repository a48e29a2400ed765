//! How long a connection may take to tell what it wants.
//!
//! Two silences are bounded apart: hyper's `header_read_timeout` begins when the server waits for a
//! request, so it bounds how long a connection may lie idle; this one begins with a request's first
//! byte, so a client that trickles is not waited for as one that is idle.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// From a request's first byte until the server begins to answer; longer than any request may take.
pub const HEAD_READ: Duration = Duration::from_secs(60);

/// What an HTTP/2 connection begins with (RFC 9113 §3.4). Its frames come in no such order.
const HTTP2: &[u8] = b"PRI";

/// Makes connections impatient, and sends small answers at once.
#[derive(Clone, Copy)]
pub struct Impatient;

impl<S: Send + 'static> Accept<TcpStream, S> for Impatient {
    type Stream = Bounded<TcpStream>;
    type Service = S;
    type Future = std::future::Ready<io::Result<(Self::Stream, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let stream = stream.set_nodelay(true).map(|()| Bounded::new(stream));
        std::future::ready(stream.map(|stream| (stream, service)))
    }
}

enum Phase {
    /// Nothing came yet.
    New,
    /// The last that happened was that the server wrote.
    Idle,
    /// A request began to come and was not answered yet.
    Head(Pin<Box<Sleep>>),
    /// HTTP/2.
    Unbounded,
}

/// A connection that fails when a request takes too long to come.
pub struct Bounded<T> {
    inner: T,
    phase: Phase,
}

impl<T> Bounded<T> {
    pub fn new(inner: T) -> Self {
        Self {
            inner,
            phase: Phase::New,
        }
    }

    fn wrote(&mut self) {
        if let Phase::Head(_) = self.phase {
            self.phase = Phase::Idle;
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Bounded<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let this = &mut *self;
        if Pin::new(&mut this.inner)
            .poll_read(cx, buffer)?
            .is_pending()
        {
            if let Phase::Head(deadline) = &mut this.phase {
                ready!(deadline.as_mut().poll(cx));
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            return Poll::Pending;
        }
        let came = &buffer.filled()[before..];
        match this.phase {
            Phase::New if came.starts_with(HTTP2) => this.phase = Phase::Unbounded,
            Phase::New | Phase::Idle if !came.is_empty() => {
                this.phase = Phase::Head(Box::pin(sleep(HEAD_READ)));
            }
            // A trickle that never pauses is late all the same.
            Phase::Head(ref deadline) if deadline.deadline() <= Instant::now() => {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            _ => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Bounded<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.wrote();
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.wrote();
        Pin::new(&mut self.inner).poll_write_vectored(cx, parts)
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
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_waited_for_and_a_trickling_one_is_not() {
        let (mut client, server) = duplex(1024);
        let mut server = Bounded::new(server);
        let mut buffer = [0; 64];
        // Idle for long, then a request in time.
        tokio::time::advance(HEAD_READ * 10).await;
        client.write_all(b"GET / ").await.unwrap();
        assert_eq!(server.read(&mut buffer).await.unwrap(), 6);
        tokio::time::advance(HEAD_READ - Duration::from_secs(1)).await;
        client.write_all(b"HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!(server.read(&mut buffer).await.unwrap(), 12);
        server.write_all(b"HTTP/1.1 204\r\n\r\n").await.unwrap();
        // Idle again; then a byte every now and then.
        tokio::time::advance(HEAD_READ * 10).await;
        for _ in 0..6 {
            client.write_all(b"G").await.unwrap();
            server.read_exact(&mut buffer[..1]).await.unwrap();
            tokio::time::advance(HEAD_READ / 6).await;
        }
        let late = server.read(&mut buffer).await.unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn http2_keeps_its_own_time() {
        let (mut client, server) = duplex(1024);
        let mut server = Bounded::new(server);
        let mut buffer = [0; 64];
        client.write_all(b"PRI * HTTP/2.0\r\n\r\n").await.unwrap();
        assert!(server.read(&mut buffer).await.unwrap() > 0);
        tokio::time::advance(HEAD_READ * 2).await;
        client.write_all(b"x").await.unwrap();
        assert_eq!(server.read(&mut buffer).await.unwrap(), 1);
    }
}
