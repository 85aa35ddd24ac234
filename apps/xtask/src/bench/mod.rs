//! `cargo xtask bench`: our server beside others, side by side in one run, and a table for each workload.
//!
//! The server has one core and the load generator the other. A pair is one run of each server in turn; the figures of
//! the table are the medians of the pairs, and its ratios are medians of the ratios within each pair, so that a machine
//! that grows slower meanwhile slows both sides alike. At the end one table says which budgets were kept.

mod alone;
mod budgets;
mod figures;
mod peers;
mod prepare;
mod run;
mod table;
mod workloads;

use std::path::Path;

use clap::Args;

use crate::shell::Failure;
use alone::{ALONE, Alone};
use peers::{PEERS, Peer};
use run::Bench;
use workloads::{WORKLOADS, Workload};

/// What to measure, and how thoroughly.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// Measure these workloads only.
    #[arg(long, value_delimiter = ',', value_name = "WORKLOAD")]
    only: Vec<String>,
    /// Measure these servers only.
    #[arg(long, value_delimiter = ',', value_name = "SERVER")]
    peers: Vec<String>,
    /// How often each server is measured.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// One pair with less of everything, to see that all of it works.
    #[arg(long)]
    quick: bool,
}

impl Selection {
    /// The workloads that were named; those that take long have to be.
    fn workloads(&self) -> Result<Vec<&'static Workload>, String> {
        let known = WORKLOADS.iter().map(|workload| workload.name);
        check(&self.only, known.chain(ALONE.iter().map(|alone| alone.name)))?;
        let is_wanted = |workload: &&Workload| match self.only.is_empty() {
            true => !workload.takes_long,
            false => self.only.iter().any(|name| name == workload.name),
        };
        Ok(WORKLOADS.iter().filter(is_wanted).collect())
    }

    /// What is measured with nobody beside it; not when it was said whom to measure.
    fn alone(&self) -> Vec<&'static Alone> {
        let is_wanted = |alone: &&Alone| match self.only.is_empty() {
            true => self.peers.is_empty() && !self.quick,
            false => self.only.iter().any(|name| name == alone.name),
        };
        ALONE.iter().filter(is_wanted).collect()
    }

    fn peers(&self) -> Result<Vec<&'static Peer>, String> {
        check(&self.peers, PEERS.iter().map(|peer| peer.name))?;
        let is_wanted =
            |peer: &&Peer| self.peers.is_empty() || self.peers.iter().any(|name| name == peer.name);
        Ok(PEERS.iter().filter(is_wanted).collect())
    }
}

/// Refuses a name that nothing has.
fn check(wanted: &[String], known: impl Iterator<Item = &'static str>) -> Result<(), String> {
    let known: Vec<&str> = known.collect();
    match wanted.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(format!("there is no {name:?}, but: {}", known.join(", "))),
        None => Ok(()),
    }
}

/// Measures what was selected and prints the tables; whether everything could be measured that was prepared.
pub(crate) fn run(root: &Path, selection: &Selection) -> bool {
    let (workloads, peers) = match selection.workloads().and_then(|all| Ok((all, selection.peers()?))) {
        Ok(selected) => selected,
        Err(message) => {
            println!("xtask bench: {message}");
            return false;
        }
    };
    match measure(root, selection, &workloads, &peers) {
        Ok((tables, failed)) => {
            println!("\n{tables}");
            if failed > 0 {
                println!("xtask bench: {failed} measurements failed, as is said above where they were made");
            }
            failed == 0
        }
        Err(failure) => {
            println!("xtask bench: {failure}");
            false
        }
    }
}

/// The tables, and how many measurements failed.
fn measure(
    root: &Path,
    selection: &Selection,
    workloads: &[&'static Workload],
    peers: &[&'static Peer],
) -> Result<(String, usize), Failure> {
    let pairs = if selection.quick { 1 } else { selection.pairs.max(1) };
    let bench = Bench::prepare(root, peers, workloads, selection.quick)?;
    let measured: Vec<_> =
        workloads.iter().map(|workload| (*workload, bench.rows(workload, pairs))).collect();
    let mut tables: Vec<String> =
        measured.iter().map(|(workload, rows)| table::render(workload, pairs, rows)).collect();
    tables.extend(selection.alone().iter().map(|alone| alone.measure(root)));
    tables.extend(budgets::render(&measured));
    let failed = measured.iter().flat_map(|(_, rows)| rows).map(table::Row::failed).sum();
    Ok((tables.join("\n"), failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(only: &[&str], peers: &[&str]) -> Selection {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Selection { only: owned(only), peers: owned(peers), pairs: 5, quick: false }
    }

    #[test]
    fn everything_but_what_takes_long_is_measured_unless_told_otherwise() {
        let workloads = selection(&[], &[]).workloads().unwrap();
        assert!(workloads.len() > 5 && workloads.iter().all(|workload| !workload.takes_long));
        assert_eq!(selection(&[], &[]).peers().unwrap().len(), PEERS.len());
    }

    #[test]
    fn what_is_measured_alone_is_left_out_where_servers_are_chosen() {
        let names = |only, peers| -> Vec<&str> {
            selection(only, peers).alone().iter().map(|alone| alone.name).collect()
        };
        assert_eq!(names(&[], &[]), ["crowd", "steps"]);
        assert!(names(&[], &["bun"]).is_empty() && names(&["fan-out"], &[]).is_empty());
        assert_eq!(names(&["steps"], &["bun"]), ["steps"]);
    }

    #[test]
    fn names_choose_and_unknown_names_are_refused() {
        let selected = selection(&["soak", "fan-out"], &["bun"]);
        let names: Vec<&str> = selected.workloads().unwrap().iter().map(|workload| workload.name).collect();
        assert_eq!(names, ["fan-out", "soak"]);
        assert_eq!(selected.peers().unwrap()[0].name, "bun");
        assert!(selection(&["fan"], &[]).workloads().unwrap_err().contains("fan-out"));
        assert!(selection(&[], &["bunny"]).peers().unwrap_err().contains("bun, "));
    }
}
