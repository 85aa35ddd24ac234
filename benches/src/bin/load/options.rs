//! The command line.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::Failure;
use crate::connection::TextPong;
use crate::pace::Pace;

/// Drives a WebSocket server and tells what it cost.
#[derive(Debug, Parser)]
#[command(name = "load")]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) workload: Workload,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Workload {
    /// One publisher, many subscribers: each message reaches every connection.
    FanOut(FanOut),
    /// Connections that each wait for what they sent to come back.
    Echo(Echo),
    /// Many small groups: a random member sends to its own.
    Groups(Groups),
    /// Connections that do nothing: their memory, and what accepting them costs.
    Idle(Idle),
    /// A publisher that keeps its pace while a share of the subscribers reconnects each second.
    Churn(Live),
    /// A publisher that keeps its pace while a share of the subscribers does not read.
    Slow(Live),
    /// Both, for long: samples of memory and latency go to the standard error.
    Soak(Live),
}

impl Workload {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::FanOut(_) => "fan-out",
            Self::Echo(_) => "echo",
            Self::Groups(_) => "groups",
            Self::Idle(_) => "idle",
            Self::Churn(_) => "churn",
            Self::Slow(_) => "slow",
            Self::Soak(_) => "soak",
        }
    }

    pub(crate) fn target(&self) -> &Target {
        match self {
            Self::FanOut(FanOut { target, .. })
            | Self::Echo(Echo { target, .. })
            | Self::Groups(Groups { target, .. })
            | Self::Idle(Idle { target, .. })
            | Self::Churn(Live { target, .. })
            | Self::Slow(Live { target, .. })
            | Self::Soak(Live { target, .. }) => target,
        }
    }
}

/// The server, and what it must be told.
#[derive(Debug, Clone, Args)]
pub(crate) struct Target {
    /// Where the server listens; connections are dealt out to several in turn.
    #[arg(long, value_delimiter = ',', required = true)]
    pub(crate) addr: Vec<SocketAddr>,
    /// What to call the server in the output.
    #[arg(long, default_value = "server")]
    pub(crate) name: String,
    /// The processes of the server, whose CPU time and memory are told.
    #[arg(long, value_delimiter = ',')]
    pub(crate) pids: Vec<u32>,
    /// Processes that stand between those of the server, whose CPU time is told apart.
    #[arg(long, value_delimiter = ',')]
    pub(crate) between: Vec<u32>,
    /// A text frame that every connection sends once it is open; may be given more than once.
    #[arg(long)]
    pub(crate) sub: Vec<String>,
    /// A text frame of the server that is its way to ping, and the answer to it.
    #[arg(long, value_name = "PING=PONG")]
    pub(crate) pong: Option<String>,
    /// Milliseconds that the server gets for itself after connections were opened.
    #[arg(long, default_value_t = 300)]
    pub(crate) settle: u64,
    /// Seconds after which a measurement that has not ended is given up.
    #[arg(long, default_value_t = 60)]
    pub(crate) limit: u64,
    /// Print one JSON object instead of a line to read.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Target {
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(self.limit)
    }

    pub(crate) fn pong(&self) -> Result<TextPong, Failure> {
        let Some(pair) = &self.pong else { return Ok(None) };
        let (ping, pong) = pair.split_once('=').ok_or("--pong is PING=PONG")?;
        Ok(Some((ping.as_bytes().to_vec(), pong.as_bytes().to_vec())))
    }
}

/// What is sent, and how.
#[derive(Debug, Clone, Args)]
pub(crate) struct Sending {
    /// Bytes of a message, at least 44.
    #[arg(long, default_value_t = 128)]
    pub(crate) payload: usize,
    /// How many messages there are.
    #[arg(long, default_value_t = 2000)]
    pub(crate) msgs: u64,
    /// The text frame that carries a message, which stands for %P%.
    #[arg(long, default_value = "%P%")]
    pub(crate) publish: String,
    /// How often to measure, on the same connections.
    #[arg(long, default_value_t = 1)]
    pub(crate) repeat: u32,
}

#[derive(Debug, Args)]
pub(crate) struct FanOut {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) sending: Sending,
    #[command(flatten)]
    pub(crate) pace: Pace,
    /// The path of every connection.
    #[arg(long, default_value = "/")]
    pub(crate) path: String,
    /// How many connections listen.
    #[arg(long, default_value_t = 1000)]
    pub(crate) subs: usize,
}

#[derive(Debug, Args)]
pub(crate) struct Echo {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) sending: Sending,
    /// The path of every connection.
    #[arg(long, default_value = "/echo")]
    pub(crate) path: String,
    /// How many connections send, each `--msgs` messages.
    #[arg(long, default_value_t = 100)]
    pub(crate) subs: usize,
}

#[derive(Debug, Args)]
pub(crate) struct Groups {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) sending: Sending,
    /// The path of a connection; {n} stands for its group, counted from 0.
    #[arg(long, default_value = "/group/{n}")]
    pub(crate) path: String,
    /// How many groups there are.
    #[arg(long, default_value_t = 1000)]
    pub(crate) groups: usize,
    /// How many members each has.
    #[arg(long, default_value_t = 10)]
    pub(crate) members: usize,
    /// How many messages may be on their way.
    #[arg(long, default_value_t = 1)]
    pub(crate) window: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Idle {
    #[command(flatten)]
    pub(crate) target: Target,
    /// The path of every connection.
    #[arg(long, default_value = "/")]
    pub(crate) path: String,
    /// How many connections there are.
    #[arg(long, default_value_t = 5000)]
    pub(crate) subs: usize,
}

/// A workload that lasts for a time. The shares are those of the named workloads unless they are given.
#[derive(Debug, Args)]
pub(crate) struct Live {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Bytes of a message, at least 44.
    #[arg(long, default_value_t = 128)]
    pub(crate) payload: usize,
    /// The text frame that carries a message, which stands for %P%.
    #[arg(long, default_value = "%P%")]
    pub(crate) publish: String,
    /// The path of every connection.
    #[arg(long, default_value = "/")]
    pub(crate) path: String,
    /// How many connections listen.
    #[arg(long, default_value_t = 1000)]
    pub(crate) subs: usize,
    /// Messages a second.
    #[arg(long, default_value_t = 50)]
    pub(crate) rate: u64,
    /// How long it lasts.
    #[arg(long, default_value_t = 20)]
    pub(crate) seconds: u64,
    /// Seconds between two samples.
    #[arg(long, default_value_t = 10)]
    pub(crate) sample: u64,
    /// Percent of the subscribers that reconnect each second: 10 in churn and soak.
    #[arg(long)]
    pub(crate) churn: Option<u64>,
    /// Percent of the subscribers that are slow: 10 in slow, 1 in soak.
    #[arg(long)]
    pub(crate) slow: Option<u64>,
    /// Seconds for which a slow subscriber does not read, before it reads for eight.
    #[arg(long, default_value_t = 15)]
    pub(crate) slow_for: u64,
}

impl Live {
    /// Uses these shares where none were given.
    pub(crate) fn or(&self, churn: u64, slow: u64) -> (u64, u64) {
        (self.churn.unwrap_or(churn).min(100), self.slow.unwrap_or(slow).min(50))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Options, clap::Error> {
        Options::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Options::command().debug_assert();
    }

    #[test]
    fn options_are_read() {
        let line = "load fan-out --addr 127.0.0.1:80,127.0.0.1:81 --pids 1,2 --between 3 --sub 40 --sub 41 --pong 2=3 --rate 10";
        let Workload::FanOut(fan_out) = parse(line).unwrap().workload else { panic!("another workload") };
        assert_eq!(fan_out.target.pids, [1, 2]);
        assert_eq!(fan_out.target.between, [3]);
        assert_eq!(fan_out.target.addr.len(), 2);
        assert_eq!(fan_out.target.sub, ["40", "41"]);
        assert_eq!(fan_out.target.pong().unwrap(), Some((b"2".to_vec(), b"3".to_vec())));
        assert_eq!((fan_out.pace.rate, fan_out.pace.window), (Some(10), 1));
        assert_eq!((fan_out.subs, fan_out.sending.payload), (1000, 128));
    }

    #[test]
    fn a_rate_and_a_window_exclude_each_other() {
        assert!(parse("load fan-out --addr 127.0.0.1:80 --rate 10 --window 2").is_err());
        let target = parse("load idle --addr 127.0.0.1:80 --pong 2").unwrap().workload;
        assert!(target.target().pong().is_err());
    }
}
