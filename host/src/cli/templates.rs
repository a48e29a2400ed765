//! `hogsend templates …`: listing, showing, rendering and ejecting templates.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use hogsend_plugin_api::Properties;
use hogsend_render::{LAYOUT, file};
use serde_json::{Value, json};

use super::journeys::load;
use super::table::table;
use super::{Environment, Misconfigured};
use crate::catalog::Catalog;
use crate::config::Config;
use crate::templates::{Entry, LAYOUT_FILE, category, preview, sample_person};

#[derive(Subcommand)]
pub enum TemplatesCommand {
    /// List every template and its origin
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a template: its props and its content
    Show {
        /// The template's key
        key: String,
    },
    /// Write templates as files, to change them; `layout` writes the layout around them
    Eject {
        /// Keys of templates, or `layout`
        #[arg(required_unless_present = "all")]
        keys: Vec<String>,
        /// Every template and the layout
        #[arg(long, conflicts_with = "keys")]
        all: bool,
        /// The folder [default: TEMPLATE_DIR]
        #[arg(long)]
        to: Option<PathBuf>,
        /// Overwrite existing files
        #[arg(long)]
        force: bool,
    },
    /// Render a template with its sample values or with others, and print it
    Render(Render),
}

#[derive(Args)]
pub struct Render {
    /// The template's key
    key: String,
    /// Values that replace the sample values, as a JSON object
    #[arg(long, value_parser = object)]
    props: Option<Properties>,
    /// Properties of the contact, as a JSON object [default: {"first_name":"Ann"}]
    #[arg(long, value_parser = object)]
    contact: Option<Properties>,
    /// What to print
    #[arg(long, value_enum, default_value_t = Part::Html)]
    part: Part,
    /// Write the output to this file
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Part {
    Html,
    Text,
    Subject,
}

fn object(text: &str) -> Result<Properties, String> {
    serde_json::from_str(text).map_err(|error| format!("must be a JSON object: {error}"))
}

pub async fn run(environment: &Environment, command: TemplatesCommand) -> anyhow::Result<()> {
    let (mut config, plugins) = load(environment).await?;
    if config.brand.name.is_empty() {
        config.brand.name = config.sender_name();
    }
    let mut catalog = Catalog::of_plugins(&plugins);
    let (problems, warnings) = match &config.template_dir {
        Some(dir) => catalog.replace(dir),
        None => Default::default(),
    };
    for warning in warnings {
        eprintln!("{warning}");
    }
    // A broken file must not prevent ejecting a new one.
    if !problems.is_empty() && !matches!(command, TemplatesCommand::Eject { .. }) {
        return Err(Misconfigured::of(&problems).into());
    }
    match command {
        TemplatesCommand::List { json } => list(&catalog, json),
        TemplatesCommand::Show { key } => show(found(&catalog, &key)?),
        TemplatesCommand::Eject {
            keys,
            all,
            to,
            force,
        } => {
            let dir = to.or(config.template_dir.clone());
            let dir = dir.context("no folder: give --to <folder>, or set TEMPLATE_DIR")?;
            eject(&catalog, (&keys, all), &dir, force)
        }
        TemplatesCommand::Render(wanted) => show_rendered(&config, &catalog, wanted),
    }
}

fn found<'a>(catalog: &'a Catalog, key: &str) -> anyhow::Result<&'a Entry> {
    let found = catalog.templates().get(key);
    found.with_context(|| catalog.no_template(key))
}

fn origin(entry: &Entry) -> String {
    match (&entry.file, &entry.plugin) {
        (Some(file), _) => file.display().to_string(),
        (None, plugin) => format!("plugin {}", plugin.as_deref().unwrap_or("?")),
    }
}

fn list(catalog: &Catalog, as_json: bool) -> anyhow::Result<()> {
    let all = catalog.templates();
    if as_json {
        let all: Vec<Value> = all.iter().map(machine).collect();
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(());
    }
    let head = ["KEY", "CATEGORY", "FROM", "SUBJECT"].map(str::to_owned);
    let rows = all.iter().map(|entry| {
        let template = &entry.template;
        let subject = template.subject.lines().next().unwrap_or_default();
        [
            template.key.clone(),
            category(template).to_owned(),
            origin(entry),
            subject.chars().take(60).collect(),
        ]
    });
    let rows = std::iter::once(head).chain(rows);
    println!("{}", table(rows).trim_fmt());
    Ok(())
}

fn machine(entry: &Entry) -> Value {
    let template = &entry.template;
    json!({
        "key": template.key,
        "subject": template.subject,
        "preheader": template.preview,
        "category": category(template),
        "props": template.props,
        "plugin": entry.plugin,
        "file": entry.file,
    })
}

fn show(entry: &Entry) -> anyhow::Result<()> {
    let template = &entry.template;
    println!(
        "{} ({}), {}",
        template.key,
        category(template),
        origin(entry)
    );
    for prop in &template.props {
        let needed = match (&prop.unless, prop.required) {
            (Some(other), true) => format!(", required unless {other} is given"),
            (None, true) => ", required".to_owned(),
            (_, false) => String::new(),
        };
        println!(
            "    props.{} ({}{needed}): {}",
            prop.name,
            prop.kind.name(),
            prop.about
        );
    }
    let source = file::write(template).map_err(anyhow::Error::msg)?;
    println!("\n{source}");
    Ok(())
}

fn eject(
    catalog: &Catalog,
    (keys, all): (&[String], bool),
    dir: &Path,
    force: bool,
) -> anyhow::Result<()> {
    let templates = catalog.templates();
    let own = templates.iter().map(|entry| entry.template.key.clone());
    let keys: Vec<String> = if all {
        own.chain(["layout".to_owned()]).collect()
    } else {
        keys.to_vec()
    };
    let mut files = Vec::new();
    for key in &keys {
        let (name, text) = if key == "layout" {
            let layout = templates.layout().unwrap_or(LAYOUT);
            (LAYOUT_FILE.to_owned(), layout.to_owned())
        } else {
            let template = &found(catalog, key)?.template;
            let text = file::write(template).map_err(anyhow::Error::msg)?;
            (format!("{key}.mjml"), text)
        };
        files.push((dir.join(name), text));
    }
    // All or nothing: existing files may have been edited.
    if let Some((path, _)) = files.iter().find(|(path, _)| path.exists() && !force) {
        bail!(
            "{} exists already; use --force to overwrite it",
            path.display()
        );
    }
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    for (path, text) in &files {
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

fn show_rendered(config: &Config, catalog: &Catalog, wanted: Render) -> anyhow::Result<()> {
    let template = &found(catalog, &wanted.key)?.template;
    let props = wanted.props.unwrap_or_else(|| template.samples());
    let faults = template.faults(&props);
    for fault in &faults {
        eprintln!("props.{} {fault}", fault.name());
    }
    let props = template.fitting(props);
    let contact = wanted.contact.unwrap_or_else(sample_person);
    let mail = preview(config, catalog.templates(), template, &props, contact)?;
    let text = match wanted.part {
        Part::Html => mail.html,
        Part::Text => mail.text,
        Part::Subject => mail.subject,
    };
    match wanted.out {
        Some(path) => {
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            println!("wrote {}", path.display());
        }
        None => println!("{}", text.trim_end()),
    }
    Ok(())
}
