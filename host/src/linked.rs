//! The plugins linked into this binary. A crate nobody names is left out by the linker.

use hogsend_plugin_lifecycle as _;
use hogsend_plugin_outbox as _;
use hogsend_plugin_posthog as _;
use hogsend_plugin_resend as _;
