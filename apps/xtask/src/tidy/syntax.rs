//! Rust files must parse: what does not parse escapes every other rule, whether a crate compiles it or not.

use super::Finding;
use super::rust::line_of;
use super::tree::Tree;

/// Reports every Rust file that is not Rust.
pub(super) fn rust_files_parse(tree: &Tree) -> Vec<Finding> {
    tree.every_rust_file()
        .filter_map(|(file, rust)| {
            let error = rust.error()?;
            let message =
                format!("this is not Rust ({error}): repair it, or give the file another extension");
            Some(Finding::new(&file.path, line_of(error.span()), message))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_file_is_found_at_its_line() {
        let tree = Tree::of(&[("a.rs", "//! Fine.\nfn a() {}\n"), ("b.rs", "//! Broken.\nfn b( {}\n")]);
        let findings = rust_files_parse(&tree);
        assert_eq!(findings.len(), 1);
        assert_eq!((findings[0].path.as_str(), findings[0].line), ("b.rs", 2));
    }
}
