//! Installs and builds the servers, each peer in a copy of its folder below `target`, so that nothing that is installed
//! lies in the repository.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::peers::{Peer, Source};
use crate::environment::Environment;
use crate::shell::{self, Failure};
use crate::{cargo, tools};

/// Where the peers stand, and where their copies do.
const PEERS: &str = "benches/peers";
const COPIES: &str = "target/bench-peers";

/// What nginx is configured by: a template, and what it becomes.
const TEMPLATE: &str = "nginx.conf.template";
const CONFIGURATION: &str = "nginx.conf";

/// A server that can be started.
#[derive(Debug)]
pub(super) struct Prepared {
    program: PathBuf,
    /// What comes before the port.
    arguments: Vec<String>,
    folder: PathBuf,
    source: Source,
}

/// Makes a server ready; `programs` is where ours were built.
pub(super) fn prepare(root: &Path, programs: &Path, peer: &Peer) -> Result<Prepared, Failure> {
    let source = peer.source;
    if peer.layer.is_some() {
        tools::ensure(&[tools::REDIS])?;
    }
    let folder = match source.folder() {
        None => programs.to_owned(),
        Some(name) => {
            let folder = root.join(COPIES).join(name);
            copy(&root.join(PEERS).join(name), &folder).map_err(Failure::io(format!("copy {name}")))?;
            folder
        }
    };
    let (program, arguments) = match source {
        Source::Ours(program, arguments) => (
            programs.join(program),
            arguments.iter().chain(&["--port"]).map(|word| (*word).to_owned()).collect(),
        ),
        Source::Bun(_) => {
            tools::ensure(&[tools::NODE, tools::NPM])?;
            install(&folder)?;
            (folder.join("node_modules/.bin/bun"), vec!["server.js".to_owned()])
        }
        Source::Node(_) => {
            tools::ensure(&[tools::NODE, tools::NPM])?;
            install(&folder)?;
            (tools::NODE.path()?, vec!["server.js".to_owned()])
        }
        Source::Python(_) => {
            tools::ensure(&[tools::PYTHON])?;
            let environment = Environment::at(folder.join("environment"));
            environment.ensure(&folder.join("requirements.txt"))?;
            (environment.python, vec!["server.py".to_owned()])
        }
        Source::Cargo(name) => (cargo::build_elsewhere(&folder, name)?, Vec::new()),
        Source::Nginx(_) => {
            tools::ensure(&[tools::NGINX, tools::NCHAN])?;
            (tools::NGINX.path()?, Vec::new())
        }
    };
    Ok(Prepared { program, arguments, folder, source })
}

impl Prepared {
    /// The words of a command that starts the server.
    pub(super) fn words(&self, address: SocketAddr) -> Result<Vec<String>, Failure> {
        let mut words = vec![self.program.display().to_string()];
        if let Source::Nginx(_) = self.source {
            let configuration = configure(&self.folder, address.port())?;
            words.extend(["-c".to_owned(), configuration.display().to_string()]);
            return Ok(words);
        }
        words.extend(self.arguments.iter().cloned());
        words.push(address.port().to_string());
        Ok(words)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Installs what a peer needs from npm, unless it was done for the same versions.
fn install(folder: &Path) -> Result<(), Failure> {
    let wanted = fs::read_to_string(folder.join("package.json")).map_err(Failure::io("read package.json"))?;
    let installed = folder.join("node_modules/installed.json");
    if fs::read_to_string(&installed).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    let options = ["install", "--no-audit", "--no-fund", "--no-package-lock"];
    shell::run(Command::new(tools::NPM.path()?).args(options).current_dir(folder))?;
    fs::write(&installed, wanted).map_err(Failure::io("remember what was installed"))
}

fn configure(folder: &Path, port: u16) -> Result<PathBuf, Failure> {
    let template =
        fs::read_to_string(folder.join(TEMPLATE)).map_err(Failure::io(format!("read {TEMPLATE}")))?;
    let place = folder.display().to_string();
    let text = template.replace("PORT", &port.to_string()).replace("FOLDER", &place);
    let configuration = folder.join(CONFIGURATION);
    fs::write(&configuration, text).map_err(Failure::io(format!("write {CONFIGURATION}")))?;
    Ok(configuration)
}

/// Copies the files of a folder that differ: cargo builds again what was written again.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
            continue;
        }
        let text = fs::read(entry.path())?;
        if fs::read(&target).is_ok_and(|found| found == text) {
            continue;
        }
        fs::write(target, text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_is_not_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
        fs::create_dir_all(from.join("src")).unwrap();
        fs::write(from.join("src/main.rs"), "1").unwrap();
        copy(&from, &to).unwrap();
        let written = || fs::metadata(to.join("src/main.rs")).unwrap().modified().unwrap();
        let first = written();
        std::thread::sleep(std::time::Duration::from_millis(20));
        copy(&from, &to).unwrap();
        assert_eq!(written(), first);
        fs::write(from.join("src/main.rs"), "2").unwrap();
        copy(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("src/main.rs")).unwrap(), "2");
    }

    #[test]
    fn nginx_is_told_port_and_folder() {
        let folder = tempfile::tempdir().unwrap();
        let template = crate::repository().join(PEERS).join("nchan").join(TEMPLATE);
        fs::copy(template, folder.path().join(TEMPLATE)).unwrap();
        let text = fs::read_to_string(configure(folder.path(), 4711).unwrap()).unwrap();
        assert!(text.contains("listen 127.0.0.1:4711 ") && !text.contains("FOLDER"), "{text}");
    }

    #[test]
    fn every_version_of_a_package_is_pinned() {
        for folder in ["bun", "ws", "socketio"] {
            let manifest = crate::repository().join(PEERS).join(folder).join("package.json");
            let manifest: serde_json::Value =
                serde_json::from_str(&fs::read_to_string(manifest).unwrap()).unwrap();
            for (name, version) in manifest["dependencies"].as_object().unwrap() {
                let version = version.as_str().unwrap();
                assert!(version.starts_with(|first: char| first.is_ascii_digit()), "{name}: {version}");
            }
        }
    }
}
