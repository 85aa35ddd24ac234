//! The project's checks, in the project's language: `cargo xtask test` runs everything, `cargo xtask tidy`
//! prints what the house rules find.
#![expect(clippy::print_stdout, reason = "a command line program talks to its user on stdout")]

mod test;
mod tidy;

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
    /// Check formatting, lints, docs, and run every test, the browser's included.
    Test(test::Selection),
    /// Print what the house rules find; `cargo test` runs the same rules.
    Tidy,
}

fn main() -> ExitCode {
    let succeeded = match Cli::parse().command {
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
