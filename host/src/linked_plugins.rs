//! The plugins linked into this binary. Each must be called here, or the linker drops its crate.

pub fn link() {
    hogsend_plugin_brevo::hogsend_link();
    hogsend_plugin_lifecycle::hogsend_link();
    hogsend_plugin_mailgun::hogsend_link();
    hogsend_plugin_outbox::hogsend_link();
    hogsend_plugin_posthog::hogsend_link();
    hogsend_plugin_postmark::hogsend_link();
    hogsend_plugin_resend::hogsend_link();
    hogsend_plugin_segment::hogsend_link();
    hogsend_plugin_sendgrid::hogsend_link();
    hogsend_plugin_slack::hogsend_link();
    hogsend_plugin_ses::hogsend_link();
    hogsend_plugin_smtp::hogsend_link();
    hogsend_plugin_webhooks::hogsend_link();
}
