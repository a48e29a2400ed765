//! Hours at which a mail that is not urgent may come.

use hogsend_plugin_api::journey::{self, Ctx};

const OPENS: (u32, u32) = (9, 0);
const CLOSES: (u32, u32) = (18, 0);

/// Waits until it is day where the person lives; not at all where it is.
pub async fn daytime(ctx: &Ctx) -> journey::Result {
    let at = ctx.when().window(OPENS, CLOSES).await?;
    ctx.sleep_until(at).label("daytime").await;
    Ok(())
}
