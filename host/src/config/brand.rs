//! The brand shown in mails and pages.

use hogsend_render::{Brand, Color};
use reqwest::Url;

use super::reader::Reader;

/// The longest product name, in characters.
const NAME_MAX: usize = 100;

/// Reads the product's name, page, logo and color. Mails and pages omit what is not set.
pub(super) fn read(reader: &mut Reader<'_>) -> Brand {
    let name = reader.unquoted("BRAND_NAME").unwrap_or_default();
    if name.chars().any(char::is_control) || name.chars().count() > NAME_MAX {
        let message = format!("is not a valid name: use one line of at most {NAME_MAX} characters");
        reader.problem("BRAND_NAME", message);
    }
    let url = address(reader, "BRAND_URL");
    let logo = address(reader, "BRAND_LOGO_URL");
    let color = reader.parsed(
        "BRAND_COLOR",
        Color::parse,
        "a color such as #0f766e, in quotation marks where # begins a comment",
    );
    Brand::new(&name, &url, &logo, color)
}

/// Reads the public URL of a page or picture, normalised for links.
fn address(reader: &mut Reader<'_>, name: &str) -> String {
    let Some(text) = reader.unquoted(name) else {
        return String::new();
    };
    let url = Url::parse(&text).ok().filter(|url| {
        ["http", "https"].contains(&url.scheme())
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
    });
    match url {
        Some(url) => url.to_string(),
        None => {
            reader.problem(
                name,
                "is not a URL of the form https://…, without a user name",
            );
            String::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Mode};

    fn reading(pairs: &[(&str, &str)]) -> (hogsend_render::Brand, Vec<String>) {
        let lookup = |name: &str| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let (config, problems) = Config::read(&lookup, Mode::Dev);
        let problems = problems.iter().map(ToString::to_string);
        (config.brand, problems.collect())
    }

    #[test]
    fn a_brand_is_read_and_what_is_wrong_is_told() {
        let (brand, problems) = reading(&[
            ("BRAND_NAME", "Bücher & Co"),
            ("BRAND_URL", "https://Bücher.example"),
            ("BRAND_LOGO_URL", "https://cdn.example/l.png?v=1"),
            ("BRAND_COLOR", "#0f766e"),
        ]);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(
            (&*brand.name, &*brand.url, &*brand.color),
            ("Bücher & Co", "https://xn--bcher-kva.example/", "#0f766e")
        );
        for (name, value) in [
            ("BRAND_NAME", "a\u{7}b"),
            ("BRAND_NAME", "\"Acme\""),
            ("BRAND_URL", "acme.test"),
            ("BRAND_URL", "javascript:alert(1)"),
            ("BRAND_URL", "https://acme.test@evil.test"),
            ("BRAND_LOGO_URL", "data:image/png;base64,x"),
            ("BRAND_COLOR", "red"),
            ("BRAND_COLOR", "#12"),
            ("BRAND_COLOR", "#fff;background:url(x)"),
        ] {
            let (_, problems) = reading(&[(name, value)]);
            assert!(
                problems.len() == 1 && problems[0].starts_with(name),
                "{value}: {problems:?}"
            );
        }
    }
}
