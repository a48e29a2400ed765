//! Entry points are thin: `http` and `cli` change nothing themselves.
//!
//! A change goes through the module of its noun, which asks for the actor and writes the audit row in the
//! transaction of the change. So the entry points call no function of `db` whose SQL writes, begin no
//! transaction and write no audit row. Reads may ask `db`.

use std::collections::{BTreeSet, HashMap, HashSet};

use syn::visit::{self, Visit};

use crate::sources::{Token, parse_folder, read, tokens};

/// The folders of the entry points that change things for a caller. The worker's loops claim and finish the
/// rows they work on themselves.
const ENTRY_POINTS: [&str; 2] = ["http", "cli"];

/// The methods of `Db` that begin a transaction which can write.
const TRANSACTIONS: [&str; 2] = ["transact", "transact_within"];

#[test]
fn entry_points_change_nothing_themselves() {
    let writers = writers(&parse_folder("db"));
    for (name, writes) in [
        ("audit_insert", true),
        ("webhook_update", true),
        ("contact_merge", true),
        ("event_insert_known", true),
        ("contact_row", false),
        ("contact_lock", false),
        ("schema_state", false),
    ] {
        assert_eq!(writers.contains(name), writes, "{name}");
    }
    let mut wrong = BTreeSet::new();
    for file in read() {
        if !ENTRY_POINTS.contains(&file.module.first().map_or("", |name| name)) {
            continue;
        }
        let place = file.module.join("/");
        for path in &file.names {
            let (Some(module), Some(name)) = (path.first(), path.last()) else {
                continue;
            };
            if module == "db" && writers.contains(name) {
                wrong.insert(format!("{place} calls db::{name}, which writes"));
            }
            if path == &["audit", "audit"] {
                wrong.insert(format!("{place} writes audit rows"));
            }
        }
        for name in &file.methods {
            if TRANSACTIONS.contains(&name.as_str()) {
                wrong.insert(format!("{place} begins a transaction with {name}"));
            }
        }
    }
    let wrong: Vec<String> = wrong.into_iter().collect();
    assert!(
        wrong.is_empty(),
        "{}\nMove each change into the module of its noun, as a function that takes the actor.",
        wrong.join("\n")
    );
}

#[test]
fn a_write_is_found_in_a_statement_a_macro_and_a_function_that_is_called() {
    let source = r##"
        macro_rules! store { ($value:expr) => { query!("WITH x AS (" + "INSERT INTO t VALUES ($1))", $value) } }
        fn by_macro() { store!(1) }
        fn by_call() { inner::by_macro() }
        fn by_text() { let sql = "DELETE FROM t"; query(sql) }
        fn update() { query!(r#"UPDATE t AS u SET a = 1"#) }
        fn locks() { query!("SELECT 1 FROM t FOR UPDATE OF t SKIP LOCKED") }
        fn locks_keys() { query!("SELECT updated_at FROM t FOR NO KEY UPDATE") }
        fn reads() { locks(); panic!("run GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES") }
    "##;
    let found = writers(&[syn::parse_str(source).unwrap()]);
    let expected = ["by_call", "by_macro", "by_text", "store", "update"];
    assert_eq!(found, expected.map(str::to_owned).into());
}

/// The functions and macros of these files that change rows, or use one that does.
fn writers(files: &[syn::File]) -> HashSet<String> {
    let all = functions(files);
    let writing = |texts: &Vec<String>| texts.iter().any(|text| writes(text));
    let found = all.texts.iter().filter(|(_, texts)| writing(texts));
    let mut writers: HashSet<String> = found.map(|(name, _)| name.clone()).collect();
    loop {
        let uses = |names: &HashSet<String>| !names.is_disjoint(&writers);
        let more: Vec<String> = all
            .uses
            .iter()
            .filter(|(name, names)| !writers.contains(*name) && uses(names))
            .map(|(name, _)| name.clone())
            .collect();
        if more.is_empty() {
            return writers;
        }
        writers.extend(more);
    }
}

/// The functions and macros of these files.
pub fn functions(files: &[syn::File]) -> Functions {
    let mut all = Functions::default();
    files.iter().for_each(|file| all.visit_file(file));
    all
}

#[derive(Default)]
pub struct Functions {
    /// The function or macro that is being read.
    inside: String,
    /// The literal texts in each.
    pub texts: HashMap<String, Vec<String>>,
    /// The names that each mentions.
    pub uses: HashMap<String, HashSet<String>>,
}

impl Functions {
    fn within(&mut self, name: String, read: impl FnOnce(&mut Self)) {
        let outer = std::mem::replace(&mut self.inside, name);
        read(self);
        self.inside = outer;
    }

    fn mention(&mut self, name: String) {
        let names = self.uses.entry(self.inside.clone()).or_default();
        names.insert(name);
    }

    fn text(&mut self, text: &str) {
        let texts = self.texts.entry(self.inside.clone()).or_default();
        texts.push(text.to_owned());
    }
}

/// Whether a text is SQL, or a part of it, that changes rows. `FOR UPDATE` only locks them.
fn writes(text: &str) -> bool {
    let words: Vec<&str> = text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .collect();
    words.iter().enumerate().any(|(at, word)| {
        let after = &words[at + 1..];
        match *word {
            "INSERT" | "MERGE" => after.first() == Some(&"INTO"),
            "DELETE" => after.first() == Some(&"FROM"),
            // The table may have an alias.
            "UPDATE" => after.iter().take(4).any(|word| *word == "SET"),
            "TRUNCATE" => true,
            _ => false,
        }
    })
}

impl<'a> Visit<'a> for Functions {
    fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
        self.within(item.sig.ident.to_string(), |all| {
            visit::visit_item_fn(all, item);
        });
    }

    fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
        self.within(item.sig.ident.to_string(), |all| {
            visit::visit_impl_item_fn(all, item);
        });
    }

    fn visit_item_macro(&mut self, item: &'a syn::ItemMacro) {
        let name = item.ident.as_ref().map(ToString::to_string);
        self.within(name.unwrap_or_default(), |all| all.visit_macro(&item.mac));
    }

    fn visit_item_mod(&mut self, item: &'a syn::ItemMod) {
        if item.ident != "tests" {
            visit::visit_item_mod(self, item);
        }
    }

    /// Documentation is no SQL.
    fn visit_attribute(&mut self, _: &'a syn::Attribute) {}

    fn visit_lit_str(&mut self, text: &'a syn::LitStr) {
        self.text(&text.value());
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        if let Some(last) = path.segments.last() {
            self.mention(last.ident.to_string());
        }
        visit::visit_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'a syn::ExprMethodCall) {
        self.mention(call.method.to_string());
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, item: &'a syn::Macro) {
        for token in tokens(item) {
            match token {
                Token::Text(text) => self.text(&text),
                Token::Method(name) => self.mention(name),
                Token::Path(words) => words.into_iter().for_each(|name| self.mention(name)),
            }
        }
        visit::visit_macro(self, item);
    }
}
