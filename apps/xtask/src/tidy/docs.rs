//! Every Rust file says at its top what it is for.

use super::Finding;
use super::tree::Tree;

/// Reports Rust files whose first line is not a `//!` sentence.
pub(super) fn files_open_with_docs(tree: &Tree) -> Vec<Finding> {
    tree.every_rust_file()
        .filter(|(file, _)| !opens_with_docs(&file.text))
        .map(|(file, _)| {
            Finding::new(&file.path, 1, "the file does not open with `//!`: say in a sentence what it is for")
        })
        .collect()
}

fn opens_with_docs(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    first.strip_prefix("//!").is_some_and(|sentence| sentence.split_whitespace().count() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_must_open_with_a_sentence() {
        let tree = Tree::of(&[
            ("good.rs", "//! Says what it is for.\n"),
            ("late.rs", "use std::fmt;\n//! Too late.\n"),
            ("word.rs", "//! stub\n"),
            ("empty.rs", ""),
            ("note.md", "no Rust\n"),
        ]);
        let paths: Vec<String> =
            files_open_with_docs(&tree).into_iter().map(|finding| finding.path).collect();
        assert_eq!(paths, ["late.rs", "word.rs", "empty.rs"]);
    }
}
