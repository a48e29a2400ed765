//! Limits on the documents that a plugin is given for its journeys.

use hogsend_plugin_api::journey::Document;
use hogsend_plugin_api::limits;

/// Whether documents may be given to a plugin.
pub(super) fn check(documents: &[Document]) -> Result<(), String> {
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

    use super::check;

    #[test]
    fn documents_are_few_and_small() {
        let large = Document::new("large.yaml", 1, &"x".repeat(1024 * 1024 + 1));
        assert!(check(&[large]).unwrap_err().contains("'large.yaml'"));
        let many = vec![Document::new("a", 1, ""); 1_001];
        assert!(check(&many).unwrap_err().contains("1001, at most 1,000"));
        assert_eq!(check(&many[1..]), Ok(()));
    }
}
