use std::fs;
use std::path::Path;

use hogsend_plugin_api::Template;
use hogsend_plugin_api::journey::Catalogue;

use super::super::Templates;
use super::Folder;

fn plugins() -> Templates {
    let template = |key| Template::new(key, "Old", "<p>Old</p>").category("journey");
    let mut all = Templates::default();
    let mut catalogue = Catalogue::default();
    catalogue.templates = vec![template("welcome"), template("nudge")];
    all.add("stock", &catalogue);
    all
}

fn read(files: &[(&str, &str)]) -> (Folder, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let read = Folder::read(folder.path(), &plugins(), &["journey", "billing"]);
    let place = format!("{}/", folder.path().display());
    let messages = read.problems.iter();
    let messages = messages.map(|problem| problem.to_string().replace(&place, ""));
    let messages = messages.collect();
    (read, messages)
}

#[test]
fn files_replace_templates_and_add_new_ones() {
    let (folder, problems) = read(&[
        (
            "welcome.mjml",
            "+++\nsubject = \"New\"\n+++\n<p>New {{ name }}</p>",
        ),
        (
            "news.mjml",
            "+++\nsubject = \"News\"\ncategory = \"product-news\"\n+++\n<p>x</p>",
        ),
        ("layout.mjml", "<mjml><mj-body>{{ body }}</mj-body></mjml>"),
        ("README.md", "not a template"),
        (".hidden.mjml", "no"),
    ]);
    assert!(problems.is_empty(), "{problems:?}");
    let mut all = plugins();
    all.replace(folder);
    let welcome = all.get("welcome").unwrap();
    assert_eq!(welcome.template.subject, "New");
    assert_eq!(welcome.template.category.as_deref(), Some("journey"));
    assert_eq!(welcome.plugin.as_deref(), Some("stock"));
    assert!(welcome.file.is_some() && all.get("nudge").unwrap().file.is_none());
    assert_eq!(all.get("news").unwrap().plugin, None);
    assert!(all.layout().is_some());
}

#[test]
fn an_invalid_file_is_named_with_its_line() {
    let head = "+++\nsubject = \"x\"\n";
    for (name, text, expected) in [
        (
            "welcome.mjml",
            "<p>x</p>",
            "welcome.mjml, line 1: the file must begin with",
        ),
        (
            "welcome.mjml",
            "+++\nsubject = \"x\"\nsubjct = 1\n+++\n",
            "welcome.mjml, line 3: ",
        ),
        (
            "welcome.mjml",
            &format!("{head}+++\n<p>\n{{{{ oops }}</p>"),
            "welcome.mjml, line 5: the html",
        ),
        (
            "welcome.mjml",
            &format!(
                "{head}+++\n<mj-section>\n<mj-column>\n<mj-txt>x</mj-txt>\n</mj-column></mj-section>"
            ),
            "welcome.mjml, line 6: the MJML",
        ),
        (
            "welcome.mjml",
            "+++\nsubject = \"{% if %}\"\n+++\n<p>x</p>",
            "welcome.mjml, line 2: the subject",
        ),
        (
            "welcome.mjml",
            &format!("{head}category = \"biling\"\n+++\n"),
            "line 3: there is no category 'biling' (did you mean 'billing'?)",
        ),
        (
            "welcome.mjml",
            &format!("{head}category = \"a b\"\n+++\n"),
            "line 3: 'a b' is not a category",
        ),
        (
            "mine.mjml",
            &format!("{head}+++\n<p>x</p>"),
            "mine.mjml, line 1: no plugin provides",
        ),
        ("näh.mjml", head, "näh.mjml: the name of the file"),
        ("layout.mjml", "<p>x</p>", "layout.mjml: a layout is"),
        (
            "layout.mjml",
            "<mjml>\n<mj-body>{{ body }</mj-body></mjml>",
            "layout.mjml, line 2: ",
        ),
        (
            "welcome.mjml",
            &format!("{head}+++\n{}", "x".repeat(1_100_000)),
            "welcome.mjml: it is larger",
        ),
    ] {
        let (_, problems) = read(&[(name, text)]);
        assert_eq!(problems.len(), 1, "{name}: {problems:?}");
        let start = problems[0].starts_with("TEMPLATE_DIR has ");
        assert!(
            start && problems[0].contains(expected),
            "{expected}: {problems:?}"
        );
    }
    let missing = Folder::read(Path::new("/no/such/folder"), &plugins(), &[]);
    assert!(missing.problems[0].to_string().contains("cannot be read"));
}

#[test]
fn what_is_in_use_takes_the_place_of_a_faulty_file() {
    let head = |subject: &str| format!("+++\nsubject = \"{subject}\"\n+++\n<p>x</p>");
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("welcome.mjml", &head("First"));
    write("nudge.mjml", &head("First"));
    write(
        super::LAYOUT_FILE,
        "<mjml><mj-body>{{ body }}</mj-body></mjml>",
    );
    let mut in_use = plugins();
    in_use.replace(Folder::read(folder.path(), &plugins(), &["journey"]));

    write("welcome.mjml", "+++\nsubject = \"{% if %}\"\n+++\n");
    write("nudge.mjml", &head("Second"));
    write(super::LAYOUT_FILE, "<p>x</p>");
    let again = |path: &Path| {
        let read = Folder::read_beside(path, &plugins(), &["journey"], &in_use);
        let count = read.problems.len();
        let mut all = plugins();
        all.replace(read);
        let subject = |key| all.get(key).unwrap().template.subject.clone();
        (
            count,
            subject("welcome"),
            subject("nudge"),
            all.layout().is_some(),
        )
    };
    assert_eq!(
        again(folder.path()),
        (2, "First".into(), "Second".into(), true)
    );
    let path = folder.path().to_owned();
    drop(folder);
    assert_eq!(again(&path), (1, "First".into(), "First".into(), true));
}

#[test]
fn templates_and_layouts_share_partials_and_choose_layouts() {
    let folder = tempfile::tempdir().unwrap();
    for inner in super::FOLDERS {
        fs::create_dir(folder.path().join(inner)).unwrap();
    }
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("partials/sign.mjml", "<p>\n{{ brand.name }}\n</p>\n");
    write(
        "layouts/plain.mjml",
        "<mjml><mj-body>{{ body }}<mj-section><mj-column><mj-text>{% include 'sign' %}</mj-text></mj-column></mj-section></mj-body></mjml>",
    );
    write(
        "welcome.mjml",
        "+++\nsubject = \"x\"\nlayout = \"plain\"\n+++\n<p>x</p>\n{% include \"sign\" %}",
    );
    let read = || Folder::read(folder.path(), &plugins(), &["journey"]);
    let first = read();
    assert!(first.problems.is_empty(), "{:?}", first.problems);
    let mut all = plugins();
    all.replace(first);
    let template = &all.get("welcome").unwrap().template;
    assert_eq!(template.mjml, "<p>x</p>\n<p>\n{{ brand.name }}\n</p>");
    assert!(
        all.layout_of("welcome")
            .unwrap()
            .contains("{{ brand.name }}")
    );
    assert_eq!(all.layout_of("nudge"), None);

    // A fault in a partial is reported there, and what includes it stays as it is.
    write("partials/sign.mjml", "<p>\n{{ brand.name }\n</p>\n");
    let again = Folder::read_beside(folder.path(), &plugins(), &["journey"], &all);
    let problem = again.problems[0].to_string();
    assert!(problem.contains("partials/sign.mjml, line 2"), "{problem}");
    let mut kept = plugins();
    kept.replace(again);
    assert_eq!(&kept.get("welcome").unwrap().template, template);
    assert_eq!(kept.layout_of("welcome"), all.layout_of("welcome"));
    write(
        "welcome.mjml",
        "+++\nsubject = \"x\"\nlayout = \"plan\"\n+++\n",
    );
    write("partials/sign.mjml", "<p>x</p>");
    let problem = read().problems[0].to_string();
    assert!(
        problem
            .contains("welcome.mjml, line 3: there is no layout 'plan' in layouts; known: plain"),
        "{problem}"
    );
}

#[test]
fn a_key_close_to_another_gives_a_warning() {
    let (folder, problems) = read(&[(
        "welcom.mjml",
        "+++\nsubject = \"x\"\ncategory = \"journey\"\n+++\n<p>x</p>",
    )]);
    assert!(problems.is_empty(), "{problems:?}");
    assert!(
        folder.warnings[0].contains("did you mean welcome.mjml?"),
        "{:?}",
        folder.warnings
    );
}
