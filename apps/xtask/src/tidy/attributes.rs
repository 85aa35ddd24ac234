//! Lints are obeyed. An exception is an `expect` with its reason, which complains as soon as it is not needed.

use proc_macro2::{Delimiter, TokenTree};

use super::Finding;
use super::rust::{RustFile, is_ident, is_punct, line_of};
use super::tree::Tree;

/// Reports every `allow` attribute, in macro bodies and inside `cfg_attr` too.
pub(super) fn no_allow(tree: &Tree) -> Vec<Finding> {
    let message = "an `allow` stays when its cause is gone: obey the lint, or use `expect` with a reason";
    tree.rust_files()
        .flat_map(|(file, rust)| {
            lint_attributes(rust, "allow")
                .into_iter()
                .map(|found| Finding::new(&file.path, found.line, message))
        })
        .collect()
}

/// Reports every `expect` attribute without `reason = "..."`.
pub(super) fn expect_has_a_reason(tree: &Tree) -> Vec<Finding> {
    let message = "this `expect` does not say why: add `reason = \"...\"`";
    tree.rust_files()
        .flat_map(|(file, rust)| {
            lint_attributes(rust, "expect")
                .into_iter()
                .filter(|found| !found.has_reason)
                .map(|found| Finding::new(&file.path, found.line, message))
        })
        .collect()
}

struct LintAttribute {
    line: usize,
    has_reason: bool,
}

/// The attributes of this name, wherever an attribute can stand.
fn lint_attributes(rust: &RustFile, name: &str) -> Vec<LintAttribute> {
    let mut found = Vec::new();
    for run in rust.token_runs() {
        for (index, token) in run.iter().enumerate() {
            let bang = usize::from(is_punct(run.get(index + 1), '!'));
            if !is_punct(Some(token), '#') {
                continue;
            }
            if let Some(TokenTree::Group(group)) = run.get(index + 1 + bang)
                && group.delimiter() == Delimiter::Bracket
            {
                let inside: Vec<TokenTree> = group.stream().into_iter().collect();
                found.extend(lints_within(&inside, name));
            }
        }
    }
    found
}

/// Looks at the inside of one attribute, and into `cfg_attr(...)`.
fn lints_within(inside: &[TokenTree], name: &str) -> Vec<LintAttribute> {
    let mut found = Vec::new();
    for (index, token) in inside.iter().enumerate() {
        let Some(TokenTree::Group(arguments)) = inside.get(index + 1) else { continue };
        let arguments: Vec<TokenTree> = arguments.stream().into_iter().collect();
        if is_ident(Some(token), name) {
            let has_reason = arguments
                .windows(2)
                .any(|pair| is_ident(pair.first(), "reason") && is_punct(pair.get(1), '='));
            found.push(LintAttribute { line: line_of(token.span()), has_reason });
        } else if is_ident(Some(token), "cfg_attr") {
            found.extend(lints_within(&arguments, name));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(findings: &[Finding]) -> Vec<usize> {
        findings.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn allow_is_found_in_every_form() {
        let text = "#![allow(dead_code)]\n\
                    #[allow(unused)] fn a() {}\n\
                    #[cfg_attr(test, allow(unused))] fn b() {}\n\
                    macro_rules! m { () => {\n #[allow(unused)] fn c() {} } }\n\
                    fn allow(x: [u8; 1]) { allow(x) }\n\
                    const TEXT: &str = \"#[allow(unused)]\"; // #[allow(unused)]\n";
        assert_eq!(lines(&no_allow(&Tree::of(&[("a.rs", text)]))), [1, 2, 3, 5]);
    }

    #[test]
    fn expect_without_a_reason_is_found() {
        let text = "#[expect(dead_code, reason = \"used by the other platform\")] fn a() {}\n\
                    #[expect(dead_code)] fn b() {}\n\
                    fn c() { option.expect(\"a method is no attribute\"); }\n\
                    #[cfg_attr(unix, expect(unused))] fn d() {}\n";
        assert_eq!(lines(&expect_has_a_reason(&Tree::of(&[("a.rs", text)]))), [2, 4]);
    }
}
