//! The connection to an engine: one channel for everything, and what is known of its health.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use secrecy::ExposeSecret;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Response, Status};

use crate::Now;
use crate::error::CallError;
use crate::problem::Problem;
use crate::settings::{Settings, Tls, names};
use crate::version::EngineVersion;

/// What is known of the connection, for a health check.
#[derive(Clone, Debug)]
pub struct Connection {
    pub standing: Standing,
    /// Since when; on tokio's clock.
    pub since: Instant,
    /// The version that the engine reported last.
    pub version: Option<EngineVersion>,
    /// The last heartbeat that the engine took. None where this process runs no worker.
    pub heartbeat: Option<SystemTime>,
    /// The worker's id on the engine, while it is registered.
    pub worker: Option<String>,
}

/// Whether the engine answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    Untried,
    Up,
    /// Does not answer, and why.
    Away(String),
}

impl Connection {
    /// How long the engine has been away; None while it answers or was not tried.
    pub fn away_for(&self) -> Option<Duration> {
        match self.standing {
            Standing::Away(_) => Some(self.since.elapsed()),
            _ => None,
        }
    }
}

/// The channel with what every call needs.
pub(crate) struct Link {
    pub address: String,
    pub channel: InterceptedService<Channel, Bearer>,
    pub now: Now,
    state: watch::Sender<Connection>,
}

/// Adds the token to each call.
#[derive(Clone)]
pub(crate) struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// The engine's smallest interval is 5 s.
const PING: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(60);
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
const CONNECT: Duration = Duration::from_secs(5);

/// The settings of the channel. Nothing is sent before the first call.
pub(crate) fn endpoint(settings: &Settings) -> Result<Endpoint, Problem> {
    let scheme = if settings.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let address = &settings.address;
    let endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
        .map_err(|_| Problem::new(names::HOST_PORT, format!("is no address: '{address}'")))?
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    let Some(tls) = &settings.tls else {
        return Ok(endpoint);
    };
    endpoint.tls_config(tls_config(tls)).map_err(|error| {
        let variable = match (&tls.server_name, &tls.root_ca, &tls.identity) {
            (Some(_), _, _) => names::TLS_SERVER_NAME,
            (_, Some(_), _) => names::TLS_ROOT_CA_FILE,
            (_, _, Some(_)) => names::TLS_CERT_FILE,
            _ => names::TLS_STRATEGY,
        };
        let why = chain(&error);
        Problem::new(
            variable,
            format!("does not give a TLS connection: {why}; check the files of HATCHET_CLIENT_TLS_… and the system's certificates"),
        )
    })
}

fn tls_config(tls: &Tls) -> ClientTlsConfig {
    let config = match &tls.root_ca {
        Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    let config = match &tls.identity {
        Some((certificate, key)) => {
            config.identity(Identity::from_pem(certificate, key.expose_secret()))
        }
        None => config,
    };
    match &tls.server_name {
        Some(name) => config.domain_name(name),
        None => config,
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

impl Link {
    pub fn new(settings: &Settings, channel: Channel, now: Now) -> Result<Arc<Self>, Problem> {
        let bearer = Bearer(settings.token.header()?);
        let (state, _) = watch::channel(Connection {
            standing: Standing::Untried,
            since: Instant::now(),
            version: None,
            heartbeat: None,
            worker: None,
        });
        Ok(Arc::new(Self {
            address: settings.address.clone(),
            channel: InterceptedService::new(channel, bearer),
            now,
            state,
        }))
    }

    pub fn watch(&self) -> watch::Receiver<Connection> {
        self.state.subscribe()
    }

    pub fn note(&self, change: impl FnOnce(&mut Connection)) {
        self.state.send_modify(change);
    }

    /// Makes a call with a deadline, and notes whether the engine answered.
    pub async fn call<T>(
        &self,
        name: &'static str,
        deadline: Duration,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, CallError> {
        match tokio::time::timeout(deadline, call).await {
            Ok(Ok(response)) => {
                self.answered();
                Ok(response.into_inner())
            }
            Ok(Err(status)) => Err(self.failed(name, &status)),
            // A slow call says nothing about the connection; heartbeats have their own short deadline.
            Err(_) => Err(CallError::Away {
                address: self.address.clone(),
                why: format!("no answer to {name} within {deadline:?}"),
            }),
        }
    }

    pub fn answered(&self) {
        self.stand(&Standing::Up);
    }

    pub fn away(&self, why: String) {
        self.stand(&Standing::Away(why));
    }

    /// The error of a status; notes what it says about the connection.
    pub fn failed(&self, call: &'static str, status: &Status) -> CallError {
        let error = CallError::new(call, &self.address, status);
        match &error {
            CallError::Away { why, .. } => self.away(why.clone()),
            CallError::Token { .. } => self.away("it refuses the token".to_owned()),
            _ => self.answered(),
        }
        error
    }

    /// `since` moves only where the kind of standing changes.
    fn stand(&self, standing: &Standing) {
        self.state.send_if_modified(|it| {
            if it.standing == *standing {
                return false;
            }
            if std::mem::discriminant(&it.standing) != std::mem::discriminant(standing) {
                it.since = Instant::now();
            }
            it.standing = standing.clone();
            true
        });
    }
}
