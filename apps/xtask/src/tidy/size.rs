//! Files and functions are short enough to be read in one go.

use syn::visit::{self, Visit};

use super::Finding;
use super::rust::{RustFile, line_of};
use super::tree::{File, Tree};

const MAX_FILE_LINES: usize = 500;

/// Lines of code in a function's body, counted as clippy's `too_many_lines` does, so that an `expect` that
/// satisfies one also satisfies the other. This rule also sees what clippy does not: code for other platforms.
const MAX_FUNCTION_LINES: usize = 70;

/// Files that people write and read.
const WRITTEN: &[&str] = &["css", "html", "js", "lua", "mjs", "rs", "sh", "sql", "ts"];

/// Reports source files with too many lines, tests included.
pub(super) fn files_are_short(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files().iter().filter(|file| WRITTEN.contains(&file.extension())) {
        let lines = file.lines().count();
        if lines > MAX_FILE_LINES {
            let message =
                format!("{lines} lines, at most {MAX_FILE_LINES}: split the file, one concept in each");
            findings.push(Finding::new(&file.path, MAX_FILE_LINES + 1, message));
        }
    }
    findings
}

/// Reports functions with too many lines that carry no `#[expect(clippy::too_many_lines, reason = "...")]`.
pub(super) fn functions_are_short(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, rust) in tree.rust_files() {
        let mut functions = Functions { file, rust, findings: &mut findings };
        rust.items().iter().for_each(|item| functions.visit_item(item));
    }
    findings
}

struct Functions<'a> {
    file: &'a File,
    rust: &'a RustFile,
    findings: &'a mut Vec<Finding>,
}

impl Functions<'_> {
    fn check(&mut self, attributes: &[syn::Attribute], signature: &syn::Signature, body: &syn::Block) {
        let lines = self.code_lines(body);
        if lines > MAX_FUNCTION_LINES && !attributes.iter().any(expects_many_lines) {
            let name = &signature.ident;
            let message = format!(
                "`{name}` has {lines} lines, at most {MAX_FUNCTION_LINES}: give its steps names of their own"
            );
            self.findings.push(Finding::new(&self.file.path, line_of(name.span()), message));
        }
    }

    /// Counts the lines between the braces without empty ones and comments.
    fn code_lines(&self, body: &syn::Block) -> usize {
        let (first, last) = (line_of(body.brace_token.span.open()), line_of(body.brace_token.span.close()));
        self.file
            .lines()
            .filter(|(number, _)| (first + 1..last).contains(number))
            .filter(|(number, line)| {
                let line = line.trim();
                !line.is_empty() && (!line.starts_with("//") || self.rust.begins_inside_literal(*number))
            })
            .count()
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.check(&function.attrs, &function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.check(&function.attrs, &function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(body) = &function.default {
            self.check(&function.attrs, &function.sig, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

fn expects_many_lines(attribute: &syn::Attribute) -> bool {
    let syn::Meta::List(list) = &attribute.meta else { return false };
    list.path.is_ident("expect")
        && list.tokens.clone().into_iter().any(|token| token.to_string() == "too_many_lines")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long_body(lines: usize) -> String {
        format!("{{\n{}\n    // A comment.\n\n}}\n", "    call();\n".repeat(lines))
    }

    fn lines(text: &str) -> Vec<usize> {
        functions_are_short(&Tree::of(&[("a.rs", text)])).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn long_files_are_found() {
        let long = "x\n".repeat(MAX_FILE_LINES + 1);
        let tree = Tree::of(&[
            ("long.mjs", &long),
            ("long.csv", &long),
            ("short.rs", &"// A line.\n".repeat(MAX_FILE_LINES)),
        ]);
        let findings = files_are_short(&tree);
        assert_eq!(findings.len(), 1);
        assert_eq!((findings[0].path.as_str(), findings[0].line), ("long.mjs", MAX_FILE_LINES + 1));
    }

    #[test]
    fn long_functions_are_found_wherever_they_stand() {
        let (long, short) = (long_body(MAX_FUNCTION_LINES + 1), long_body(MAX_FUNCTION_LINES));
        assert!(lines(&format!("fn a() {short}")).is_empty());
        assert_eq!(lines(&format!("fn a() {long}")), [1]);
        assert_eq!(lines(&format!("impl A {{\nfn a() {long}}}")), [2]);
        assert_eq!(lines(&format!("trait A {{\n\nfn a() {long}}}")), [3]);
        assert_eq!(lines(&format!("mod a {{\nfn a() {long}}}")), [2]);
    }

    #[test]
    fn only_the_right_expectation_excuses_a_long_function() {
        let long = long_body(MAX_FUNCTION_LINES + 1);
        let expect = |lint: &str| format!("#[expect(clippy::{lint}, reason = \"a table\")]\nfn a() {long}");
        assert!(lines(&expect("too_many_lines")).is_empty());
        assert_eq!(lines(&expect("too_many_arguments")), [2]);
    }
}
