//! The hours for mails that are not urgent.

use hogsend_plugin_api::journey::{self, Ctx};

const OPENS: (u32, u32) = (9, 0);
const CLOSES: (u32, u32) = (18, 0);

/// Waits until daytime in the person's time zone; returns at once during it.
pub async fn daytime(ctx: &Ctx) -> journey::Result {
    let at = ctx.when().window(OPENS, CLOSES).await?;
    ctx.sleep_until(at).label("daytime").await;
    Ok(())
}
