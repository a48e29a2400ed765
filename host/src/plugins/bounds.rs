//! Limits on what a plugin brings and is given at start.

use hogsend_plugin_api::journey::Document;
use hogsend_plugin_api::{Manifest, limits};

/// Whether a manifest is within the limits. The error names the limit.
pub(super) fn manifest(manifest: &Manifest) -> Result<(), String> {
    limits::SETTINGS.check(manifest.settings.len())?;
    limits::HTTP_HOSTS.check(manifest.http_hosts.len())?;
    let settings = manifest.settings.iter();
    let of_settings = settings.flat_map(|one| {
        let default = one.default.as_deref().unwrap_or_default();
        [&*one.name, &*one.help, default]
    });
    let own = [&*manifest.version, &*manifest.api];
    let lists = manifest.http_hosts.iter().chain(&manifest.needs);
    let all = of_settings.chain(own).chain(lists.map(String::as_str));
    for text in all {
        limits::MANIFEST_TEXT.check(text.chars().count())?;
    }
    // A linked plugin is not read from bytes.
    limits::MANIFEST.check(serde_json::to_vec(manifest).map_or(usize::MAX, |all| all.len()))
}

/// Whether documents may be given to a plugin.
pub(super) fn documents(documents: &[Document]) -> Result<(), String> {
    limits::DOCUMENTS.check(documents.len())?;
    for document in documents {
        let fits = limits::DOCUMENT.check(document.text.len());
        fits.map_err(|why| format!("{why} (document '{}')", document.name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use hogsend_plugin_api::journey::Document;
    use hogsend_plugin_api::{Manifest, Setting};

    use super::{documents, manifest};

    #[test]
    fn a_manifest_has_few_settings_and_short_texts() {
        let of = |settings: usize, help: usize| {
            let start = Manifest::new("acme", "1.0.0");
            let all = (0..settings).fold(start, |all, n| {
                all.setting(Setting::new(&format!("ACME_{n}"), &"x".repeat(help)))
            });
            manifest(&all)
        };
        assert_eq!(of(100, 2_000), Ok(()));
        for (wrong, what) in [
            (of(101, 1), "settings of a manifest: 101, at most 100"),
            (of(1, 2_001), "2001 characters, at most 2,000 characters"),
        ] {
            assert!(wrong.unwrap_err().contains(what));
        }
        let sample = "x".repeat(1024 * 1024);
        let large = Manifest::new("acme", "1.0.0").sample_webhook(&sample);
        assert!(manifest(&large).unwrap_err().contains("at most 1 MiB"));
    }

    #[test]
    fn documents_are_few_and_small() {
        let large = Document::new("large.yaml", 1, &"x".repeat(1024 * 1024 + 1));
        assert!(documents(&[large]).unwrap_err().contains("'large.yaml'"));
        let many = vec![Document::new("a", 1, ""); 1_001];
        assert!(
            documents(&many)
                .unwrap_err()
                .contains("1001, at most 1,000")
        );
        assert_eq!(documents(&many[1..]), Ok(()));
    }
}
