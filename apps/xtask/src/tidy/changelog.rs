//! The changelog has a place for what is not released yet, and uses the known kinds of change.

use super::Finding;
use super::tree::Tree;

const PATH: &str = "CHANGELOG.md";
const KINDS: &[&str] = &["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];

/// Reports a missing `## [Unreleased]` and kinds of change that nobody looks for.
pub(super) fn changelog_is_kept(tree: &Tree) -> Vec<Finding> {
    // That the changelog exists is for the rule about the top level to say.
    let Some(file) = tree.file(PATH) else { return Vec::new() };
    let mut findings = Vec::new();
    let mut unreleased = None;
    let mut kinds_of_unreleased = 0;
    let mut in_unreleased = false;
    for (number, line) in file.lines() {
        if line.starts_with("## ") {
            in_unreleased = line.trim_end() == "## [Unreleased]";
            if in_unreleased {
                unreleased = Some(number);
            }
        } else if let Some(kind) = line.strip_prefix("### ") {
            kinds_of_unreleased += usize::from(in_unreleased);
            if !KINDS.contains(&kind.trim_end()) {
                let message = format!("`{kind}` is no kind of change: use one of {}", KINDS.join(", "));
                findings.push(Finding::new(PATH, number, message));
            }
        }
    }
    match unreleased {
        None => findings.push(Finding::new(PATH, 1, "add the section `## [Unreleased]` at the top")),
        Some(line) if kinds_of_unreleased == 0 => {
            let message = format!("the section has no kinds: group its changes under {}", KINDS.join(", "));
            findings.push(Finding::new(PATH, line, message));
        }
        Some(_) => {}
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        changelog_is_kept(&Tree::of(&[(PATH, text)])).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_good_changelog_passes() {
        assert!(lines("# Changelog\n\n## [Unreleased]\n\n### Added\n\n- A thing.\n").is_empty());
    }

    #[test]
    fn missing_sections_and_odd_kinds_are_found() {
        assert_eq!(lines("# Changelog\n\n## [1.0.0]\n\n### Added\n"), [1]);
        assert_eq!(lines("# Changelog\n\n## [Unreleased]\n\n- A thing.\n\n## [1.0.0]\n\n### Added\n"), [3]);
        assert_eq!(lines("# Changelog\n\n## [Unreleased]\n\n### Improvements\n"), [5]);
    }
}
