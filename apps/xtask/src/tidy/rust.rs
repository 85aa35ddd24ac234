//! A Rust file as the rules see it: its items, and its tokens, which tell code from strings and comments and
//! reach into macro bodies.

use std::collections::HashSet;
use std::str::FromStr;

use proc_macro2::{Span, TokenStream, TokenTree};

/// A Rust file in the forms that the rules need.
pub(crate) struct RustFile {
    syntax: Result<syn::File, syn::Error>,
    tokens: TokenStream,
    inside_literals: HashSet<usize>,
}

impl RustFile {
    /// Parses `text`; a file that does not parse is empty but for its error.
    pub(crate) fn parse(text: &str) -> Self {
        let tokens = TokenStream::from_str(text).unwrap_or_default();
        let mut inside_literals = HashSet::new();
        collect_lines_inside_literals(&tokens, &mut inside_literals);
        Self { syntax: syn::parse_file(text), tokens, inside_literals }
    }

    /// The items of the file; none when it does not parse.
    pub(crate) fn items(&self) -> &[syn::Item] {
        self.syntax.as_ref().map_or(&[], |file| &file.items)
    }

    /// Why the file does not parse.
    pub(crate) fn error(&self) -> Option<&syn::Error> {
        self.syntax.as_ref().err()
    }

    /// Every run of tokens between two delimiters, outermost first, macro bodies included.
    pub(crate) fn token_runs(&self) -> Vec<Vec<TokenTree>> {
        let mut runs = Vec::new();
        collect_runs(&self.tokens, &mut runs);
        runs
    }

    /// Whether the line begins inside a literal that began on an earlier line, and so is no comment even if it
    /// looks like one.
    pub(crate) fn begins_inside_literal(&self, line: usize) -> bool {
        self.inside_literals.contains(&line)
    }
}

/// The line of a span, counted from 1.
pub(crate) fn line_of(span: Span) -> usize {
    span.start().line
}

/// Whether the token is this punctuation.
pub(crate) fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

/// Whether the token is this word.
pub(crate) fn is_ident(token: Option<&TokenTree>, wanted: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(ident)) if ident == wanted)
}

fn collect_runs(tokens: &TokenStream, runs: &mut Vec<Vec<TokenTree>>) {
    let run: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let groups: Vec<TokenStream> = run
        .iter()
        .filter_map(|token| match token {
            TokenTree::Group(group) => Some(group.stream()),
            _ => None,
        })
        .collect();
    runs.push(run);
    for group in &groups {
        collect_runs(group, runs);
    }
}

fn collect_lines_inside_literals(tokens: &TokenStream, lines: &mut HashSet<usize>) {
    for token in tokens.clone() {
        match token {
            TokenTree::Group(group) => collect_lines_inside_literals(&group.stream(), lines),
            TokenTree::Literal(literal) => {
                let span = literal.span();
                lines.extend(span.start().line + 1..=span.end().line);
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_within_a_long_string_are_known() {
        let file = RustFile::parse("fn f() {\n    g(\"one\n// two\nthree\");\n    // four\n}\n");
        let inside: Vec<usize> = (1..=6).filter(|line| file.begins_inside_literal(*line)).collect();
        assert_eq!(inside, [3, 4]);
    }

    #[test]
    fn runs_reach_into_macro_bodies() {
        let file = RustFile::parse("macro_rules! m { () => { deep!() } }");
        let deep =
            file.token_runs().iter().any(|run| is_ident(run.first(), "deep") && is_punct(run.get(1), '!'));
        assert!(deep);
    }

    #[test]
    fn a_broken_file_has_an_error_and_no_items() {
        let file = RustFile::parse("fn (");
        assert!(file.error().is_some());
        assert!(file.items().is_empty());
    }
}
