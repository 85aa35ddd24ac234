//! A crate's `lib.rs` is a tour: docs, modules and one place where public names are listed.

use syn::Item;
use syn::Visibility;
use syn::spanned::Spanned;

use super::Finding;
use super::rust::line_of;
use super::tree::Tree;

/// The most lines that a tour may have, docs included.
const MAX_LINES: usize = 120;

/// Reports items in a `lib.rs` that are neither modules nor re-exports, and tours that are too long.
pub(super) fn lib_is_a_tour(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, rust) in tree.rust_files().filter(|(file, _)| file.path.ends_with("src/lib.rs")) {
        let lines = file.lines().count();
        if lines > MAX_LINES {
            let message =
                format!("{lines} lines, at most {MAX_LINES}: move what a module can say to that module");
            findings.push(Finding::new(&file.path, MAX_LINES + 1, message));
        }
        for item in rust.items().iter().filter(|item| !belongs_on_a_tour(item)) {
            let message =
                "lib.rs holds only docs, `mod name;` and `pub use`: move this into a file of its own";
            findings.push(Finding::new(&file.path, line_of(item.span()), message));
        }
    }
    findings
}

fn belongs_on_a_tour(item: &Item) -> bool {
    match item {
        Item::Mod(module) => module.content.is_none(),
        Item::Use(reexport) => !matches!(reexport.vis, Visibility::Inherited),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        lib_is_a_tour(&Tree::of(&[(path, text)])).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_tour_passes() {
        let text = "//! A tour.\n\n#[macro_use]\nmod a;\npub mod b;\n\npub use a::A;\npub(crate) use b::B;\n";
        assert!(lines("a/src/lib.rs", text).is_empty());
    }

    #[test]
    fn other_items_are_found() {
        let text = "//! No tour.\nuse std::fmt;\nmod a {}\npub fn b() {}\npub struct C;\nm!();\n";
        assert_eq!(lines("a/src/lib.rs", text), [2, 3, 4, 5, 6]);
        assert!(lines("a/src/other.rs", text).is_empty());
    }

    #[test]
    fn long_tours_are_found() {
        assert!(lines("a/src/lib.rs", &"//! Line.\n".repeat(MAX_LINES)).is_empty());
        assert_eq!(lines("a/src/lib.rs", &"//! Line.\n".repeat(MAX_LINES + 1)), [MAX_LINES + 1]);
    }
}
