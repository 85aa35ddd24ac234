//! The project's checks, in the project's language: `cargo xtask test` runs everything, `cargo xtask tidy`
//! prints what the house rules find, `cargo xtask bench` measures us beside others.
#![expect(clippy::print_stdout, reason = "a command line program talks to its user on stdout")]

mod bench;
mod cargo;
mod environment;
mod redis;
mod server;
mod shell;
mod test;
mod tidy;
mod tools;

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The checks of this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure our server beside others, side by side in one run, and print a table for each workload.
    Bench(bench::Selection),
    /// Check formatting, lints, docs, and run every test, the browser's included.
    Test(test::Selection),
    /// Print what the house rules find; `cargo test` runs the same rules.
    Tidy,
}

fn main() -> ExitCode {
    let succeeded = match Cli::parse().command {
        Command::Bench(selection) => bench::run(repository(), &selection),
        Command::Test(selection) => test::run(repository(), &selection),
        Command::Tidy => tidy::run(repository()),
    };
    if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The root of the repository, two folders above this crate.
fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("this crate is apps/xtask")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_repository_is_the_folder_of_the_workspace() {
        let manifest = std::fs::read_to_string(repository().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[workspace]"));
    }
}
