//! Why a command could not be done, in words that say what to do.

use accounts::{AccountError, DbError, MigrateError, TemplateError};
use orders::DemoError;
use routing::consumers::capture::CaptureError;
use routing::consumers::channel_layer::OpenError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Open(#[from] DbError),
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Demo(#[from] DemoError),
    #[error("a template is broken: {0}")]
    Template(#[from] TemplateError),
    #[error(transparent)]
    Capture(#[from] CaptureError),
    #[error("the database failed: {0}")]
    Database(String),
    #[error(transparent)]
    Layer(#[from] OpenError),
    #[error("cannot listen on {addr}: {source}")]
    Listen { addr: std::net::SocketAddr, source: std::io::Error },
    #[error(
        "the user {0:?} still has the password of the demo, so this server listens on loopback addresses only: \
         give {0:?} another password, or use another database"
    )]
    DemoPassword(&'static str),
    #[error("with --noinput, give --username and the environment variable WATERWAY_SUPERUSER_PASSWORD")]
    NoInput,
    #[error("the passwords differ: nothing was made")]
    PasswordsDiffer,
    #[error("the terminal cannot be read: {0}; use --noinput in scripts")]
    Terminal(#[from] std::io::Error),
}
