//! Opens PostgreSQL databases, and keeps their passwords to itself.

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use super::{DbError, PATIENCE};

/// Connections of one process. A server takes 100 unless it is told otherwise, and several processes share it.
const CONNECTIONS: u32 = 10;

/// Opens the database at a `postgres:` address.
pub(super) async fn open(address: &str) -> Result<PgPool, DbError> {
    let options: PgConnectOptions = address.parse().map_err(|_| DbError::unknown(address))?;
    let options = options.application_name("waterway").options([
        // Who waits for a row that another program has locked gives up as on SQLite.
        ("lock_timeout", format!("{}s", PATIENCE.as_secs()).as_str()),
        // That a table exists already is no news.
        ("client_min_messages", "warning"),
    ]);
    let address = shown(&options);
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(PATIENCE);
    pool.connect_with(options).await.map_err(|source| DbError::Connect { address, source })
}

/// The address without the password, wherever in the address that stood.
fn shown(options: &PgConnectOptions) -> String {
    let (user, host, port) = (options.get_username(), options.get_host(), options.get_port());
    format!("postgres://{user}@{host}:{port}/{}", options.get_database().unwrap_or(user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_not_shown() {
        for address in ["postgres://ana:s3cret@db:5433/shop", "postgres://ana@db:5433/shop?password=s3cret"] {
            assert_eq!(shown(&address.parse().unwrap()), "postgres://ana@db:5433/shop");
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told_without_the_password() {
        // Nobody listens at port 1.
        let error = open("postgres://ana:s3cret@127.0.0.1:1/shop").await.unwrap_err();
        assert!(matches!(error, DbError::Connect { .. }), "{error:?}");
        assert!(error.to_string().contains("check that the server runs"), "{error}");
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
    }

    #[tokio::test]
    #[ignore = "needs PostgreSQL: run `cargo xtask test`"]
    async fn a_wrong_password_and_a_missing_database_are_told_at_once() {
        let server = std::env::var(crate::db::testing::SERVER).unwrap();
        let options: PgConnectOptions = server.parse().unwrap();
        let host = format!("{}:{}", options.get_host(), options.get_port());
        let wrong = open(&format!("postgres://{}:wr0ng@{host}/postgres", options.get_username())).await;
        let wrong = wrong.unwrap_err();
        assert!(wrong.to_string().contains("password authentication failed"), "{wrong}");
        assert!(!format!("{wrong} {wrong:?}").contains("wr0ng"), "{wrong:?}");
        let (user_and_host, _) = server.rsplit_once('/').unwrap();
        let missing = open(&format!("{user_and_host}/nowhere")).await.unwrap_err();
        assert!(missing.to_string().contains("\"nowhere\" does not exist"), "{missing}");
    }

    #[tokio::test]
    #[ignore = "needs PostgreSQL: run `cargo xtask test`"]
    async fn nobody_waits_for_a_connection_or_a_lock_for_ever() {
        let pool = open(&std::env::var(crate::db::testing::SERVER).unwrap()).await.unwrap();
        let timeout: String = sqlx::query_scalar("SHOW lock_timeout").fetch_one(&pool).await.unwrap();
        assert_eq!(timeout, "5s");
        assert_eq!(pool.options().get_max_connections(), CONNECTIONS);
        assert_eq!(pool.options().get_acquire_timeout(), PATIENCE);
    }
}
