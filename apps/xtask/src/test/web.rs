//! The unit tests of the modules that run in browsers; they need no browser, only node.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::shell::{self, Failure};
use super::tools;

/// Runs `apps/*/web/test/*.test.mjs`.
pub(super) fn unit_tests(root: &Path) -> Result<(), Failure> {
    let files = test_files(root)?;
    if files.is_empty() {
        return Err(Failure::NoTests("apps/*/web/test/*.test.mjs".to_owned()));
    }
    shell::run(Command::new(tools::NODE.path()?).arg("--test").args(files).current_dir(root))
}

/// The test files of all apps, in order, as paths from the root.
fn test_files(root: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for app in names_in(&root.join("apps"))? {
        let folder = Path::new("apps").join(app).join("web/test");
        // An app without browser modules has no such folder.
        if !root.join(&folder).is_dir() {
            continue;
        }
        let tests = names_in(&root.join(&folder))?.into_iter().filter(|name| name.ends_with(".test.mjs"));
        files.extend(tests.map(|name| folder.join(name)));
    }
    Ok(files)
}

fn names_in(folder: &Path) -> Result<Vec<String>, Failure> {
    let names = || -> std::io::Result<Vec<String>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    };
    let mut names = names().map_err(Failure::io(format!("list {}", folder.display())))?;
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_test_modules_of_apps_are_run() {
        let root = tempfile::tempdir().unwrap();
        for path in ["apps/b/web/test/x.test.mjs", "apps/a/web/test/y.test.mjs", "apps/a/web/test/help.mjs"] {
            fs::create_dir_all(root.path().join(path).parent().unwrap()).unwrap();
            fs::write(root.path().join(path), "").unwrap();
        }
        fs::create_dir_all(root.path().join("apps/c/src")).unwrap();
        let files = test_files(root.path()).unwrap();
        assert_eq!(files, [Path::new("apps/a/web/test/y.test.mjs"), Path::new("apps/b/web/test/x.test.mjs")]);
    }

    #[test]
    fn no_tests_at_all_is_a_failure() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("apps")).unwrap();
        assert!(matches!(unit_tests(root.path()), Err(Failure::NoTests(_))));
    }
}
