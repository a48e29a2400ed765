//! Connections that a test can break.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use tonic::transport::server::Connected;

/// The state of all connections made since it was made.
#[derive(Default)]
pub(super) struct Cable {
    state: Mutex<Condition>,
}

#[derive(Default)]
struct Condition {
    cut: bool,
    frozen: bool,
    /// The engine has noticed that nothing comes, and has given the connections up.
    noticed: bool,
    wakers: Vec<Waker>,
}

impl Cable {
    /// Ends the connections.
    pub fn cut(&self) {
        let mut state = self.lock();
        state.cut = true;
        state.wakers.drain(..).for_each(Waker::wake);
    }

    /// Lets nothing through, and ends nothing.
    pub fn freeze(&self) {
        self.lock().frozen = true;
    }

    /// Ends frozen connections on the engine's side; the client does not see it.
    pub fn notice(&self) {
        let mut state = self.lock();
        state.noticed = true;
        state.wakers.drain(..).for_each(Waker::wake);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Condition> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a connection may go on.
    fn pass(&self, context: &Context<'_>, engine: bool) -> Poll<io::Result<()>> {
        let mut state = self.lock();
        if state.cut || (state.noticed && engine) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let waker = context.waker();
        if !state.wakers.iter().any(|it| it.will_wake(waker)) {
            state.wakers.push(waker.clone());
        }
        match state.frozen {
            true => Poll::Pending,
            false => Poll::Ready(Ok(())),
        }
    }
}

/// A connection in memory or over loopback.
pub(super) struct Wire {
    pub cable: Arc<Cable>,
    /// Whether this is the engine's end.
    pub engine: bool,
    pub ends: Ends,
}

pub(super) enum Ends {
    Memory(DuplexStream),
    Tcp(TcpStream),
}

impl Connected for Wire {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

macro_rules! poll {
    ($self:ident, $context:ident, $method:ident $(, $argument:expr)*) => {{
        std::task::ready!($self.cable.pass($context, $self.engine))?;
        match &mut $self.get_mut().ends {
            Ends::Memory(it) => Pin::new(it).$method($context $(, $argument)*),
            Ends::Tcp(it) => Pin::new(it).$method($context $(, $argument)*),
        }
    }};
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        poll!(self, context, poll_read, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        poll!(self, context, poll_write, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        poll!(self, context, poll_flush)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        poll!(self, context, poll_shutdown)
    }
}
