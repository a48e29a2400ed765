//! Serving the engine over memory or loopback, and stopping.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Channel, Uri};

use super::dispatcher::Services;
use super::engine::Engine;
use super::wire::{Cable, Ends, Wire};
use crate::connection::endpoint;
use crate::proto::dispatcher_server::DispatcherServer;
use crate::proto::events_service_server::EventsServiceServer;
use crate::proto::v1::admin_service_server::AdminServiceServer;
use crate::proto::v1::v1_dispatcher_server::V1DispatcherServer;
use crate::proto::workflow_service_server::WorkflowServiceServer;
use crate::settings::Settings;

/// The process that serves the engine, as far as a test sees it.
pub(super) struct Server {
    address: Option<String>,
    line: Arc<Mutex<Line>>,
    tasks: Vec<AbortHandle>,
}

/// What new connections are made of.
#[derive(Default)]
struct Line {
    cable: Arc<Cable>,
    /// Takes connections; None while the process is down.
    incoming: Option<mpsc::UnboundedSender<io::Result<Wire>>>,
}

type Shared = Arc<Mutex<Line>>;

fn lock(line: &Shared) -> std::sync::MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) async fn bind(address: &str) -> TcpListener {
    let listener = TcpListener::bind(address).await;
    listener.expect("a loopback port can be opened")
}

impl Server {
    pub fn in_memory(engine: &Arc<Engine>) -> Self {
        let mut server = Self {
            address: None,
            line: Shared::default(),
            tasks: Vec::new(),
        };
        server.start(engine, None);
        server
    }

    pub async fn over_loopback(engine: &Arc<Engine>) -> Self {
        let listener = bind("127.0.0.1:0").await;
        let address = listener
            .local_addr()
            .expect("a bound listener has an address");
        let mut server = Self {
            address: Some(address.to_string()),
            line: Shared::default(),
            tasks: Vec::new(),
        };
        server.start(engine, Some(listener));
        server
    }

    pub fn address(&self) -> String {
        self.address
            .clone()
            .unwrap_or_else(|| "memory:1".to_owned())
    }

    /// The address to open again.
    pub fn reserve(&self) -> Option<String> {
        self.address.clone()
    }

    pub fn start(&mut self, engine: &Arc<Engine>, listener: Option<TcpListener>) {
        let (incoming, connections) = mpsc::unbounded_channel();
        {
            let mut line = lock(&self.line);
            line.cable = Arc::default();
            line.incoming = Some(incoming);
        }
        let services = Services(engine.clone());
        let gzip = CompressionEncoding::Gzip;
        let router = tonic::transport::Server::builder()
            .add_service(
                DispatcherServer::new(services.clone())
                    .send_compressed(gzip)
                    .accept_compressed(gzip),
            )
            .add_service(
                V1DispatcherServer::new(services.clone())
                    .send_compressed(gzip)
                    .accept_compressed(gzip),
            )
            .add_service(
                AdminServiceServer::new(services.clone())
                    .send_compressed(gzip)
                    .accept_compressed(gzip),
            )
            .add_service(
                WorkflowServiceServer::new(services.clone())
                    .send_compressed(gzip)
                    .accept_compressed(gzip),
            )
            .add_service(
                EventsServiceServer::new(services)
                    .send_compressed(gzip)
                    .accept_compressed(gzip),
            );
        let serve = async move {
            let connections = UnboundedReceiverStream::new(connections);
            let _ = router.serve_with_incoming(connections).await;
        };
        self.tasks.push(tokio::spawn(serve).abort_handle());
        let ticking = engine.clone();
        let tick = async move {
            let mut tick = tokio::time::interval(ticking.timing.tick);
            loop {
                tick.tick().await;
                ticking.tick();
            }
        };
        self.tasks.push(tokio::spawn(tick).abort_handle());
        if let Some(listener) = listener {
            let line = self.line.clone();
            self.tasks
                .push(tokio::spawn(accept(listener, line)).abort_handle());
        }
    }

    pub fn stop(&mut self) {
        let mut line = lock(&self.line);
        line.incoming = None;
        line.cable.cut();
        drop(line);
        self.tasks.drain(..).for_each(|it| it.abort());
    }

    /// The engine notices after 50 s: it pings after 30 and waits 20 for the answer.
    pub fn freeze(&self) {
        let mut line = lock(&self.line);
        let cable = std::mem::take(&mut line.cable);
        cable.freeze();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(50)).await;
            cable.notice();
        });
    }

    /// A channel over memory; None where the engine is on loopback.
    pub fn channel(&self, settings: &Settings) -> Option<Channel> {
        if self.address.is_some() {
            return None;
        }
        let line = self.line.clone();
        let connect = tower::service_fn(move |_: Uri| {
            let connected = connect(&line);
            async move { connected.map(TokioIo::new) }
        });
        let endpoint = endpoint(settings).ok()?;
        Some(endpoint.connect_with_connector_lazy(connect))
    }
}

fn connect(line: &Shared) -> io::Result<Wire> {
    let line = lock(line);
    let (here, there) = tokio::io::duplex(1 << 20);
    let wire = |stream, engine| Wire {
        cable: line.cable.clone(),
        engine,
        ends: Ends::Memory(stream),
    };
    let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
    let incoming = line.incoming.as_ref().ok_or_else(refused)?;
    let sent = incoming.send(Ok(wire(there, true)));
    sent.map_err(|_| refused())?;
    Ok(wire(here, false))
}

async fn accept(listener: TcpListener, line: Shared) {
    while let Ok((stream, _)) = listener.accept().await {
        let line = lock(&line);
        let wire = Wire {
            cable: line.cable.clone(),
            engine: true,
            ends: Ends::Tcp(stream),
        };
        if let Some(incoming) = &line.incoming {
            let _ = incoming.send(Ok(wire));
        }
    }
}
