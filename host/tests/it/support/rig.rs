//! A server with a worker that runs one of the engines. Hatchet's is a stand-in in this process.

use std::time::Duration;

use hogsend_hatchet::stand_in::StandIn;

use super::admin::KEY;
use super::outside::{Outside, Working};
use super::{BEGINNING, Server, Store};

/// Runs a test with each engine.
#[macro_export]
macro_rules! on_each_engine {
    ($(#[$doc:meta])* async fn $name:ident($rig:ident: Rig) $body:block) => {
        mod $name {
            use super::*;

            async fn claim($rig: Rig) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn embedded() {
                claim(Rig::embedded().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn hatchet() {
                claim(Rig::hatchet().await).await;
            }
        }
    };
}

/// A server with an engine.
pub struct Rig {
    pub server: Server,
    hatchet: Option<Hatchet>,
}

struct Hatchet {
    outside: Outside,
    working: Option<Working>,
}

impl Rig {
    /// The embedded engine; the test lets it work with [`settle`](Self::settle).
    pub async fn embedded() -> Self {
        Self::embedded_with(&[]).await
    }

    pub async fn embedded_with(variables: &[(&str, &str)]) -> Self {
        Self {
            server: server(variables).await,
            hatchet: None,
        }
    }

    /// A worker with Hatchet, which works all the time.
    pub async fn hatchet() -> Self {
        Self::hatchet_with(&[]).await
    }

    pub async fn hatchet_with(variables: &[(&str, &str)]) -> Self {
        let mut rig = Self::idle(variables).await;
        rig.start_worker().await;
        rig
    }

    pub async fn hatchet_without_worker() -> Self {
        Self::idle(&[]).await
    }

    async fn idle(variables: &[(&str, &str)]) -> Self {
        let outside = Outside::start(BEGINNING.parse().unwrap()).await;
        let own = outside.engine.variables();
        let own = own.iter().map(|(name, value)| (*name, value.as_str()));
        let all: Vec<_> = variables.iter().copied().chain(own).collect();
        Self {
            server: server(&all).await,
            hatchet: Some(Hatchet {
                outside,
                working: None,
            }),
        }
    }

    fn used(&self) -> Option<&Outside> {
        self.hatchet.as_ref().map(|it| &it.outside)
    }

    /// The engine outside the database.
    pub fn outside(&self) -> &StandIn {
        &self.used().expect("it runs with Hatchet").engine
    }

    /// Starts the worker that uses it, and waits until it takes tasks.
    pub async fn start_worker(&mut self) {
        let hatchet = self.hatchet.as_mut().expect("it runs with Hatchet");
        hatchet.working = Some(hatchet.outside.work(&self.server).await);
    }

    pub async fn stop_worker(&mut self) {
        let hatchet = self.hatchet.as_mut().expect("it runs with Hatchet");
        if let Some(working) = hatchet.working.take() {
            working.stop().await;
        }
    }

    /// Lets all that is due be done.
    pub async fn settle(&self) {
        match self.used() {
            None => self.server.drain().await,
            Some(outside) => outside.settle(&self.server).await,
        }
    }

    /// Moves the clocks, and lets be done what has become due.
    pub async fn advance(&self, by: Duration) {
        if let Some(outside) = self.used() {
            outside.told().await;
        }
        self.server.clock.advance(by);
        if let Some(outside) = self.used() {
            outside.engine.advance(by);
        }
        self.settle().await;
    }

    pub async fn stop(mut self) {
        if self.hatchet.is_some() {
            self.stop_worker().await;
        }
        self.server.stop().await;
    }
}

async fn server(variables: &[(&str, &str)]) -> Server {
    let common = [("ADMIN_API_KEY", KEY), ("REDIS_URL", "off")];
    let all = [&common, variables].concat();
    Server::on(Store::native().await, &all, None).await
}
