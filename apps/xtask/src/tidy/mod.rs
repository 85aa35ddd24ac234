//! The house rules as a test: every rule is a function from the tree of files to its findings.

mod attributes;
mod bundles;
mod changelog;
mod direction;
mod docs;
mod exports;
mod hosts;
mod layout;
mod leftovers;
mod lib_tour;
mod rust;
mod size;
mod snippets;
mod syntax;
mod tree;

use std::fmt;
use std::path::Path;

use tree::Tree;

/// One rule of the house. A rule looks at all files at once, so it may compare them.
type Rule = fn(&Tree) -> Vec<Finding>;

/// Every rule that the repository is held to. A new rule is a new file and one line here.
const RULES: &[Rule] = &[
    attributes::no_allow,
    attributes::expect_has_a_reason,
    bundles::no_third_party_bundles,
    changelog::changelog_is_kept,
    direction::dependencies_point_one_way,
    docs::files_open_with_docs,
    exports::no_preludes,
    exports::no_glob_reexports,
    hosts::no_registry_hosts,
    hosts::no_resolved_urls,
    hosts::one_cdn,
    layout::top_level_is_fixed,
    layout::modules_are_shallow,
    layout::one_integration_test_binary,
    leftovers::no_unfinished_work,
    leftovers::no_commented_out_code,
    lib_tour::lib_is_a_tour,
    size::files_are_short,
    size::functions_are_short,
    snippets::readme_snippets_are_compiled,
    syntax::rust_files_parse,
];

/// One place that breaks a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// Path from the root of the repository.
    path: String,
    /// Line, counted from 1.
    line: usize,
    /// What is wrong, and what to do about it.
    message: String,
}

impl Finding {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// Prints what the rules find in the repository at `root`, and tells whether it is tidy.
pub(crate) fn run(root: &Path) -> bool {
    let tree = match Tree::load(root) {
        Ok(tree) => tree,
        Err(error) => {
            println!("tidy cannot read the repository: {error}");
            return false;
        }
    };
    let findings = check(&tree);
    for finding in &findings {
        println!("{finding}");
    }
    println!("tidy: {} rules, {} files, {} findings", RULES.len(), tree.files().len(), findings.len());
    findings.is_empty()
}

/// What all rules find, in the order of the files.
fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings: Vec<Finding> = RULES.iter().flat_map(|rule| rule(tree)).collect();
    findings.sort();
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let tree = Tree::load(crate::repository()).unwrap();
        assert!(tree.files().len() > 10, "an empty list of files would be tidy too");
        let findings: Vec<String> = check(&tree).iter().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
    }

    #[test]
    fn a_finding_reads_as_a_clickable_place() {
        assert_eq!(Finding::new("a/b.rs", 7, "too long").to_string(), "a/b.rs:7: too long");
    }

    #[test]
    fn findings_of_all_rules_come_in_the_order_of_the_files() {
        let tree = Tree::of(&[("z/src/z.rs", "fn z() {}\n"), ("a/src/a.rs", "fn a() { todo!() }\n")]);
        let paths: Vec<String> = check(&tree).into_iter().map(|finding| finding.path).collect();
        assert!(paths.is_sorted());
        assert!(paths.contains(&"a/src/a.rs".to_owned()));
        assert!(paths.contains(&"z/src/z.rs".to_owned()));
    }
}
