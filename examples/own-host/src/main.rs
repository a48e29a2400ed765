//! The `hogsend` command with two plugins of its own. Everything else is as in the released binary: settings,
//! subcommands and the plugins that come with it.

hogsend::main!(hogsend_example_github, hogsend_example_trial);
