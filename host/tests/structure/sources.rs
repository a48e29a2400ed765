//! Reads the sources of the host: which module each file is, and what it uses.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use syn::buffer::{Cursor, TokenBuffer};
use syn::visit::{self, Visit};
use syn::{Item, UseTree};

/// A path in the crate, as its segments.
pub type Words = Vec<String>;

/// One source file: its module, and every path of the crate that it uses outside its tests.
pub struct File {
    pub module: Words,
    pub is_folder: bool,
    /// The names it re-exports, with the path of each.
    pub exports: HashMap<String, Words>,
    pub names: Vec<Words>,
    /// The methods it calls outside its tests.
    pub methods: Vec<String>,
}

/// Every source file of the host.
pub fn read() -> Vec<File> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    gather(&source, &mut paths);
    let mut files: Vec<File> = paths.iter().map(|path| parse(&source, path)).collect();
    files.sort_by(|one, other| one.module.cmp(&other.module));
    assert!(files.len() > 100, "the sources of the host are read");
    files
}

fn gather(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, paths);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            paths.push(path);
        }
    }
}

/// The source files whose text has this word, in any case, by their path in `src`.
pub fn naming(word: &str) -> Vec<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    gather(&source, &mut paths);
    let named = paths.iter().filter(|path| {
        let text = std::fs::read_to_string(path).unwrap();
        text.to_lowercase().contains(word)
    });
    let mut names: Vec<String> = named
        .map(|path| path.strip_prefix(&source).unwrap().display().to_string())
        .collect();
    names.sort();
    names
}

/// Every source file of a folder of the host, parsed.
pub fn parse_folder(folder: &str) -> Vec<syn::File> {
    let mut paths = Vec::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    gather(&source.join(folder), &mut paths);
    paths.iter().map(|path| syntax(path)).collect()
}

fn syntax(path: &Path) -> syn::File {
    let text = std::fs::read_to_string(path).unwrap();
    syn::parse_file(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

fn parse(source: &Path, path: &Path) -> File {
    let relative = path.strip_prefix(source).unwrap().with_extension("");
    let mut module: Words = relative
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    let is_folder = module
        .last()
        .is_some_and(|last| last == "mod" || last == "lib");
    if is_folder {
        module.pop();
    }
    let parsed = syntax(path);
    let mut reader = Reader {
        module: module.clone(),
        exports: HashMap::new(),
        imports: HashMap::new(),
        names: Vec::new(),
        methods: Vec::new(),
        folder: is_folder,
    };
    reader.imports(&parsed.items);
    reader.visit_file(&parsed);
    File {
        module,
        is_folder,
        exports: reader.exports,
        names: reader.names,
        methods: reader.methods,
    }
}

struct Reader {
    module: Words,
    folder: bool,
    exports: HashMap<String, Words>,
    /// The path of each imported name.
    imports: HashMap<String, Words>,
    names: Vec<Words>,
    methods: Vec<String>,
}

impl Reader {
    fn imports(&mut self, items: &[Item]) {
        for item in items {
            if let Item::Use(item) = item {
                let mut paths = Vec::new();
                flatten(&item.tree, &mut Vec::new(), &mut paths);
                for (name, path) in paths {
                    let Some(path) = self.absolute(&path) else {
                        continue;
                    };
                    let passes_on = self.folder && !matches!(item.vis, syn::Visibility::Inherited);
                    if passes_on {
                        self.exports.insert(name, path);
                    } else {
                        self.imports.insert(name, path);
                    }
                }
            }
        }
    }

    /// A path from the root of the crate; None for one of another crate.
    fn absolute(&self, path: &Words) -> Option<Words> {
        let mut at = self.module.clone();
        let mut rest = path.as_slice();
        match rest.first()?.as_str() {
            "crate" => return Some(rest[1..].to_vec()),
            "self" | "super" => {
                while let Some(word) = rest
                    .first()
                    .filter(|one| ["self", "super"].contains(&one.as_str()))
                {
                    if word == "super" {
                        at.pop()?;
                    }
                    rest = &rest[1..];
                }
            }
            // A `mod.rs` names its child modules without a prefix.
            _ if self.folder => {}
            _ => return None,
        }
        at.extend_from_slice(rest);
        Some(at)
    }

    /// Notes a path that the file uses, unless it is of another crate.
    fn name(&mut self, words: &Words) {
        if words.len() < 2 {
            return;
        }
        let imported = self.imports.get(&words[0]).map(|start| {
            let mut whole = start.clone();
            whole.extend_from_slice(&words[1..]);
            whole
        });
        let own = ["crate", "self", "super"].contains(&words[0].as_str());
        let known = imported.or_else(|| own.then(|| self.absolute(words)).flatten());
        self.names.extend(known);
    }
}

impl<'a> Visit<'a> for Reader {
    fn visit_item_mod(&mut self, item: &'a syn::ItemMod) {
        // Skip tests: they are not part of the program.
        if item.content.is_none() || item.ident != "tests" {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        if self.folder && !matches!(item.vis, syn::Visibility::Inherited) {
            return;
        }
        let mut paths = Vec::new();
        flatten(&item.tree, &mut Vec::new(), &mut paths);
        let known = paths.iter().filter_map(|(_, path)| self.absolute(path));
        self.names.extend(known.collect::<Vec<_>>());
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let words: Words = path
            .segments
            .iter()
            .map(|one| one.ident.to_string())
            .collect();
        self.name(&words);
        visit::visit_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'a syn::ExprMethodCall) {
        self.methods.push(call.method.to_string());
        visit::visit_expr_method_call(self, call);
    }

    /// The arguments of a macro need not be expressions, so their paths and methods are read from the tokens.
    fn visit_macro(&mut self, item: &'a syn::Macro) {
        for token in tokens(item) {
            match token {
                Token::Path(words) => self.name(&words),
                Token::Method(name) => self.methods.push(name),
                Token::Text(_) => {}
            }
        }
        visit::visit_macro(self, item);
    }
}

/// What matters here of the arguments of a macro.
pub enum Token {
    /// One name, or several with `::` between.
    Path(Words),
    /// A name after a dot.
    Method(String),
    /// A literal, as it is written.
    Text(String),
}

/// The arguments of a macro, in order, including those in brackets.
pub fn tokens(item: &syn::Macro) -> Vec<Token> {
    let buffer = TokenBuffer::new2(item.tokens.clone());
    let mut found = Vec::new();
    walk(buffer.begin(), &mut found);
    found
}

fn walk(mut at: Cursor<'_>, found: &mut Vec<Token>) {
    // The punctuation right before `at`.
    let mut before = String::new();
    while !at.eof() {
        if let Some((inside, _, _, next)) = at.any_group() {
            walk(inside, found);
            before.clear();
            at = next;
        } else if let Some((name, next)) = at.ident() {
            let name = name.to_string();
            match found.last_mut() {
                Some(Token::Path(words)) if before == "::" => words.push(name),
                _ if before == "." => found.push(Token::Method(name)),
                _ => found.push(Token::Path(vec![name])),
            }
            before.clear();
            at = next;
        } else if let Some((mark, next)) = at.punct() {
            before.push(mark.as_char());
            at = next;
        } else if let Some((literal, next)) = at.literal() {
            found.push(Token::Text(literal.to_string()));
            before.clear();
            at = next;
        } else {
            return;
        }
    }
}

/// The individual paths of a `use`, each with the name it introduces.
fn flatten(tree: &UseTree, before: &mut Words, paths: &mut Vec<(String, Words)>) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, paths);
            before.pop();
        }
        UseTree::Name(name) => {
            let mut whole = before.clone();
            let name = name.ident.to_string();
            if name != "self" {
                whole.push(name.clone());
            }
            let given = whole.last().cloned().unwrap_or(name);
            paths.push((given, whole));
        }
        UseTree::Rename(name) => {
            let mut whole = before.clone();
            if name.ident != "self" {
                whole.push(name.ident.to_string());
            }
            paths.push((name.rename.to_string(), whole));
        }
        UseTree::Glob(_) => paths.push(("*".into(), before.clone())),
        UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, before, paths);
            }
        }
    }
}
