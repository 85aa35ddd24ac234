//! Our Redis layers beside Python's `channels_redis`, on one machine, in one run, on one Redis server.
//!
//! `redis-peers [--seconds S] [--layer redis://HOST:PORT]` measures for S seconds (5 unless told otherwise) each of:
//! both layers, 1 and 100 members of one group, awaited sends from one task, from 64 tasks, and single messages. Every
//! measurement has a sending and a receiving process of its own, ours or Python's, set alike. Without `--layer` it
//! starts a `redis-server` and ends it again. Progress goes to the standard error, one Markdown table to the output.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench reports on its terminal")]

mod measure;
mod messages;
mod peer;
#[path = "../../../../channel-layer/tests/it/redis_server.rs"]
#[expect(dead_code, reason = "tests hurt the server, here it only runs")]
mod redis_server;
mod server;
mod table;
mod work;

use std::error::Error;
use std::process::ExitCode;

use measure::{CASES, Comparison, Plan};
use peer::Side;
use server::Redis;

/// What went wrong, in words for who runs the bench.
type Failure = Box<dyn Error + Send + Sync>;

/// The first argument of the processes that this program starts of itself; the second is their task.
const WORK: &str = "work";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.as_slice() {
        [work, task] if work == WORK => work::run(task),
        options => compare(options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("redis-peers: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// The most seconds of sending: a receiver that is further behind than a message lives would lose the rest.
const LONGEST: f64 = 20.0;

/// Measures every case on both sides, one after the other, and prints the table.
fn compare(options: &[String]) -> Result<(), Failure> {
    let option = |name: &str| options.iter().skip_while(|option| *option != name).nth(1);
    let seconds = option("--seconds").map_or(Some(5.0), |seconds| seconds.parse().ok());
    let seconds = seconds.filter(|seconds| *seconds > 0.0 && *seconds <= LONGEST);
    let seconds = seconds.ok_or_else(|| format!("--seconds is a number of seconds up to {LONGEST}"))?;
    let (ours, theirs) = (Side::ours()?, Side::python()?);
    let redis = option("--layer").map_or_else(Redis::start, |url| Redis::at(url))?;
    let plan = Plan { redis: &redis, seconds };
    let mut comparisons = Vec::new();
    for case in CASES {
        let measure = |side: &Side| {
            eprintln!("{case}: {}", side.name);
            plan.measure(side, case)
        };
        comparisons.push(Comparison { case, ours: measure(&ours)?, theirs: measure(&theirs)? });
    }
    print!("{}", table::render(&comparisons, seconds, &redis.version()?));
    Ok(())
}
