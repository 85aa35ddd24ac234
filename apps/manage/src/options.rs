//! What the command line and the environment say.

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand};

/// The most ticks of the market that may be asked for, a second.
const MARKET_RATE_MAX: i64 = 100_000;

/// Waterway: live orders over WebSockets. Without a command, it runs the server.
#[derive(Debug, Parser)]
#[command(name = "manage", version, about, args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) runserver: RunServer,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the site. An empty database is migrated, and on a loopback address filled with demo data.
    Runserver(RunServer),
    /// Bring the tables up to date.
    Migrate(Database),
    /// Make a user who may do everything.
    Createsuperuser(CreateSuperuser),
    /// Make the users admin/admin and demo/demo and 2,000 orders.
    Loaddemo(Database),
}

#[derive(Debug, Args)]
pub(crate) struct RunServer {
    /// The address to listen on; port 0 takes a free one.
    #[arg(value_name = "ADDR:PORT", default_value = "127.0.0.1:8000")]
    pub(crate) addr: SocketAddr,
    /// The channel layer: memory:// is this process alone; redis://HOST:PORT,HOST:PORT/DB and
    /// redis+pubsub://HOST:PORT connect processes, Django's among them. rediss is TLS; redis+sentinel://HOST,HOST/MASTER
    /// asks sentinels; redis+unix:///PATH is a socket. Options follow a question mark: prefix=, expiry=, group_expiry=
    /// (seconds), capacity= (messages), format=msgpack or json, ca=FILE, sentinel_user=, sentinel_password=.
    #[arg(long, value_name = "URL", env = "WATERWAY_LAYER", default_value = "memory://")]
    pub(crate) layer: String,
    /// Send session cookies over https only; for servers behind a proxy that ends TLS.
    #[arg(long, env = "WATERWAY_SECURE_COOKIES")]
    pub(crate) secure_cookies: bool,
    /// How many invented prices a second the market has, over 20 instruments; 0 is none. Of the processes that share a
    /// channel layer one makes them.
    #[arg(long, value_name = "N", env = "WATERWAY_MARKET_RATE", default_value_t = 50)]
    #[arg(value_parser = clap::value_parser!(u32).range(..=MARKET_RATE_MAX))]
    pub(crate) market_rate: u32,
    #[command(flatten)]
    pub(crate) database: Database,
}

#[derive(Debug, Args)]
pub(crate) struct Database {
    /// The database: sqlite:PATH is a file that is made when there is none; postgres://USER:PASSWORD@HOST/DATABASE is a
    /// server. Other users of this machine see a password on the command line, but not in the environment.
    #[arg(long, value_name = "URL", env = "WATERWAY_DATABASE", hide_env_values = true)]
    #[arg(default_value = "sqlite:waterway.db")]
    pub(crate) database: String,
}

#[derive(Debug, Args)]
pub(crate) struct CreateSuperuser {
    /// The name to log in with.
    #[arg(long)]
    pub(crate) username: Option<String>,
    /// The address; may be left empty.
    #[arg(long)]
    pub(crate) email: Option<String>,
    /// Ask nothing: the name comes from --username, the password from the environment.
    #[arg(long)]
    pub(crate) noinput: bool,
    /// The password for --noinput. It is read from the environment, where other users cannot see it.
    #[arg(env = "WATERWAY_SUPERUSER_PASSWORD", hide_env_values = true, long, hide = true)]
    pub(crate) password: Option<String>,
    #[command(flatten)]
    pub(crate) database: Database,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Options::command().debug_assert();
    }

    #[test]
    fn no_command_runs_the_server() {
        let options = Options::parse_from(["manage"]);
        assert!(options.command.is_none());
        assert_eq!(options.runserver.addr, "127.0.0.1:8000".parse().unwrap());
        assert_eq!(options.runserver.market_rate, 50);
        let options =
            Options::parse_from(["manage", "runserver", "127.0.0.1:9", "--database", "sqlite:x.db"]);
        let Some(Command::Runserver(runserver)) = options.command else { panic!("not runserver") };
        assert_eq!((runserver.addr.port(), runserver.database.database.as_str()), (9, "sqlite:x.db"));
        assert!(Options::try_parse_from(["manage", "runserver", "--market-rate", "0"]).is_ok());
        assert!(Options::try_parse_from(["manage", "runserver", "--market-rate", "100001"]).is_err());
    }
}
