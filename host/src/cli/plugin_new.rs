//! `hogsend plugins new`: the crate of a plugin to start from.
//!
//! The files are in `host/plugin-templates`, written for a plugin with the id `acme`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use hogsend_semantics::plugin_id;

use crate::config::TABLE;

/// The repository a new crate depends on.
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");
/// The tag of the release a new crate depends on, until the crates are on crates.io.
const TAG: &str = concat!("v", env!("CARGO_PKG_VERSION"));

/// The arguments of `hogsend plugins new`.
#[derive(Args)]
pub struct New {
    /// The id of the plugin, and the folder to make: lower-case letters, digits and hyphens
    id: String,
    /// What the plugin does
    #[arg(long)]
    kind: Kind,
    /// Depend on this checkout of Hogsend instead of its release
    #[arg(long, value_name = "DIR")]
    api_path: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Sends mail through a provider and reads its webhooks
    Delivery,
    /// Turns a vendor's webhooks into events
    Source,
    /// Sends events to an analytics product and reads person properties from it
    Analytics,
    /// Brings journeys and their templates
    Journeys,
}

macro_rules! files {
    ($kind:literal: $($path:literal),+) => {
        &[$((
            $path,
            include_str!(concat!("../../plugin-templates/", $kind, "/", $path)),
        )),+]
    };
}

const MANIFEST: &str = include_str!("../../plugin-templates/manifest.toml");
const README: &str = include_str!("../../plugin-templates/README.md");
const GITIGNORE: &str = include_str!("../../plugin-templates/gitignore");

impl Kind {
    /// The paths and contents of the files of this kind.
    fn files(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Delivery => files!("delivery": "src/lib.rs", "tests/promises.rs"),
            Self::Source => files!("source": "src/lib.rs", "tests/promises.rs"),
            Self::Analytics => files!("analytics": "src/lib.rs", "tests/promises.rs"),
            Self::Journeys => files!(
                "journeys":
                "src/lib.rs", "src/welcome.mjml", "src/reminder.mjml", "tests/promises.rs",
                "tests/welcome.rs"
            ),
        }
    }

    /// What such a plugin is, for its README.
    fn title(self) -> &'static str {
        match self {
            Self::Delivery => "A delivery plugin",
            Self::Source => "An event source",
            Self::Analytics => "An analytics plugin",
            Self::Journeys => "Journeys and templates",
        }
    }
}

/// Makes the crate in a new folder of the current one.
pub fn run(new: &New) -> anyhow::Result<()> {
    let folder = Path::new(&new.id);
    create(new, folder)?;
    let id = &new.id;
    println!("made {id}/: start with {id}/src/lib.rs, whose first lines say where to go on");
    println!("    cd {id} && cargo test      checks what Hogsend relies on");
    println!("    {id}/README.md             says how to try it and how to install it");
    Ok(())
}

fn create(new: &New, folder: &Path) -> anyhow::Result<()> {
    let names = Names::of(&new.id)?;
    let dependencies = Dependencies::of(new.api_path.as_deref())?;
    if let Err(error) = fs::create_dir(folder) {
        if error.kind() == std::io::ErrorKind::AlreadyExists {
            bail!(
                "{} exists already: move it away, or choose another id",
                folder.display()
            );
        }
        return Err(error).with_context(|| format!("cannot make the folder {}", folder.display()));
    }
    // The names first: a path may contain one of them.
    let manifest = names
        .fill(MANIFEST)
        .replace("= API", &format!("= {}", dependencies.api))
        .replace("= KIT", &format!("= {}", dependencies.kit));
    let readme = names
        .fill(README)
        .replace("KIND", new.kind.title())
        .replace("REPOSITORY", REPOSITORY)
        .replace("TAG", TAG);
    let own = [
        ("Cargo.toml", manifest),
        ("README.md", readme),
        (".gitignore", GITIGNORE.to_owned()),
    ];
    let code = new.kind.files().iter();
    let code = code.map(|(path, text)| (*path, names.fill(text)));
    for (path, text) in own.into_iter().chain(code) {
        let path = folder.join(path);
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
            fs::write(&path, text)
        };
        write().with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The names of a plugin, which replace those of `acme`.
struct Names {
    id: String,
    /// `MyCrm`.
    title: String,
    /// `MY_CRM`, before the names of its settings.
    prefix: String,
}

impl Names {
    fn of(id: &str) -> anyhow::Result<Self> {
        if let Some(why) = plugin_id::wrong(id) {
            bail!(
                "'{}' cannot be the id of a plugin: {why}",
                id.escape_debug()
            );
        }
        // Settings and types are named after it.
        if !id.starts_with(|c: char| c.is_ascii_lowercase())
            || id.ends_with('-')
            || id.contains("--")
        {
            bail!(
                "'{id}' cannot name a crate: begin with a letter, and put one hyphen between two words"
            );
        }
        let capitalized = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
        let names = Self {
            id: id.to_owned(),
            title: id.split('-').map(capitalized).collect(),
            prefix: id.replace('-', "_").to_ascii_uppercase(),
        };
        for setting in ["API_KEY", "WEBHOOK_SECRET"] {
            let setting = format!("{}_{setting}", names.prefix);
            if TABLE.iter().any(|known| known.name == setting) {
                bail!(
                    "'{id}' would have the setting {setting}, which is Hogsend's own: choose another id"
                );
            }
        }
        Ok(names)
    }

    fn fill(&self, text: &str) -> String {
        let Self { id, title, prefix } = self;
        // The id last: it may contain one of the names before it.
        text.replace("AcmePlugin", "\u{1}Plugin")
            .replace("hogsend_plugin_acme", "hogsend_plugin_\u{2}")
            .replace("acme_", "\u{2}_")
            .replace("ACME", "\u{3}")
            .replace("Acme", "\u{1}")
            .replace("acme", id)
            .replace('\u{1}', title)
            .replace('\u{2}', &id.replace('-', "_"))
            .replace('\u{3}', prefix)
    }
}

/// What the crate depends on, as values of its Cargo.toml.
struct Dependencies {
    api: String,
    kit: String,
}

impl Dependencies {
    fn of(checkout: Option<&Path>) -> anyhow::Result<Self> {
        let Some(checkout) = checkout else {
            let release = format!("{{ git = \"{REPOSITORY}\", tag = \"{TAG}\" }}");
            return Ok(Self {
                api: release.clone(),
                kit: release,
            });
        };
        let at = |folder: &str| -> anyhow::Result<String> {
            let folder = checkout.join(folder);
            if !folder.join("Cargo.toml").is_file() {
                bail!(
                    "--api-path {} is no checkout of Hogsend: it has no {}",
                    checkout.display(),
                    folder.join("Cargo.toml").display()
                );
            }
            let folder = std::path::absolute(&folder)
                .with_context(|| format!("cannot read {}", folder.display()))?;
            // JSON's escapes are those of TOML (https://toml.io/en/v1.0.0#string).
            let folder = serde_json::Value::from(folder.to_string_lossy());
            Ok(format!("{{ path = {folder} }}"))
        };
        Ok(Self {
            api: at("plugin-api")?,
            kit: at("plugin-api/kit")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::ValueEnum as _;

    use super::{Kind, Names, New, TAG, create};

    fn new(id: &str, kind: Kind) -> New {
        New {
            id: id.into(),
            kind,
            api_path: None,
        }
    }

    #[test]
    fn a_new_crate_has_the_names_of_its_id() {
        let folder = tempfile::tempdir().unwrap();
        for kind in Kind::value_variants() {
            let crate_ = folder.path().join(format!("{kind:?}"));
            create(&new("my-crm", *kind), &crate_).unwrap();
            let mut paths = vec![crate_.clone()];
            while let Some(path) = paths.pop() {
                if path.is_dir() {
                    paths.extend(
                        fs::read_dir(&path)
                            .unwrap()
                            .map(|entry| entry.unwrap().path()),
                    );
                    continue;
                }
                let text = fs::read_to_string(&path).unwrap();
                assert!(
                    !text.to_lowercase().contains("acme"),
                    "{}: {text}",
                    path.display()
                );
                assert!(
                    !text.contains("REPOSITORY") && !text.contains("= API"),
                    "{text}"
                );
            }
            let manifest = fs::read_to_string(crate_.join("Cargo.toml")).unwrap();
            assert!(manifest.contains("name = \"hogsend-plugin-my-crm\""));
            assert!(manifest.contains(&format!("tag = \"{TAG}\"")));
            let code = fs::read_to_string(crate_.join("src/lib.rs")).unwrap();
            assert!(code.contains("pub struct MyCrmPlugin"));
            let test = fs::read_to_string(crate_.join("tests/promises.rs")).unwrap();
            assert!(test.contains("fn my_crm_keeps_") && test.contains("hogsend_plugin_my_crm::"));
            assert!(code.contains("Manifest::new(\"my-crm\""));
        }
    }

    #[test]
    fn nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let error = create(&new("acme", Kind::Source), folder.path()).unwrap_err();
        assert!(error.to_string().contains("exists already"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_no_id_is_refused_with_the_rule() {
        for (id, rule) in [
            ("Acme", "lower-case letters, digits and hyphens"),
            ("my_crm", "lower-case letters, digits and hyphens"),
            ("../x", "lower-case letters, digits and hyphens"),
            ("", "lower-case letters, digits and hyphens"),
            ("hogsend", "a name of Hogsend's own"),
            ("3scale", "begin with a letter"),
            ("-x", "begin with a letter"),
            ("my--crm", "one hyphen between"),
            ("crm-", "one hyphen between"),
            ("admin", "ADMIN_API_KEY, which is Hogsend's own"),
        ] {
            let error = Names::of(id).err().unwrap().to_string();
            assert!(error.contains(rule), "{id}: {error}");
        }
    }

    #[test]
    fn the_path_of_a_checkout_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let checkout = folder.path().join("acme's \"ACME\"");
        for place in ["plugin-api", "plugin-api/kit"] {
            fs::create_dir_all(checkout.join(place)).unwrap();
            fs::write(checkout.join(place).join("Cargo.toml"), "").unwrap();
        }
        let wanted = New {
            api_path: Some(checkout.clone()),
            ..new("my-crm", Kind::Journeys)
        };
        let made = folder.path().join("made");
        create(&wanted, &made).unwrap();
        let manifest = fs::read_to_string(made.join("Cargo.toml")).unwrap();
        let quoted = serde_json::to_string(&checkout.join("plugin-api")).unwrap();
        assert!(
            manifest.contains(&format!("hogsend-plugin-api = {{ path = {quoted} }}")),
            "{manifest}"
        );
    }

    #[test]
    fn a_folder_that_is_no_checkout_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = New {
            api_path: Some(folder.path().to_owned()),
            ..new("acme", Kind::Source)
        };
        let error = create(&wanted, &folder.path().join("acme")).unwrap_err();
        assert!(
            error.to_string().contains("is no checkout of Hogsend"),
            "{error}"
        );
        assert!(!folder.path().join("acme").exists());
    }
}
