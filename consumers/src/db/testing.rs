//! A database for a test, of either kind.

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;

use super::Db;

/// The environment variable with the address of a PostgreSQL server whose user may make databases. Where it is set,
/// tests run on that server.
pub(super) const SERVER: &str = "WATERWAY_POSTGRES";

/// An empty database that no other test sees: a file, or where the environment variable `WATERWAY_POSTGRES` has the
/// address of a PostgreSQL server (`postgres://USER:PASSWORD@HOST:PORT/postgres`), a database on that server. It goes
/// when this is dropped.
#[derive(Debug)]
pub struct TestDatabase {
    address: String,
    server: Option<(String, String)>,
    _folder: TempDir,
}

impl TestDatabase {
    /// Makes one.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "what makes a database is no default")]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let Ok(server) = std::env::var(SERVER) else {
            let address = format!("sqlite:{}", folder.path().join("test.db").display());
            return Self { address, server: None, _folder: folder };
        };
        let mut random = [0; 8];
        getrandom::fill(&mut random).expect("the system has random bytes");
        let name = format!("test_{}", u64::from_ne_bytes(random));
        let (host, _) = server.rsplit_once('/').expect("the address of a server ends with a database");
        let address = format!("{host}/{name}");
        let made = command(server.clone(), format!("CREATE DATABASE {name} TEMPLATE template0"));
        made.unwrap_or_else(|error| panic!("the server for tests makes no database: {error}"));
        Self { address, server: Some((server, name)), _folder: folder }
    }

    /// What `--database` takes.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Opens it.
    ///
    /// # Panics
    /// When it does not open.
    pub async fn open(&self) -> Db {
        Db::open(&self.address).await.unwrap_or_else(|error| panic!("{error}"))
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if let Some((server, name)) = self.server.take() {
            // A test may have failed because the server is gone; one failure is enough.
            drop(command(server, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")));
        }
    }
}

/// Sends the server one command: from a thread of its own, since the test's may be within a runtime.
fn command(server: String, sql: String) -> Result<(), sqlx::Error> {
    let work = async move {
        let mut connection = PgConnection::connect(&server).await?;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
        connection.close().await
    };
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("the system has room for a runtime").block_on(work)
    });
    thread.join().expect("the thread does not panic")
}
