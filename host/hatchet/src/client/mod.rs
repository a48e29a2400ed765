//! Calls that need no worker: triggering, pushing events, asking about runs.

mod check;
mod events;
mod port;
mod runs;
mod trigger;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tonic::codec::CompressionEncoding;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

pub use check::CheckFailed;
pub use events::{Event, LogLevel, PushFailed};
pub use runs::{RunDetails, RunStatus};
pub use trigger::{Trigger, Triggered};

use crate::Now;
use crate::connection::{Bearer, Connection, Link, endpoint};
use crate::error::CallError;
use crate::namespace::Namespace;
use crate::problem::Problem;
use crate::proto::dispatcher_client::DispatcherClient;
use crate::proto::events_service_client::EventsServiceClient;
use crate::proto::v1::admin_service_client::AdminServiceClient;
use crate::proto::v1::v1_dispatcher_client::V1DispatcherClient;
use crate::proto::workflow_service_client::WorkflowServiceClient;
use crate::settings::Settings;
use crate::version::EngineVersion;
use crate::workflow::Workflow;

/// A client of one engine; cheap to clone, all clones share one connection.
#[derive(Clone)]
pub struct Client {
    pub(crate) link: Arc<Link>,
    pub(crate) namespace: Namespace,
    settings: Arc<Settings>,
}

type Wire = InterceptedService<Channel, Bearer>;

/// The deadline of a call about one thing.
pub(crate) const SHORT: Duration = Duration::from_secs(10);
/// The deadline of a call with many things: the engine needs 6 s for 1,000 events on a small machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);
/// The largest message that is read. The engine sends up to 4 MiB unless it is configured for more.
const LARGEST: usize = 32 << 20;

impl Client {
    /// A client for the engine of the settings. Connects at the first call, and again whenever the connection
    /// is lost. Must be called within a tokio runtime; `now` is the wall clock.
    ///
    /// # Errors
    /// Where the certificates of the settings do not make a TLS connection.
    pub fn new(settings: &Settings, now: Now) -> Result<Self, Problem> {
        let channel = endpoint(settings)?.connect_lazy();
        Self::over(settings, channel, now)
    }

    /// A client over a channel of the caller's, for tests without a network.
    #[cfg(feature = "stand-in")]
    pub(crate) fn with_channel(
        settings: &Settings,
        channel: Channel,
        now: Now,
    ) -> Result<Self, Problem> {
        Self::over(settings, channel, now)
    }

    fn over(settings: &Settings, channel: Channel, now: Now) -> Result<Self, Problem> {
        Ok(Self {
            link: Link::new(settings, channel, now)?,
            namespace: settings.namespace.clone(),
            settings: Arc::new(settings.clone()),
        })
    }

    /// The state of the connection, as the last calls found it.
    pub fn connection(&self) -> watch::Receiver<Connection> {
        self.link.watch()
    }

    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The engine's version; a cheap call that shows whether it answers.
    ///
    /// # Errors
    /// Where it does not answer, or refuses the token.
    pub async fn version(&self) -> Result<EngineVersion, CallError> {
        let mut dispatcher = self.dispatcher();
        let call = dispatcher.get_version(crate::proto::GetVersionRequest {});
        let version = self.link.call("GetVersion", SHORT, call).await?.version;
        let version = EngineVersion::parse(&version);
        self.link.note(|it| it.version = Some(version.clone()));
        Ok(version)
    }

    /// Registers a workflow, so that it can be triggered. The same one again changes nothing; twice at the same
    /// moment, one of them fails ([`CallError::Failed`]) and is to be repeated. A worker registers its own.
    ///
    /// # Errors
    /// Where the engine is away or refuses it, or its name is not fit for the engine.
    pub async fn put_workflow(&self, workflow: &Workflow) -> Result<(), CallError> {
        let request = workflow.request(&self.namespace)?;
        let mut admin = self.admin();
        let call = admin.put_workflow(request);
        self.link.call("PutWorkflow", LONG, call).await?;
        Ok(())
    }

    pub(crate) async fn extend_timeout(&self, task: &str, by: Duration) -> Result<(), CallError> {
        let mut dispatcher = self.dispatcher();
        let call = dispatcher.refresh_timeout(crate::proto::RefreshTimeoutRequest {
            task_run_external_id: task.to_owned(),
            increment_timeout_by: crate::durations::text(by),
        });
        self.link.call("RefreshTimeout", SHORT, call).await?;
        Ok(())
    }

    // Small messages on long streams are not worth compressing; payloads are.

    pub(crate) fn dispatcher(&self) -> DispatcherClient<Wire> {
        DispatcherClient::new(self.link.channel.clone())
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(LARGEST)
    }

    pub(crate) fn durable_dispatcher(&self) -> V1DispatcherClient<Wire> {
        V1DispatcherClient::new(self.link.channel.clone())
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(LARGEST)
    }

    pub(crate) fn admin(&self) -> AdminServiceClient<Wire> {
        AdminServiceClient::new(self.link.channel.clone())
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(LARGEST)
    }

    pub(crate) fn events(&self) -> EventsServiceClient<Wire> {
        EventsServiceClient::new(self.link.channel.clone())
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(LARGEST)
    }

    pub(crate) fn workflows(&self) -> WorkflowServiceClient<Wire> {
        WorkflowServiceClient::new(self.link.channel.clone())
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(LARGEST)
    }
}
