//! Where packages come from is a matter of each machine's configuration, so no file names a registry's host; and
//! pages that fall back to a CDN all fall back to the same one.

use super::Finding;
use super::tree::Tree;

/// The forbidden words, in two halves, so that this file does not hold them itself.
const HOSTS: &[(&str, &str)] = &[
    ("crates.io", "/api"),
    ("registry.npmjs", ".org"),
    ("files.pythonhosted", ".org"),
    ("deb.debian", ".org"),
];

/// The one CDN that pages may load from; each further one is another party to trust.
const DECLARED_CDN: &str = "cdn.jsdelivr.net";

/// Other CDNs, in two halves as well.
const OTHER_CDNS: &[(&str, &str)] = &[
    ("ajax.googleapis", ".com"),
    ("cdn.datatables", ".net"),
    ("cdn.skypack", ".dev"),
    ("cdnjs.cloudflare", ".com"),
    ("code.jquery", ".com"),
    ("esm", ".sh/"),
    ("unpkg", ".com"),
];

/// Reports files that name a package registry's host.
pub(super) fn no_registry_hosts(tree: &Tree) -> Vec<Finding> {
    naming(tree, HOSTS, "is a registry's host: leave the choice to the tool's configuration")
}

/// Reports files that name another CDN than the declared one.
pub(super) fn one_cdn(tree: &Tree) -> Vec<Finding> {
    naming(tree, OTHER_CDNS, &format!("is not the declared CDN: use {DECLARED_CDN}, with integrity"))
}

/// The lines that name one of the hosts.
fn naming(tree: &Tree, hosts: &[(&str, &str)], what: &str) -> Vec<Finding> {
    let hosts: Vec<String> = hosts.iter().map(|(first, second)| format!("{first}{second}")).collect();
    let mut findings = Vec::new();
    for file in tree.files() {
        for (number, line) in file.lines() {
            if let Some(host) = hosts.iter().find(|host| line.contains(host.as_str())) {
                findings.push(Finding::new(&file.path, number, format!("`{host}` {what}")));
            }
        }
    }
    findings
}

/// Reports lock files of npm that say where each package was downloaded.
pub(super) fn no_resolved_urls(tree: &Tree) -> Vec<Finding> {
    let message = "a `resolved` URL ties the lock file to one registry: \
                   set `omit-lockfile-registry-resolved=true` in .npmrc and write the lock file again";
    let mut findings = Vec::new();
    for file in tree.files().iter().filter(|file| file.name() == "package-lock.json") {
        match serde_json::from_str::<serde_json::Value>(&file.text) {
            Ok(lock) if has_resolved_url(&lock) => {
                let line = file.lines().find(|(_, line)| line.contains("\"resolved\"")).map_or(1, |(n, _)| n);
                findings.push(Finding::new(&file.path, line, message));
            }
            Ok(_) => {}
            Err(error) => {
                let message = format!("this is not JSON ({error}): write the lock file again");
                findings.push(Finding::new(&file.path, error.line(), message));
            }
        }
    }
    findings
}

/// Whether some package was fetched from a URL; a path to a folder of this repository is fine.
fn has_resolved_url(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Object(entries) => entries.iter().any(|(key, value)| {
            let is_url = key == "resolved" && value.as_str().is_some_and(|url| url.contains("://"));
            is_url || has_resolved_url(value)
        }),
        serde_json::Value::Array(values) => values.iter().any(has_resolved_url),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_is_found() {
        for (first, second) in HOSTS {
            let text = format!("first line\nsee https://{first}{second}/x\n");
            let findings = no_registry_hosts(&Tree::of(&[("notes.txt", &text)]));
            assert_eq!(findings.len(), 1, "{first}{second}");
            assert_eq!(findings[0].line, 2);
        }
    }

    #[test]
    fn other_cdns_are_found_and_the_declared_one_is_not() {
        for (first, second) in OTHER_CDNS {
            let text = format!("<script src=\"https://{first}{second}/x.js\"></script>\n");
            assert_eq!(one_cdn(&Tree::of(&[("page.html", &text)])).len(), 1, "{first}{second}");
        }
        let text = format!("<script src=\"https://{DECLARED_CDN}/x.js\"></script>\n");
        assert!(one_cdn(&Tree::of(&[("page.html", &text)])).is_empty());
    }

    #[test]
    fn resolved_urls_are_found_and_local_paths_are_not() {
        let url = r#"{"packages": {"a": {
            "resolved": "https://host.example/a.tgz"}}}"#;
        let local = r#"{"packages": {"a": {"resolved": "../client", "link": true}}}"#;
        let tree = Tree::of(&[
            ("one/package-lock.json", url),
            ("two/package-lock.json", local),
            ("three/package-lock.json", "{"),
            ("four/package.json", url),
        ]);
        let findings = no_resolved_urls(&tree);
        let places: Vec<(&str, usize)> = findings.iter().map(|f| (f.path.as_str(), f.line)).collect();
        assert_eq!(places, [("one/package-lock.json", 2), ("three/package-lock.json", 1)]);
    }
}
