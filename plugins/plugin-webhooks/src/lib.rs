//! Webhook sources that files describe: how a webhook is authenticated, and where in it the event, the
//! person and the properties are. The presets in `presets/` are such files.

#![forbid(unsafe_code)]

mod file;
mod mapping;
mod place;
mod presets;
mod source;
mod template;
#[cfg(test)]
mod tests;
mod verify;

use hogsend_plugin_api::described::{Describer, Description, Mistake, Sources};
use hogsend_plugin_api::export::inventory;

/// A binary that links this crate calls it, so that the linker does not drop the crate.
#[doc(hidden)]
#[inline(never)]
pub fn hogsend_link() {
    // In the same module as the registration, and so in the same object file.
    std::hint::black_box(read as fn(&[Description]) -> Sources);
}

inventory::submit! {
    Describer { own: presets::all, read }
}

/// The sources of the operator's files, and every mistake in the files that have one.
fn read(files: &[Description]) -> Sources {
    let mut all = Sources::default();
    for description in files {
        let path = &description.path;
        let id = path.file_stem().and_then(|stem| stem.to_str());
        match file::parse(id.unwrap_or_default(), &description.text) {
            Ok(source) => {
                let manifest = source.manifest();
                all.sources
                    .push(source.described(manifest, Some(path.clone())));
            }
            Err(problems) => all
                .mistakes
                .extend(problems.into_iter().map(|message| Mistake {
                    path: path.clone(),
                    message,
                })),
        }
    }
    all
}
