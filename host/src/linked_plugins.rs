//! The plugins linked into this binary. A crate nobody calls is left out by the linker.

pub fn link() {
    hogsend_plugin_lifecycle::hogsend_link();
    hogsend_plugin_outbox::hogsend_link();
    hogsend_plugin_posthog::hogsend_link();
    hogsend_plugin_postmark::hogsend_link();
    hogsend_plugin_resend::hogsend_link();
    hogsend_plugin_smtp::hogsend_link();
}
