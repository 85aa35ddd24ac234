//! Dependencies point one way: `channel-layer <- consumers <- routing <- apps/* <- apps/manage`.
//!
//! What a crate does not know is the architecture, so tests and build scripts are held to it too.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use super::Finding;
use super::tree::{File, Tree};

/// The libraries, each of which may know those before it.
const LIBRARIES: &[&str] = &["channel-layer", "consumers", "routing"];

/// The app that all apps may know, and that knows none.
const ACCOUNTS: &str = "apps/accounts";
/// The program, which may know every app.
const MANAGE: &str = "apps/manage";
/// The checks, which know nothing that they check.
const XTASK: &str = "apps/xtask";
/// The benches measure libraries.
const BENCHES: &str = "benches";

/// How many apps besides accounts an app may know.
const OTHER_APPS: usize = 1;

/// Reports manifests that depend on a crate they must not know, and crates that are not named as their folders.
pub(super) fn dependencies_point_one_way(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let manifests = manifests(tree, &mut findings);
    let folders: BTreeMap<&str, &str> =
        manifests.iter().map(|manifest| (manifest.name.as_str(), manifest.folder)).collect();
    for manifest in &manifests {
        findings.extend(check(manifest, &folders));
    }
    findings
}

struct Manifest<'a> {
    file: &'a File,
    folder: &'a str,
    name: String,
    /// The packages it depends on, each with the key in the manifest that says so.
    dependencies: BTreeMap<String, String>,
}

impl Manifest<'_> {
    fn finding_at(&self, key: &str, message: String) -> Finding {
        let line = self.file.lines().find(|(_, line)| {
            let rest = line.trim_start().strip_prefix(key);
            rest.is_some_and(|rest| rest.starts_with(['.', ' ', '=', ']']))
                || line.trim_end().ends_with(&format!("dependencies.{key}]"))
        });
        Finding::new(&self.file.path, line.map_or(1, |(number, _)| number), message)
    }
}

fn manifests<'a>(tree: &'a Tree, findings: &mut Vec<Finding>) -> Vec<Manifest<'a>> {
    let mut manifests = Vec::new();
    for file in tree.files() {
        let Some(folder) = file.path.strip_suffix("/Cargo.toml") else { continue };
        let table = match file.text.parse::<Table>() {
            Ok(table) => table,
            Err(error) => {
                let message = format!("this manifest cannot be read ({}): repair it", error.message());
                findings.push(Finding::new(&file.path, 1, message));
                continue;
            }
        };
        let name = table.get("package").and_then(|package| package.get("name")).and_then(Value::as_str);
        let name = name.unwrap_or_default().to_owned();
        let mut dependencies = BTreeMap::new();
        collect_dependencies(&table, &mut dependencies);
        manifests.push(Manifest { file, folder, name, dependencies });
    }
    manifests
}

/// Collects the dependencies of all kinds, those for single platforms included.
fn collect_dependencies(table: &Table, dependencies: &mut BTreeMap<String, String>) {
    for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
        for (key, value) in table.get(kind).and_then(Value::as_table).into_iter().flatten() {
            let package = value.get("package").and_then(Value::as_str).unwrap_or(key);
            dependencies.insert(package.to_owned(), key.clone());
        }
    }
    for (_, platform) in table.get("target").and_then(Value::as_table).into_iter().flatten() {
        if let Some(platform) = platform.as_table() {
            collect_dependencies(platform, dependencies);
        }
    }
}

fn check(manifest: &Manifest<'_>, folders: &BTreeMap<&str, &str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let own_name = manifest.folder.rsplit('/').next().unwrap_or_default();
    if manifest.name != own_name {
        let message =
            format!("the crate `{}` is not named as its folder: call it `{own_name}`", manifest.name);
        findings.push(manifest.finding_at("name", message));
    }
    let mut other_apps = BTreeSet::new();
    for (package, key) in &manifest.dependencies {
        let Some(target) = folders.get(package.as_str()).copied() else { continue };
        if !may_know(manifest.folder, target) {
            let message = format!("{} must not know {target}: turn the dependency round", manifest.folder);
            findings.push(manifest.finding_at(key, message));
        } else if target.starts_with("apps/") && target != ACCOUNTS {
            other_apps.insert(key);
        }
    }
    if manifest.folder != MANAGE && other_apps.len() > OTHER_APPS {
        let message =
            format!("{} knows {} other apps: only {MANAGE} composes apps", manifest.folder, other_apps.len());
        findings.push(manifest.finding_at(other_apps.last().map_or("", |key| key.as_str()), message));
    }
    findings
}

/// Whether the crate in one folder may depend on the crate in another.
fn may_know(from: &str, to: &str) -> bool {
    let place = |folder: &str| LIBRARIES.iter().position(|library| *library == folder);
    match (place(from), place(to)) {
        (Some(from), Some(to)) => to < from,
        (Some(_), None) => false,
        (None, Some(_)) => from == BENCHES || (from.starts_with("apps/") && from != XTASK),
        (None, None) => {
            let is_app = |folder: &str| folder.starts_with("apps/") && folder != XTASK;
            is_app(from) && is_app(to) && from != ACCOUNTS && to != MANAGE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDERS: &[&str] = &[
        "channel-layer",
        "consumers",
        "routing",
        "apps/accounts",
        "apps/orders",
        "apps/chat",
        "apps/manage",
        "apps/xtask",
        "benches",
    ];

    /// The findings when one crate depends on others, with all other crates standing there alone.
    fn findings(folder: &str, rest: &str) -> Vec<Finding> {
        let manifest = |folder: &str, rest: &str| {
            let name = folder.rsplit('/').next().unwrap();
            (format!("{folder}/Cargo.toml"), format!("[package]\nname = \"{name}\"\n{rest}"))
        };
        let files: Vec<(String, String)> =
            FOLDERS.iter().map(|other| manifest(other, if *other == folder { rest } else { "" })).collect();
        let files: Vec<(&str, &str)> =
            files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        dependencies_point_one_way(&Tree::of(&files))
    }

    #[test]
    fn every_pair_is_allowed_or_refused_as_designed() {
        let allowed: &[(&str, &[&str])] = &[
            ("channel-layer", &[]),
            ("consumers", &["channel-layer"]),
            ("routing", &["channel-layer", "consumers"]),
            ("apps/accounts", &["channel-layer", "consumers", "routing"]),
            ("apps/orders", &["channel-layer", "consumers", "routing", "apps/accounts", "apps/chat"]),
            ("apps/chat", &["channel-layer", "consumers", "routing", "apps/accounts", "apps/orders"]),
            (
                "apps/manage",
                &["channel-layer", "consumers", "routing", "apps/accounts", "apps/orders", "apps/chat"],
            ),
            ("apps/xtask", &[]),
            ("benches", &["channel-layer", "consumers", "routing"]),
        ];
        for (from, targets) in allowed {
            for to in FOLDERS.iter().filter(|to| *to != from) {
                let name = to.rsplit('/').next().unwrap();
                let found = findings(from, &format!("[dependencies]\n{name}.workspace = true\n"));
                assert_eq!(found.is_empty(), targets.contains(to), "{from} -> {to}: {found:?}");
            }
        }
    }

    #[test]
    fn every_kind_of_dependency_counts() {
        for (text, line) in [
            ("[dependencies]\nserde = \"1\"\nrouting.workspace = true\n", 5),
            ("[dev-dependencies]\nrouting = { workspace = true }\n", 4),
            ("[build-dependencies]\nother = { path = \"../routing\", package = \"routing\" }\n", 4),
            ("[target.'cfg(unix)'.dependencies]\nrouting = { workspace = true }\n", 4),
            ("[dependencies.routing]\nworkspace = true\n", 3),
        ] {
            let lines: Vec<usize> = findings("consumers", text).iter().map(|finding| finding.line).collect();
            assert_eq!(lines, [line], "{text}");
        }
    }

    #[test]
    fn only_manage_knows_two_other_apps() {
        let all =
            "[dependencies]\naccounts.workspace = true\nchat.workspace = true\norders.workspace = true\n";
        assert!(findings("apps/manage", all).is_empty());
        let tree = Tree::of(&[
            (
                "apps/a/Cargo.toml",
                "[package]\nname = \"a\"\n[dependencies]\nb.workspace = true\nc.workspace = true\n",
            ),
            ("apps/b/Cargo.toml", "[package]\nname = \"b\"\n"),
            ("apps/c/Cargo.toml", "[package]\nname = \"c\"\n"),
        ]);
        assert_eq!(dependencies_point_one_way(&tree).len(), 1);
    }

    #[test]
    fn odd_names_and_broken_manifests_are_found() {
        let tree = Tree::of(&[
            ("apps/a/Cargo.toml", "[package]\nname = \"waterway-a\"\n"),
            ("apps/b/Cargo.toml", "[package"),
        ]);
        let places: Vec<(String, usize)> =
            dependencies_point_one_way(&tree).into_iter().map(|found| (found.path, found.line)).collect();
        assert_eq!(places, [("apps/b/Cargo.toml".to_owned(), 1), ("apps/a/Cargo.toml".to_owned(), 2)]);
    }
}
