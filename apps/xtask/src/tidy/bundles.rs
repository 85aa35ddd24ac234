//! Third-party browser code is installed when it is needed and never committed.

use super::Finding;
use super::tree::Tree;

/// Reports minified bundles and folders of installed packages.
pub(super) fn no_third_party_bundles(tree: &Tree) -> Vec<Finding> {
    tree.files()
        .iter()
        .filter_map(|file| {
            let installed = file.path.split('/').any(|part| part == "node_modules");
            let minified = [".min.js", ".min.mjs", ".min.css"].iter().any(|end| file.path.ends_with(end));
            let message = if installed {
                "installed packages are not committed: ignore the folder and keep the lock file"
            } else if minified {
                "a third-party bundle is not committed: install it in the build script"
            } else {
                return None;
            };
            Some(Finding::new(&file.path, 1, message))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_and_installed_packages_are_found() {
        let tree = Tree::of(&[
            ("apps/a/web/table.min.js", ""),
            ("apps/a/web/table.min.css", ""),
            ("apps/a/node_modules/b/index.js", ""),
            ("apps/a/web/admin.js", ""),
        ]);
        let paths: Vec<String> = no_third_party_bundles(&tree).into_iter().map(|found| found.path).collect();
        assert_eq!(
            paths,
            ["apps/a/web/table.min.js", "apps/a/web/table.min.css", "apps/a/node_modules/b/index.js"]
        );
    }
}
