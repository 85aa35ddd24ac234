//! What the README shows is compiled: each Rust block names the file that it stands in, word for word.

use super::Finding;
use super::tree::Tree;

const README: &str = "README.md";

/// Parts of a fence's first line that leave a doc example compiled.
const COMPILED: &[&str] = &["", "no_run", "rust", "should_panic"];

/// Stands in a file's lines for an example that is not compiled, so that no block matches across it.
const GAP: &str = "\0";

/// Reports Rust blocks of the README that name no file, or differ from what the file compiles.
pub(super) fn readme_snippets_are_compiled(tree: &Tree) -> Vec<Finding> {
    // That the README exists is for the rule about the top level to say.
    let Some(readme) = tree.file(README) else { return Vec::new() };
    blocks(&readme.text).iter().filter_map(|block| check(tree, block)).collect()
}

struct Block<'a> {
    line: usize,
    from: Option<&'a str>,
    code: Vec<&'a str>,
}

fn check(tree: &Tree, block: &Block<'_>) -> Option<Finding> {
    let found = |message: String| Some(Finding::new(README, block.line, message));
    let Some(path) = block.from else {
        return found("the block names no source: put `<!-- from: path/to/file.rs -->` above it".to_owned());
    };
    let Some(source) = tree.file(path).filter(|file| file.extension() == "rs") else {
        return found(format!("`{path}` is no Rust file here: name the file that the block stands in"));
    };
    if block.code.is_empty() {
        return found("the block is empty: show something".to_owned());
    }
    let compiled = compiled_lines(&source.text);
    if compiled.windows(block.code.len()).any(|window| window == block.code) {
        return None;
    }
    let differing = block.code.iter().find(|line| !compiled.contains(*line));
    let hint =
        differing.map_or_else(|| "its lines are not in one piece".to_owned(), |line| format!("see `{line}`"));
    found(format!("the block does not stand in {path} ({hint}): copy it from there"))
}

/// The Rust blocks of a Markdown text.
fn blocks(markdown: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut from = None;
    let mut lines = markdown.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let line = line.trim();
        if let Some(info) = line.strip_prefix("```") {
            let code = lines.by_ref().map(|(_, line)| line.trim()).take_while(|line| *line != "```");
            let code = code.filter(|line| !line.is_empty()).collect();
            if info.split(',').next().is_some_and(|language| language.trim() == "rust") {
                blocks.push(Block { line: index + 1, from, code });
            }
            from = None;
        } else if let Some(comment) = line.strip_prefix("<!-- from:") {
            from = comment.strip_suffix("-->").map(str::trim);
        } else if !line.is_empty() {
            from = None;
        }
    }
    blocks
}

/// The lines of a Rust file as a reader of its docs sees them: without indentation, empty lines, comment marks of
/// docs and the lines that docs hide; examples that are not compiled are gaps.
fn compiled_lines(source: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut fence: Option<bool> = None;
    for line in source.lines().map(str::trim) {
        let Some(doc) = line.strip_prefix("//!").or_else(|| line.strip_prefix("///")).map(str::trim) else {
            fence = None;
            lines.push(line);
            continue;
        };
        if let Some(info) = doc.strip_prefix("```") {
            fence = if fence.is_some() { None } else { Some(is_compiled(info)) };
            lines.push(GAP);
        } else if fence == Some(true) && doc != "#" && !doc.starts_with("# ") {
            lines.push(doc);
        } else if fence == Some(false) {
            lines.push(GAP);
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}

fn is_compiled(info: &str) -> bool {
    info.split(',').map(str::trim).all(|part| COMPILED.contains(&part) || part.starts_with("edition"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "\
//! A crate.
//!
//! ```
//! # use a::b;
//! let x = 1;
//!
//! if x == 1 {
//!     # hidden();
//!     call(x);
//! }
//! ```
//!
//! ```ignore
//! never(compiled);
//! ```

fn main() {
    let y = 2;
    call(y);
}
";

    fn findings(readme: &str) -> Vec<Finding> {
        readme_snippets_are_compiled(&Tree::of(&[(README, readme), ("a/src/lib.rs", SOURCE)]))
    }

    fn block(code: &str) -> String {
        format!("# Title\n\n<!-- from: a/src/lib.rs -->\n\n```rust\n{code}\n```\n")
    }

    #[test]
    fn blocks_of_docs_and_of_plain_code_pass() {
        for code in ["let x = 1;\n\nif x == 1 {\n    call(x);\n}", "let y = 2;\ncall(y);", "fn main() {"] {
            assert_eq!(findings(&block(code)), [], "{code}");
        }
    }

    #[test]
    fn blocks_that_differ_are_found() {
        for code in
            ["let x = 2;", "let x = 1;\ncall(x);", "never(compiled);", "A crate.", "}\nfn main() {", ""]
        {
            let findings = findings(&block(code));
            assert_eq!(findings.len(), 1, "{code}");
            assert_eq!(findings[0].line, 5);
        }
    }

    #[test]
    fn a_block_must_name_a_file_that_exists() {
        assert_eq!(findings("```rust\nlet x = 1;\n```\n").len(), 1);
        assert_eq!(findings("<!-- from: b.rs -->\n```rust,no_run\nlet x = 1;\n```\n").len(), 1);
        assert_eq!(findings("<!-- from: a/src/lib.rs -->\nText.\n```rust\nlet x = 1;\n```\n").len(), 1);
    }

    #[test]
    fn blocks_in_other_languages_are_free() {
        assert_eq!(findings("```sh\ncargo run\n```\n\n```\nrust\n```\n"), []);
    }
}
