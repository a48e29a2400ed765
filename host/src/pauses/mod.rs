//! Pauses: an operator stops all sending, a journey or a category in time, and resumes it later.
//!
//! While a pause lasts, everything goes on being stored. What is due and covered by it is put aside: its
//! row has no due time and names the pause. Entries into a paused journey are held. When the pause has
//! ended, the worker makes what was put aside due again and offers the held entries, a few hundred each
//! second. A mail's last useful moment moves by the time during which a pause covered the mail, unless
//! the moment was given with the mail. An attempt that began is finished in any case.
//!
//! Two safeguards pause as well: the spike guard (`alerts/spike.rs`) a journey, and `restore/` everything
//! in a database that was restored or copied. In the second case no loop claims anything ([`Halt`]).

mod change;
mod cover;
mod halt;

pub use change::{QUIET, begin, pause, resume};
pub use cover::{Pauses, Scope};
pub use halt::Halt;
