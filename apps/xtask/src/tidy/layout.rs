//! Where things stand: the root reads as a few words, modules are shallow, and a crate has one test binary.

use std::collections::BTreeMap;

use super::Finding;
use super::tree::Tree;

/// The visible entries of the root. Tool configuration lives in dotfiles, which are free.
const TOP_LEVEL: &[&str] = &[
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "apps",
    "benches",
    "channel-layer",
    "consumers",
    "routing",
];

/// How many folders a module may lie below `src`.
const MODULE_DEPTH: usize = 2;

/// Reports entries of the root that are not planned, and planned ones that are missing.
pub(super) fn top_level_is_fixed(tree: &Tree) -> Vec<Finding> {
    let mut entries: BTreeMap<&str, &str> = BTreeMap::new();
    for file in tree.files() {
        let entry = file.path.split('/').next().unwrap_or_default();
        entries.entry(entry).or_insert(&file.path);
    }
    let unplanned = entries
        .iter()
        .filter(|(entry, _)| !entry.starts_with('.') && !TOP_LEVEL.contains(entry))
        .map(|(entry, path)| {
            let message = format!("`{entry}` has no place at the top: move it into a crate or a dotfile");
            Finding::new(path, 1, message)
        });
    let missing = TOP_LEVEL
        .iter()
        .filter(|entry| !entries.contains_key(*entry))
        .map(|entry| Finding::new(entry, 1, format!("`{entry}` is missing at the top: write it")));
    unplanned.chain(missing).collect()
}

/// Reports modules more than two folders below `src`. The tests of a module may have a folder of their own there.
pub(super) fn modules_are_shallow(tree: &Tree) -> Vec<Finding> {
    let message = format!("the module lies more than {MODULE_DEPTH} folders below src: move it up");
    tree.every_rust_file()
        .filter(|(file, _)| {
            let parts: Vec<&str> = file.path.split('/').collect();
            let Some(src) = parts.iter().position(|part| *part == "src") else { return false };
            let folders = &parts[src + 1..parts.len() - 1];
            folders.strip_suffix(&["tests"]).unwrap_or(folders).len() > MODULE_DEPTH
        })
        .map(|(file, _)| Finding::new(&file.path, 1, &message))
        .collect()
}

/// Reports Rust files in `tests` that are not part of the one binary `tests/it/main.rs`: each further binary
/// links the whole crate again.
pub(super) fn one_integration_test_binary(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, _) in tree.every_rust_file() {
        let Some((package, inside)) = split_at_tests(&file.path) else { continue };
        if !inside.starts_with("it/") {
            let message = "a crate has one integration test binary: make this a module of tests/it/main.rs";
            findings.push(Finding::new(&file.path, 1, message));
        } else if tree.file(&format!("{package}/tests/it/main.rs")).is_none() {
            let message = format!("no binary runs this test: write {package}/tests/it/main.rs");
            findings.push(Finding::new(&file.path, 1, message));
        }
    }
    findings
}

/// Splits `apps/a/tests/it/b.rs` into `apps/a` and `it/b.rs`; a `tests` folder below `src` is a plain module.
fn split_at_tests(path: &str) -> Option<(&str, &str)> {
    let (package, inside) = path.split_once("/tests/")?;
    (!package.split('/').any(|part| part == "src")).then_some((package, inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(findings: &[Finding]) -> Vec<&str> {
        findings.iter().map(|finding| finding.path.as_str()).collect()
    }

    #[test]
    fn unplanned_and_missing_entries_are_found() {
        let mut files: Vec<(&str, &str)> = TOP_LEVEL.iter().map(|entry| (*entry, "")).collect();
        files.push((".clippy.toml", ""));
        assert!(top_level_is_fixed(&Tree::of(&files)).is_empty());
        files.retain(|(path, _)| *path != "LICENSE");
        files.push(("scripts/deploy.sh", ""));
        assert_eq!(places(&top_level_is_fixed(&Tree::of(&files))), ["scripts/deploy.sh", "LICENSE"]);
    }

    #[test]
    fn deep_modules_are_found() {
        let tree = Tree::of(&[
            ("a/src/lib.rs", ""),
            ("a/src/b/c/d.rs", ""),
            ("a/src/b/c/d/e.rs", ""),
            ("a/src/b/c/tests/e.rs", ""),
            ("a/src/b/tests/c/e.rs", ""),
            ("apps/a/build.rs", ""),
        ]);
        assert_eq!(places(&modules_are_shallow(&tree)), ["a/src/b/c/d/e.rs", "a/src/b/tests/c/e.rs"]);
    }

    #[test]
    fn second_test_binaries_are_found() {
        let tree = Tree::of(&[
            ("a/tests/it/main.rs", ""),
            ("a/tests/it/more.rs", ""),
            ("a/tests/other.rs", ""),
            ("b/tests/it/more.rs", ""),
            ("b/tests/browser/page.test.mjs", ""),
            ("c/src/tests/plain.rs", ""),
        ]);
        assert_eq!(places(&one_integration_test_binary(&tree)), ["a/tests/other.rs", "b/tests/it/more.rs"]);
    }
}
