//! The load generator: drives a WebSocket server in one thread and tells what each delivery cost the server.
//!
//! `load fan-out --addr 127.0.0.1:8000 --pids PID` and so on; `load --help` tells the rest.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench reports on its terminal")]

mod connection;
mod echo;
mod fan_out;
mod fleet;
mod gaps;
mod groups;
mod idle;
mod latencies;
mod live;
mod message;
mod meter;
mod options;
mod pace;
mod process;
mod publisher;
mod report;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;

use options::{Options, Workload};
use report::Report;

/// What went wrong, in words for who runs the bench.
type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let Options { workload } = Options::parse();
    let (name, is_json) = (workload.name(), workload.target().json);
    let tell = |report: Report| {
        let report = Report { workload: name, ..report };
        match serde_json::to_string(&report) {
            Ok(json) if is_json => println!("{json}"),
            _ => println!("{report}"),
        }
    };
    let done = match &workload {
        Workload::FanOut(options) => fan_out::run(options, tell),
        Workload::Echo(options) => echo::run(options, tell),
        Workload::Groups(options) => groups::run(options, tell),
        Workload::Idle(options) => idle::run(options, tell),
        Workload::Churn(options) => live::run(options, options.or(10, 0), tell),
        Workload::Slow(options) => live::run(options, options.or(0, 10), tell),
        Workload::Soak(options) => live::run(options, options.or(10, 1), tell),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("load: {}: {failure}", workload.target().name);
            ExitCode::FAILURE
        }
    }
}
