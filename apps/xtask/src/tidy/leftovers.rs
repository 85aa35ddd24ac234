//! Nothing is left lying about: no notes about unfinished work, no debugging aids, no code in comments.

use proc_macro2::TokenTree;

use super::Finding;
use super::rust::{RustFile, is_punct, line_of};
use super::tree::{File, Tree};

/// Notes of unfinished work, in two halves, so that this file does not hold them itself.
const NOTES: &[(&str, &str)] = &[("TO", "DO"), ("FIX", "ME")];

/// Macros that stand for code that is not there, or for code that nobody is meant to see.
const MACROS: &[&str] = &["dbg", "todo", "unimplemented"];

/// Files that people write; the others are data or made by tools.
const WRITTEN: &[&str] = &["css", "html", "js", "lua", "md", "mjs", "rs", "sh", "sql", "toml", "ts"];

/// Words that begin a statement and rarely a sentence's last line.
const STATEMENTS: &[&str] =
    &["break", "const", "continue", "export", "import", "let", "mod", "pub", "return", "use", "var"];

/// Reports notes such as "to do" and macros such as `dbg!`.
pub(super) fn no_unfinished_work(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files().iter().filter(|file| WRITTEN.contains(&file.extension())) {
        for (number, line) in file.lines() {
            if let Some(note) = note_in(line) {
                let message = format!("`{note}` stands for unfinished work: do it, or open an issue");
                findings.push(Finding::new(&file.path, number, message));
            }
        }
    }
    for (file, rust) in tree.rust_files() {
        for (name, line) in forbidden_macros(rust) {
            let message = format!("`{name}!` does not belong into finished code: write what is meant");
            findings.push(Finding::new(&file.path, line, message));
        }
    }
    findings
}

/// Reports comments that look like code.
pub(super) fn no_commented_out_code(tree: &Tree) -> Vec<Finding> {
    let message = "this comment looks like code: delete it (the history remembers), or write a sentence";
    let mut findings = Vec::new();
    for file in tree.files().iter().filter(|file| ["js", "mjs", "rs", "ts"].contains(&file.extension())) {
        for (number, line) in file.lines() {
            if comment_of(line).is_some_and(looks_like_code) && !is_inside_literal(file, number) {
                findings.push(Finding::new(&file.path, number, message));
            }
        }
    }
    findings
}

fn is_inside_literal(file: &File, line: usize) -> bool {
    file.rust().is_some_and(|rust| rust.begins_inside_literal(line))
}

fn note_in(line: &str) -> Option<String> {
    let mut words = line.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    words.find_map(|word| {
        let is_note = |(first, second): &&(&str, &str)| word.strip_prefix(first) == Some(*second);
        NOTES.iter().find(is_note).map(|(first, second)| format!("{first}{second}"))
    })
}

fn forbidden_macros(rust: &RustFile) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for run in rust.token_runs() {
        for pair in run.windows(2) {
            let TokenTree::Ident(name) = &pair[0] else { continue };
            if is_punct(pair.get(1), '!') && MACROS.iter().any(|forbidden| name == forbidden) {
                found.push((name.to_string(), line_of(name.span())));
            }
        }
    }
    found
}

/// The text of a line that is nothing but a comment; docs are no comments, they may show code.
fn comment_of(line: &str) -> Option<&str> {
    let comment = line.trim().strip_prefix("//")?;
    (!comment.starts_with(['/', '!'])).then_some(comment.trim())
}

fn looks_like_code(comment: &str) -> bool {
    if comment.ends_with('{') || ["}", "};", "});", "})"].contains(&comment) {
        return true;
    }
    // A sentence may go on after a semicolon at the end of its line, so a semicolon needs a second sign.
    let Some(statement) = comment.strip_suffix(';') else { return false };
    let first_word = statement.split_whitespace().next().unwrap_or_default();
    let has_sign = ["(", "=", "::", "!["].iter().any(|sign| statement.contains(sign));
    has_sign || STATEMENTS.contains(&first_word) || !statement.contains(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(findings: &[Finding]) -> Vec<usize> {
        findings.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn notes_are_found_as_words_in_written_files() {
        for (first, second) in NOTES {
            let note = format!("{first}{second}");
            let text = format!("fine\n# {note}: later\nx_{note} {note}S\n");
            assert_eq!(lines(&no_unfinished_work(&Tree::of(&[("a.toml", &text)]))), [2], "{note}");
            assert!(no_unfinished_work(&Tree::of(&[("a.csv", &text)])).is_empty());
        }
    }

    #[test]
    fn macros_are_found_outside_strings_only() {
        let text = "fn a() {\n    dbg!(1);\n}\nfn b() { todo!() }\nfn c() { std::unimplemented!() }\n\
                    fn d() { e(\"todo!()\") } // dbg!(2)\n";
        assert_eq!(lines(&no_unfinished_work(&Tree::of(&[("a.rs", text)]))), [2, 4, 5]);
    }

    #[test]
    fn comments_that_look_like_code_are_found() {
        let code = ["let x = 1;", "if x {", "}", "call(x);", "return x;", "x;", "Self::new();", "} else {"];
        for comment in code {
            let text = format!("fn a() {{\n    // {comment}\n}}\n");
            assert_eq!(lines(&no_commented_out_code(&Tree::of(&[("a.rs", &text)]))), [2], "{comment}");
            assert_eq!(lines(&no_commented_out_code(&Tree::of(&[("a.mjs", &text)]))), [2], "{comment}");
        }
    }

    #[test]
    fn sentences_docs_and_strings_are_no_code() {
        let text = "//! let x = 1;\n/// call(x);\nfn a() {\n    // The old groups first;\n    // then the new.\n    \
                    b(\"\n// let x = 1;\n\");\n}\n";
        assert!(no_commented_out_code(&Tree::of(&[("a.rs", text)])).is_empty());
    }
}
