//! How long a connection may take to tell what it wants.
//!
//! Two silences are bounded apart: hyper's `header_read_timeout` begins when the server waits for a
//! further request, so it bounds how long a connection may lie idle; this one begins with a request's
//! first byte, so a client that trickles is not waited for as one that is idle. It holds for a new
//! connection as well, which hyper waits for without end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// From a connection's beginning, and from each further request's first byte, until the server begins
/// to answer; longer than any request may take.
pub const HEAD_READ: Duration = Duration::from_secs(60);

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
    /// The last that happened was that the server wrote.
    Idle,
    /// A request is to come, or came in part, and was not answered yet.
    Head(Pin<Box<Sleep>>),
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
            phase: Phase::Head(Box::pin(sleep(HEAD_READ))),
        }
    }

    fn wrote(&mut self) {
        self.phase = Phase::Idle;
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
        match &this.phase {
            Phase::Idle if buffer.filled().len() > before => {
                this.phase = Phase::Head(Box::pin(sleep(HEAD_READ)));
            }
            // A trickle that never pauses is late all the same.
            Phase::Head(deadline) if deadline.deadline() <= Instant::now() => {
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
        client.write_all(b"GET / ").await.unwrap();
        assert_eq!(server.read(&mut buffer).await.unwrap(), 6);
        tokio::time::advance(HEAD_READ - Duration::from_secs(1)).await;
        client.write_all(b"HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!(server.read(&mut buffer).await.unwrap(), 12);
        server.write_all(b"HTTP/1.1 204\r\n\r\n").await.unwrap();
        // Idle for long; then a byte every now and then.
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
    async fn a_connection_that_never_asks_is_given_up() {
        let (_client, server) = duplex(1024);
        let began = Instant::now();
        let late = Bounded::new(server).read(&mut [0; 64]).await.unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), HEAD_READ.as_secs());
    }
}
