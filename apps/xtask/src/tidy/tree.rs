//! The files that the rules look at: those that git tracks, and those that it would track if they were added.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::rust::RustFile;

/// Why the tree of files cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TreeError {
    /// The program `git` did not start.
    #[error("git cannot be started ({0}): install git")]
    Git(#[source] io::Error),
    /// `git ls-files` failed.
    #[error("git ls-files failed: {0}; run this inside a clone of the repository")]
    List(String),
    /// A listed file cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// One file of the repository.
pub(crate) struct File {
    /// Path from the root of the repository, with `/` between its parts.
    pub(crate) path: String,
    /// The whole text; empty for a file that is not UTF-8, such as an image.
    pub(crate) text: String,
    rust: Option<RustFile>,
}

impl File {
    fn new(path: &str, text: &str) -> Self {
        let rust = path.ends_with(".rs").then(|| RustFile::parse(text));
        Self { path: path.to_owned(), text: text.to_owned(), rust }
    }

    /// The last part of the path.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// What follows the last dot of the name, or nothing.
    pub(crate) fn extension(&self) -> &str {
        self.name().rsplit_once('.').map_or("", |(_, extension)| extension)
    }

    /// The file as Rust, when its name says that it is.
    pub(crate) fn rust(&self) -> Option<&RustFile> {
        self.rust.as_ref()
    }

    /// The lines with their numbers, counted from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }
}

/// All files of the repository.
pub(crate) struct Tree {
    files: Vec<File>,
}

impl Tree {
    /// Reads the files that git lists below `root`, without those it ignores.
    pub(crate) fn load(root: &Path) -> Result<Self, TreeError> {
        let listing = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output()
            .map_err(TreeError::Git)?;
        if !listing.status.success() {
            return Err(TreeError::List(String::from_utf8_lossy(&listing.stderr).trim().to_owned()));
        }
        let listing = String::from_utf8_lossy(&listing.stdout);
        let mut files = Vec::new();
        for path in listing.split_terminator('\0') {
            match std::fs::read(root.join(path)) {
                Ok(bytes) => files.push(File::new(path, &String::from_utf8(bytes).unwrap_or_default())),
                // git still lists a file that was deleted but not yet committed as such.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(TreeError::Read { path: root.join(path), source }),
            }
        }
        Ok(Self { files })
    }

    /// A made-up tree, for the tests of the rules.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self { files: files.iter().map(|(path, text)| File::new(path, text)).collect() }
    }

    /// Every file.
    pub(crate) fn files(&self) -> &[File] {
        &self.files
    }

    /// The file at exactly this path.
    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Every Rust file that could be parsed; `syntax` reports the others.
    pub(crate) fn rust_files(&self) -> impl Iterator<Item = (&File, &RustFile)> {
        self.every_rust_file().filter(|(_, rust)| rust.error().is_none())
    }

    /// Every Rust file, also those that do not parse.
    pub(crate) fn every_rust_file(&self) -> impl Iterator<Item = (&File, &RustFile)> {
        self.files.iter().filter_map(|file| file.rust().map(|rust| (file, rust)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(root: &Path, arguments: &[&str]) {
        assert!(Command::new("git").args(arguments).current_dir(root).status().unwrap().success());
    }

    #[test]
    fn tracked_and_new_files_count_but_ignored_and_deleted_ones_do_not() {
        let root = tempfile::tempdir().unwrap();
        git(root.path(), &["init", "--quiet"]);
        for (name, text) in [(".gitignore", "ignored\n"), ("tracked", "1"), ("gone", "2"), ("ignored", "3")] {
            std::fs::write(root.path().join(name), text).unwrap();
        }
        git(root.path(), &["add", "tracked", "gone"]);
        std::fs::remove_file(root.path().join("gone")).unwrap();
        std::fs::create_dir(root.path().join("folder")).unwrap();
        std::fs::write(root.path().join("folder/new"), "4").unwrap();
        std::fs::write(root.path().join("image"), [0xff, 0xfe]).unwrap();

        let tree = Tree::load(root.path()).unwrap();
        let mut paths: Vec<&str> = tree.files().iter().map(|file| file.path.as_str()).collect();
        paths.sort_unstable();
        assert_eq!(paths, [".gitignore", "folder/new", "image", "tracked"]);
        assert_eq!(tree.file("folder/new").unwrap().text, "4");
        assert_eq!(tree.file("image").unwrap().text, "");
    }

    #[test]
    fn a_folder_outside_a_repository_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(Tree::load(root.path()), Err(TreeError::List(_))));
    }

    #[test]
    fn names_and_extensions_are_those_of_the_last_part() {
        let tree = Tree::of(&[("a.b/c.test.mjs", ""), ("LICENSE", "")]);
        assert_eq!(tree.files()[0].name(), "c.test.mjs");
        assert_eq!(tree.files()[0].extension(), "mjs");
        assert_eq!(tree.files()[1].extension(), "");
    }
}
