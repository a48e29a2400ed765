//! A provider that ends the whole process at a mail to `fatal…`, where that is one of its own.

use hogsend_plugin_api::call::CallError;
use hogsend_plugin_api::export::{self, __private, Exported, Linked, inventory};
use hogsend_plugin_api::{
    Attempt, BatchAttempt, BatchOutcome, BatchSent, Capabilities, Delivery, Host, Idempotency,
    Kind, Mail, Manifest, Plugin, Prepared, SendOutcome, Sent, Setting, Settings,
};

pub struct Crash {
    /// The method that does it.
    at: String,
}

impl Crash {
    fn meets(&self, method: &str, what: &[u8]) {
        let fatal = self.at == method && what.windows(5).any(|part| part == b"fatal");
        if fatal && std::env::var_os("HOGSEND_CRASH_DATABASE").is_some() {
            std::process::abort();
        }
    }

    fn accepted() -> SendOutcome {
        SendOutcome::accepted("taken")
    }
}

impl Plugin for Crash {
    fn manifest() -> Manifest {
        let at = Setting::new("CRASH_AT", "the method that ends the process");
        Manifest::new("crash", "0.0.1").setting(at.required())
    }

    fn new(settings: &Settings) -> Result<Self, String> {
        let at = settings.get("CRASH_AT").unwrap_or_default().to_owned();
        Ok(Self { at })
    }
}

impl Delivery for Crash {
    fn capabilities(&self) -> Capabilities {
        let capabilities = Capabilities::new(Idempotency::Forever);
        if self.at == "send_batch" {
            capabilities.batches_of(10)
        } else {
            capabilities
        }
    }

    fn prepare(&self, mail: &Mail) -> Result<Prepared, String> {
        self.meets("prepare", mail.to.as_bytes());
        Ok(Prepared::new("text/plain", mail.to.clone()))
    }

    async fn send(&self, _: Host, attempt: Attempt) -> Sent {
        self.meets("send", attempt.prepared.body.as_slice());
        Self::accepted().into()
    }

    async fn send_batch(&self, _: Host, batch: BatchAttempt) -> BatchSent {
        for mail in &batch.mails {
            self.meets("send_batch", mail.body.as_slice());
        }
        let each = batch.mails.iter().map(|_| Self::accepted());
        BatchOutcome::Each(each.collect()).into()
    }
}

// A crate exports one plugin, and this one has another: linked as `export_plugin!` does it.
impl Exported for Crash {
    const KINDS: &'static [Kind] = &[Kind::Delivery];

    fn dispatch(
        &self,
        _: &__private::Cache,
        method: u32,
        input: &[u8],
    ) -> Option<Result<Vec<u8>, CallError>> {
        __private::delivery(self, method, input)
    }
}

inventory::submit! {
    Linked {
        crate_name: "crash",
        manifest: export::manifest::<Crash>,
        create: export::create::<Crash>,
    }
}
