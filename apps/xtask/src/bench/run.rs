//! Starts the servers in turn, lets the load generator drive them, and stops them again.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::figures::Figures;
use super::peers::{Peer, Source};
use super::prepare::{self, Prepared};
use super::table::Row;
use super::workloads::Workload;
use crate::cargo;
use crate::redis::Redis;
use crate::server::{self, Server};
use crate::shell::{self, Failure};

/// The load generator.
const LOAD: &str = "load";

/// Runs a command with as many open files as this user may have: not every server asks for them itself.
const WITH_FILES: [&str; 3] = ["sh", "-c", "ulimit -n \"$(ulimit -H -n)\"; exec \"$0\" \"$@\""];

/// The servers that could be made ready.
pub(super) struct Bench {
    load: PathBuf,
    servers: Vec<(&'static Peer, Prepared)>,
    is_quick: bool,
    /// Holds the logs.
    logs: TempDir,
}

impl Bench {
    /// Builds our programs, and installs those servers that some workload needs. What cannot be installed is left out,
    /// with a line that says why.
    pub(super) fn prepare(
        root: &Path,
        peers: &[&'static Peer],
        workloads: &[&'static Workload],
        is_quick: bool,
    ) -> Result<Self, Failure> {
        let logs = shell::temporary_folder()?;
        let is_needed = |peer: &&&Peer| workloads.iter().any(|workload| peer.offers(workload.offer));
        let peers: Vec<&'static Peer> = peers.iter().filter(is_needed).copied().collect();
        let mut names = vec![LOAD];
        names.extend(peers.iter().filter_map(|peer| match peer.source {
            Source::Ours(name, _) => Some(name),
            _ => None,
        }));
        let programs = cargo::build_benches(root, &names)?;
        let mut servers = Vec::new();
        for peer in peers {
            match prepare::prepare(root, &programs, peer) {
                Ok(prepared) => servers.push((peer, prepared)),
                Err(failure) => println!("{} is left out: {failure}", peer.name),
            }
        }
        Ok(Self { load: programs.join(LOAD), servers, is_quick, logs })
    }

    /// Measures all servers that offer what a workload needs, one after the other, so many times.
    pub(super) fn rows(&self, workload: &Workload, pairs: usize) -> Vec<Row> {
        let servers: Vec<&(&'static Peer, Prepared)> =
            self.servers.iter().filter(|(peer, _)| peer.offers(workload.offer)).collect();
        let mut rows: Vec<Row> =
            servers.iter().map(|(peer, _)| Row { name: peer.name, pairs: Vec::new() }).collect();
        for pair in 1..=pairs {
            for ((peer, prepared), row) in servers.iter().zip(&mut rows) {
                println!("\n==> {} {pair}/{pairs}: {}", workload.name, peer.name);
                let figures = self.measure(workload, peer, prepared);
                row.pairs.push(figures.map_err(|failure| println!("{}: {failure}", peer.name)).ok());
            }
        }
        rows
    }

    fn measure(&self, workload: &Workload, peer: &Peer, prepared: &Prepared) -> Result<Figures, Failure> {
        let redis = peer.layer.map(|_| Redis::start()).transpose()?;
        let layer = peer.layer.zip(redis.as_ref());
        let layer = layer.map(|(kind, redis)| format!("{kind}://{}", redis.address()));
        let processes = if layer.is_some() { 2 } else { 1 };
        let start = |_| self.start(workload, peer, prepared, layer.as_deref());
        let servers = (0..processes).map(start).collect::<Result<Vec<_>, _>>()?;
        let mut words = vec![self.load.display().to_string()];
        words.extend(workload.words(peer, self.is_quick));
        let addresses = joined(&servers, |server| server.address().to_string());
        let pids = joined(&servers, |server| server.pid().to_string());
        let target = ["--json", "--addr", &addresses, "--pids", &pids, "--name", peer.name];
        words.extend(target.map(str::to_owned));
        if let Some(redis) = &redis {
            words.extend(["--between".to_owned(), redis.pid().to_string()]);
        }
        let output = shell::read(&mut on_core(workload, "1", &words));
        if output.is_err() {
            servers.iter().for_each(Server::show_log);
        }
        Figures::read(&output?).ok_or_else(|| Failure::NoReport(workload.name.to_owned()))
    }

    /// Starts one process of a server.
    fn start(
        &self,
        workload: &Workload,
        peer: &Peer,
        prepared: &Prepared,
        layer: Option<&str>,
    ) -> Result<Server, Failure> {
        let address = server::free_address()?;
        let mut words = prepared.words(address)?;
        words.extend(layer.iter().flat_map(|layer| ["--layer", layer]).map(str::to_owned));
        let mut command = on_core(workload, "0", &words);
        let log = self.logs.path().join(format!("{}.{}.log", peer.name, address.port()));
        let mut server = Server::start(command.current_dir(prepared.folder()), address, &log)?;
        server.wait_until_open()?;
        Ok(server)
    }
}

fn joined(servers: &[Server], of: impl Fn(&Server) -> String) -> String {
    servers.iter().map(of).collect::<Vec<_>>().join(",")
}

/// A command of these words, on one core if the workload wants that. What it starts as is what it stays, so that its
/// pid is the server's.
fn on_core(workload: &Workload, core: &str, words: &[String]) -> Command {
    let mut command = Command::new(WITH_FILES[0]);
    command.args(&WITH_FILES[1..]);
    if workload.is_pinned {
        command.args(["taskset", "-c", core]);
    }
    command.args(words);
    command
}

#[cfg(test)]
mod tests {
    use super::super::workloads::WORKLOADS;
    use super::*;

    #[test]
    fn a_command_keeps_its_pid_and_has_its_core() {
        let words = ["sh", "-c", "echo $$ $PPID; taskset -cp $$"].map(str::to_owned);
        let child = on_core(&WORKLOADS[0], "0", &words).stdout(std::process::Stdio::piped()).spawn().unwrap();
        let pid = child.id().to_string();
        let output = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        assert!(output.starts_with(&format!("{pid} ")), "{output}");
        assert!(output.trim_end().ends_with(": 0"), "{output}");
    }
}
