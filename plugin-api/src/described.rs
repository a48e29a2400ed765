//! Event sources that a linked crate makes from descriptions: from files of the operator, one for each
//! source, and from texts of its own.

use std::path::PathBuf;

use crate::call::CallError;
use crate::export::Instance;
use crate::{EventSource, Kind, Manifest, Settings, event_source, guard};

/// A file of the operator that describes an event source.
#[derive(Clone, Debug)]
pub struct Description {
    /// Where the host found it. Its name without the extension is the source's id.
    pub path: PathBuf,
    /// The whole content.
    pub text: String,
}

/// A mistake in a description, for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file.
    pub path: PathBuf,
    /// Names the key and the fix.
    pub message: String,
}

/// A crate that makes event sources from descriptions. It registers itself with `inventory::submit!`,
/// and the binary must use something of the crate, or the linker drops it.
pub struct Describer {
    /// The sources that need no file.
    pub own: fn() -> Vec<Described>,
    /// The sources of these files.
    pub read: fn(&[Description]) -> Sources,
}

/// What a describer makes of files.
#[derive(Default)]
pub struct Sources {
    /// One for each file without mistakes.
    pub sources: Vec<Described>,
    /// Every mistake in the other files.
    pub mistakes: Vec<Mistake>,
}

inventory::collect!(Describer);

/// Every describer linked into this binary.
pub fn describers() -> impl Iterator<Item = &'static Describer> {
    inventory::iter::<Describer>.into_iter()
}

type Create = dyn Fn(&Settings) -> Result<Box<dyn Instance>, CallError> + Send + Sync;

/// An event source made from a description.
pub struct Described {
    /// Its manifest, with the kind filled in.
    pub manifest: Manifest,
    /// The file that describes it; `None` where the crate brings the description.
    pub path: Option<PathBuf>,
    create: Box<Create>,
}

impl Described {
    /// An event source that `create` makes from its settings. The error of `create` is a message for the
    /// operator.
    pub fn event_source<S: EventSource + Send + Sync + 'static>(
        mut manifest: Manifest,
        path: Option<PathBuf>,
        create: impl Fn(&Settings) -> Result<S, String> + Send + Sync + 'static,
    ) -> Self {
        manifest.kinds = vec![Kind::EventSource];
        Self {
            manifest,
            path,
            create: Box::new(move |settings| {
                let source = guard::catch(|| create(settings))?;
                let source =
                    source.map_err(|message| CallError::new(CallError::BAD_SETTINGS, message))?;
                Ok(Box::new(Source(source)))
            }),
        }
    }

    /// Creates the source's only instance.
    ///
    /// # Errors
    ///
    /// [`CallError::BAD_SETTINGS`]: the source refuses its settings.
    pub fn create(&self, settings: &Settings) -> Result<Box<dyn Instance>, CallError> {
        (self.create)(settings)
    }
}

struct Source<S>(S);

impl<S: EventSource + Send + Sync> Instance for Source<S> {
    fn call(&self, method: u32, input: &[u8]) -> Result<Vec<u8>, CallError> {
        guard::catch(|| event_source::dispatch(&self.0, method, input))?.unwrap_or_else(|| {
            let message = format!("this plugin has no method {method}");
            Err(CallError::new(CallError::NO_METHOD, message))
        })
    }
}
