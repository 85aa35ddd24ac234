//! A name has one visible way from its file to its user: no preludes, no glob re-exports.

use proc_macro2::TokenTree;
use syn::visit::{self, Visit};

use super::Finding;
use super::rust::{RustFile, is_ident, is_punct, line_of};
use super::tree::Tree;

/// Reports modules and files that are called `prelude`.
pub(super) fn no_preludes(tree: &Tree) -> Vec<Finding> {
    let message = "a prelude hides where names come from: let users import what they use";
    tree.rust_files()
        .flat_map(|(file, rust)| {
            let mut modules = PreludeModules::default();
            rust.items().iter().for_each(|item| modules.visit_item(item));
            modules.lines.into_iter().map(|line| Finding::new(&file.path, line, message))
        })
        .collect()
}

/// Reports `pub use path::*`, whatever the visibility's scope, macro bodies included.
pub(super) fn no_glob_reexports(tree: &Tree) -> Vec<Finding> {
    let message = "a glob re-export publishes names that nobody chose: list them";
    tree.rust_files()
        .flat_map(|(file, rust)| {
            glob_reexports(rust).into_iter().map(|line| Finding::new(&file.path, line, message))
        })
        .collect()
}

#[derive(Default)]
struct PreludeModules {
    lines: Vec<usize>,
}

impl<'ast> Visit<'ast> for PreludeModules {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if module.ident == "prelude" {
            self.lines.push(line_of(module.ident.span()));
        }
        visit::visit_item_mod(self, module);
    }
}

fn glob_reexports(rust: &RustFile) -> Vec<usize> {
    let mut lines = Vec::new();
    for run in rust.token_runs() {
        for start in (0..run.len()).filter(|start| is_ident(run.get(*start), "pub")) {
            // The visibility may have a scope: `pub(crate) use`.
            let scope = usize::from(matches!(run.get(start + 1), Some(TokenTree::Group(_))));
            if !is_ident(run.get(start + 1 + scope), "use") {
                continue;
            }
            let statement: Vec<TokenTree> =
                run.iter().skip(start).take_while(|token| !is_punct(Some(token), ';')).cloned().collect();
            if statement.iter().any(has_star) {
                lines.push(line_of(run[start].span()));
            }
        }
    }
    lines
}

fn has_star(token: &TokenTree) -> bool {
    match token {
        TokenTree::Group(group) => group.stream().into_iter().any(|token| has_star(&token)),
        _ => is_punct(Some(token), '*'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preludes_are_found() {
        let tree =
            Tree::of(&[("a.rs", "mod outer {\n    pub mod prelude {}\n}\nmod prelude;\nmod postlude;\n")]);
        let lines: Vec<usize> = no_preludes(&tree).iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [2, 4]);
    }

    #[test]
    fn glob_reexports_are_found_and_private_globs_are_not() {
        let text = "pub use a::*;\npub(crate) use b::{c, d::*};\nuse super::*;\npub use e::{f, g};\n\
                    pub fn product(a: u8) -> u8 { a * 2 }\n";
        let findings = no_glob_reexports(&Tree::of(&[("a.rs", text)]));
        let lines: Vec<usize> = findings.iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [1, 2]);
    }
}
