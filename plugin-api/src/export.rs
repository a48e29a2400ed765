//! How a plugin registers with the host, linked or loaded.

use std::sync::{Arc, Mutex, PoisonError};

use crate::abi::{RResult, RSlice, RVec};
use crate::call::{CallError, decode, encode, method};
use crate::journey::Cache;
use crate::{Kind, Manifest, Plugin, Settings, guard};

#[doc(hidden)]
pub use inventory;

/// A plugin with the kinds named in [`export_plugin!`](crate::export_plugin), which implements this
/// trait.
pub trait Exported: Plugin {
    /// The plugin's kinds, in the order of the macro call.
    const KINDS: &'static [Kind];

    #[doc(hidden)]
    fn dispatch(
        &self,
        cache: &Cache,
        method: u32,
        input: &[u8],
    ) -> Option<Result<Vec<u8>, CallError>>;
}

/// A running plugin, as the host sees it.
pub trait Instance: Send + Sync {
    /// Calls a method ([`method`](crate::call::method)) with JSON and returns JSON.
    ///
    /// # Errors
    ///
    /// [`CallError`]: the call failed without a result.
    fn call(&self, method: u32, input: &[u8]) -> Result<Vec<u8>, CallError>;
}

/// A plugin linked into this binary.
pub struct Linked {
    /// The crate, by which the host names a plugin that does not say what it is.
    pub crate_name: &'static str,
    /// Returns the manifest, with its kinds filled in.
    pub manifest: fn() -> Manifest,
    /// Creates the instance from its settings.
    pub create: fn(&Settings) -> Result<Box<dyn Instance>, CallError>,
}

inventory::collect!(Linked);

/// Every plugin linked into this binary. The binary must also call the `hogsend_link()` of each
/// plugin crate, or the linker drops the crate.
pub fn linked() -> impl Iterator<Item = &'static Linked> {
    inventory::iter::<Linked>.into_iter()
}

struct Guarded<P> {
    plugin: P,
    cache: Cache,
}

impl<P: Exported> Instance for Guarded<P> {
    fn call(&self, method: u32, input: &[u8]) -> Result<Vec<u8>, CallError> {
        guard::catch(|| {
            crate::check::dispatch(&self.plugin, method, input)
                .or_else(|| self.plugin.dispatch(&self.cache, method, input))
        })?
        .unwrap_or_else(|| {
            let message = format!("this plugin has no method {method}");
            Err(CallError::new(CallError::NO_METHOD, message))
        })
    }
}

#[doc(hidden)]
pub fn manifest<P: Exported>() -> Manifest {
    let mut manifest = P::manifest();
    manifest.kinds = P::KINDS.to_vec();
    manifest
}

#[doc(hidden)]
pub fn create<P: Exported>(settings: &Settings) -> Result<Box<dyn Instance>, CallError> {
    let plugin = guard::catch(|| P::new(settings))?
        .map_err(|message| CallError::new(CallError::BAD_SETTINGS, message))?;
    Ok(Box::new(Guarded {
        plugin,
        cache: Cache::default(),
    }))
}

/// The instances of one loaded library, by number. The host never unloads a library, but it ends an
/// instance that nothing uses any more.
#[doc(hidden)]
pub struct Instances(Mutex<Vec<Option<Arc<dyn Instance>>>>);

impl Instances {
    #[expect(clippy::new_without_default, reason = "made in a static")]
    pub const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    pub fn manifest<P: Exported>() -> RVec<u8> {
        let text = guard::catch(|| encode(&manifest::<P>()));
        text.ok().and_then(Result::ok).unwrap_or_default().into()
    }

    pub fn create<P: Exported>(&self, settings: RSlice<'_, u8>) -> RResult<u64, RVec<u8>> {
        let made = decode(settings.as_slice()).and_then(|settings| create::<P>(&settings));
        reply(made.map(|instance| {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.push(Some(Arc::from(instance)));
            all.len() as u64 - 1
        }))
    }

    pub fn call(
        &self,
        instance: u64,
        method: u32,
        input: RSlice<'_, u8>,
    ) -> RResult<RVec<u8>, RVec<u8>> {
        let ends = method == method::PLUGIN_END;
        let found = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let place = all.get_mut(instance as usize);
            place.and_then(|one| if ends { one.take() } else { one.clone() })
        };
        let output = match found {
            Some(instance) if ends => guard::catch(|| drop(instance))
                .map_err(CallError::from)
                .and_then(|()| encode(&())),
            Some(instance) => instance.call(method, input.as_slice()),
            None => Err(CallError::new(CallError::BAD_INPUT, "no such instance")),
        };
        reply(output.map(RVec::from))
    }
}

fn reply<T>(result: Result<T, CallError>) -> RResult<T, RVec<u8>> {
    match result {
        Ok(value) => RResult::ROk(value),
        Err(error) => RResult::RErr(encode(&error).unwrap_or_default().into()),
    }
}

/// Registers a plugin with its kinds (`event_source`, `delivery`, `analytics`, `journeys`). It works
/// both linked, through `inventory`, and loaded, through one exported symbol.
///
/// ```ignore
/// export_plugin!(PostHog: event_source, analytics);
/// ```
///
/// A crate exports one plugin. A kind that does not exist, or a second plugin, is an error that says so:
///
/// ```compile_fail
/// # use hogsend_plugin_api::{Manifest, Plugin, Settings, export_plugin};
/// # struct Shop;
/// # impl Plugin for Shop {
/// #     fn manifest() -> Manifest { Manifest::new("shop", "1.0.0") }
/// #     fn new(_: &Settings) -> Result<Self, String> { Ok(Self) }
/// # }
/// export_plugin!(Shop: event_sources);
/// ```
#[macro_export]
macro_rules! export_plugin {
    ($plugin:ty : $($kind:ident),+ $(,)?) => {
        #[cfg(panic = "abort")]
        compile_error!(
            "a plugin must unwind: remove `panic = \"abort\"` from the profile, or a panic in \
             the plugin ends the host"
        );

        impl $crate::export::Exported for $plugin {
            const KINDS: &'static [$crate::Kind] = &[$($crate::export_plugin!(@kind $kind)),+];

            fn dispatch(
                &self,
                cache: &$crate::export::__private::Cache,
                method: u32,
                input: &[u8],
            ) -> ::std::option::Option<
                ::std::result::Result<::std::vec::Vec<u8>, $crate::call::CallError>,
            > {
                $(
                    let found = $crate::export_plugin!(@dispatch $kind, self, cache, method, input);
                    if found.is_some() {
                        return found;
                    }
                )+
                let _ = cache;
                ::std::option::Option::None
            }
        }

        // Two of them in one module give an error that says why.
        #[doc(hidden)]
        pub const fn a_crate_exports_only_one_plugin() {}

        /// A binary that links this plugin calls it, so that the linker does not drop the crate.
        #[doc(hidden)]
        #[inline(never)]
        pub fn hogsend_link() {
            // In the same module as the `inventory` registration, and so in the same object file.
            ::std::hint::black_box($crate::export::create::<$plugin> as usize);
        }

        const _: () = {
            use $crate::abi::{PluginRoot, PluginRootRef, PrefixTypeTrait, RResult, RSlice, RVec};

            static INSTANCES: $crate::export::Instances = $crate::export::Instances::new();

            extern "C" fn manifest() -> RVec<u8> {
                $crate::export::Instances::manifest::<$plugin>()
            }

            extern "C" fn create(settings: RSlice<'_, u8>) -> RResult<u64, RVec<u8>> {
                INSTANCES.create::<$plugin>(settings)
            }

            extern "C" fn call(
                instance: u64,
                method: u32,
                input: RSlice<'_, u8>,
            ) -> RResult<RVec<u8>, RVec<u8>> {
                INSTANCES.call(instance, method, input)
            }

            fn root() -> PluginRootRef {
                PluginRoot { manifest, create, call }.leak_into_prefix()
            }

            extern "C" fn load() -> $crate::abi::RootModuleResult {
                $crate::abi::__call_root_module_loader(root)
            }

            #[unsafe(export_name = concat!("hogsend_plugin_header_v1__", env!("CARGO_CRATE_NAME")))]
            static HEADER: $crate::abi::LibHeader =
                $crate::abi::header(load);

            $crate::export::inventory::submit! {
                $crate::export::Linked {
                    crate_name: env!("CARGO_PKG_NAME"),
                    manifest: $crate::export::manifest::<$plugin>,
                    create: $crate::export::create::<$plugin>,
                }
            }
        };
    };
    (@kind event_source) => { $crate::Kind::EventSource };
    (@kind delivery) => { $crate::Kind::Delivery };
    (@kind analytics) => { $crate::Kind::Analytics };
    (@kind journeys) => { $crate::Kind::Journeys };
    (@kind $other:ident) => {
        compile_error!(concat!(
            "`", stringify!($other), "` is not a kind of plugin: the kinds are `event_source`, \
             `delivery`, `analytics` and `journeys`"
        ))
    };
    (@dispatch event_source, $self:ident, $cache:ident, $method:ident, $input:ident) => {
        $crate::export::__private::event_source($self, $method, $input)
    };
    (@dispatch delivery, $self:ident, $cache:ident, $method:ident, $input:ident) => {
        $crate::export::__private::delivery($self, $method, $input)
    };
    (@dispatch analytics, $self:ident, $cache:ident, $method:ident, $input:ident) => {
        $crate::export::__private::analytics($self, $method, $input)
    };
    (@dispatch journeys, $self:ident, $cache:ident, $method:ident, $input:ident) => {
        $crate::journey::dispatch($self, $cache, $method, $input)
    };
    (@dispatch $other:ident, $self:ident, $cache:ident, $method:ident, $input:ident) => {
        // The kind has its own error.
        ::std::option::Option::None::<
            ::std::result::Result<::std::vec::Vec<u8>, $crate::call::CallError>,
        >
    };
    ($($other:tt)*) => {
        compile_error!(
            "name the plugin and its kinds: `export_plugin!(Shop: event_source, delivery)`"
        );
    };
}

#[doc(hidden)]
pub mod __private {
    pub use crate::analytics::dispatch as analytics;
    pub use crate::delivery::dispatch as delivery;
    pub use crate::event_source::dispatch as event_source;
    pub use crate::journey::Cache;
}
