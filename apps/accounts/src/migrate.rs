//! Brings the tables of all apps up to date, as `manage migrate` does in Django: each app numbers its own steps, and
//! one table remembers which were taken.

use routing::consumers::db::script;

use crate::time::unix_seconds;
use crate::{Db, Dialect, query};

const REMEMBER: &str = "CREATE TABLE IF NOT EXISTS waterway_migrations (
    app TEXT NOT NULL, name TEXT NOT NULL, applied BIGINT NOT NULL, PRIMARY KEY (app, name))";

/// On PostgreSQL, of two that make one table at once, one fails, so they make it one after the other. The number is of
/// no meaning but that nobody else locks it.
const REMEMBER_IN_TURN: &str = "SELECT pg_advisory_xact_lock(7092153880410031827)";

/// One step; once released it never changes.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// What the step is remembered by, for example `0001_initial`.
    pub name: &'static str,
    /// The statements that SQLite runs.
    pub sqlite: &'static str,
    /// The statements that PostgreSQL runs, to the same effect.
    pub postgres: &'static str,
}

/// The steps of one app, in order.
#[derive(Debug, Clone, Copy)]
pub struct MigrationSet {
    /// The name of the app.
    pub app: &'static str,
    /// All its steps, oldest first.
    pub migrations: &'static [Migration],
}

/// The steps of this app: the tables `accounts_user` and `accounts_session`.
pub const MIGRATIONS: MigrationSet = MigrationSet {
    app: "accounts",
    migrations: &[Migration {
        name: "0001_initial",
        sqlite: include_str!("../migrations/sqlite/0001_initial.sql"),
        postgres: include_str!("../migrations/postgres/0001_initial.sql"),
    }],
};

/// Why the tables are not up to date.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// A step failed; all before it were taken, and nothing of it was.
    #[error("migration {app}.{name} failed, and changed nothing: {source}")]
    Step {
        /// The app whose step it is.
        app: &'static str,
        /// The name of the step.
        name: &'static str,
        /// What the database said.
        source: sqlx::Error,
    },
    /// The record of the steps taken could not be made.
    #[error("the table waterway_migrations cannot be made: {0}")]
    Record(#[source] sqlx::Error),
}

/// Takes the steps that were not taken before, set by set, and returns their names as `app.name`. An app's set comes
/// after the sets of those whose tables it refers to.
///
/// Each step is one transaction, and several programs may migrate one database at once.
///
/// # Errors
/// The first step that fails ends it; call again when the cause is gone.
pub async fn migrate(db: &Db, sets: &[MigrationSet]) -> Result<Vec<String>, MigrateError> {
    remember(db).await.map_err(MigrateError::Record)?;
    let mut taken = Vec::new();
    for MigrationSet { app, migrations } in sets {
        for migration in *migrations {
            let name = migration.name;
            let step = take(db, app, migration).await;
            if step.map_err(|source| MigrateError::Step { app, name, source })? {
                taken.push(format!("{app}.{name}"));
            }
        }
    }
    Ok(taken)
}

/// Makes the record of the steps taken.
async fn remember(db: &Db) -> Result<(), sqlx::Error> {
    let mut tx = db.begin_write().await?;
    if db.dialect() == Dialect::Postgres {
        script(&mut tx, REMEMBER_IN_TURN).await?;
    }
    script(&mut tx, REMEMBER).await?;
    tx.commit().await
}

/// Takes one step, unless it was taken before.
async fn take(db: &Db, app: &'static str, migration: &Migration) -> Result<bool, sqlx::Error> {
    let mut tx = db.begin_write().await?;
    // The record comes first: by its key it also tells whether somebody else was here.
    let record =
        "INSERT INTO waterway_migrations (app, name, applied) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    let record = query(record).bind(app).bind(migration.name).bind(unix_seconds());
    if record.execute(&mut tx).await? == 0 {
        return Ok(false);
    }
    let statements = match db.dialect() {
        Dialect::Sqlite => migration.sqlite,
        Dialect::Postgres => migration.postgres,
    };
    script(&mut tx, statements).await?;
    tx.commit().await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestDatabase;

    const FIRST: Migration = Migration {
        name: "0001_initial",
        sqlite: "CREATE TABLE a (n BIGINT); CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM a; END;",
        postgres: "CREATE TABLE a (n BIGINT);
            CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM a; RETURN NULL; END; $$;
            CREATE TRIGGER t AFTER INSERT ON a EXECUTE FUNCTION f();",
    };
    const MORE: &str = "CREATE TABLE b (n BIGINT);";
    const SECOND: Migration = Migration { name: "0002_more", sqlite: MORE, postgres: MORE };
    const BREAKS: &str = "CREATE TABLE b (n BIGINT); INSERT INTO nowhere VALUES (1);";
    const BROKEN: Migration = Migration { name: "0002_more", sqlite: BREAKS, postgres: BREAKS };

    async fn tables(db: &Db) -> Vec<String> {
        let names = query(match db.dialect() {
            Dialect::Sqlite => "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name",
            Dialect::Postgres => {
                "SELECT CAST(tablename AS TEXT) AS name FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
            }
        });
        names.fetch_all(db).await.unwrap().iter().map(|row| row.get("name").unwrap()).collect()
    }

    #[tokio::test]
    async fn each_step_is_taken_once() {
        let database = TestDatabase::new();
        let db = database.open().await;
        let one = [MigrationSet { app: "shop", migrations: &[FIRST] }];
        assert_eq!(migrate(&db, &one).await.unwrap(), ["shop.0001_initial"]);
        assert_eq!(migrate(&db, &one).await.unwrap(), [""; 0]);
        let two = [MigrationSet { app: "shop", migrations: &[FIRST, SECOND] }];
        assert_eq!(migrate(&db, &two).await.unwrap(), ["shop.0002_more"]);
        assert_eq!(tables(&db).await, ["a", "b", "waterway_migrations"]);
    }

    #[tokio::test]
    async fn apps_are_told_apart() {
        const OTHER: Migration = Migration { name: FIRST.name, ..SECOND };
        let database = TestDatabase::new();
        let db = database.open().await;
        let sets = [
            MigrationSet { app: "shop", migrations: &[FIRST] },
            MigrationSet { app: "blog", migrations: &[OTHER] },
        ];
        assert_eq!(migrate(&db, &sets).await.unwrap(), ["shop.0001_initial", "blog.0001_initial"]);
    }

    #[tokio::test]
    async fn a_step_that_fails_leaves_nothing() {
        let database = TestDatabase::new();
        let db = database.open().await;
        let broken = [MigrationSet { app: "shop", migrations: &[FIRST, BROKEN] }];
        let error = migrate(&db, &broken).await.unwrap_err();
        assert!(matches!(error, MigrateError::Step { app: "shop", name: "0002_more", .. }));
        assert_eq!(tables(&db).await, ["a", "waterway_migrations"]);
        let mended = [MigrationSet { app: "shop", migrations: &[FIRST, SECOND] }];
        assert_eq!(migrate(&db, &mended).await.unwrap(), ["shop.0002_more"]);
    }

    #[tokio::test]
    async fn programs_that_migrate_at_once_share_the_work() {
        let database = TestDatabase::new();
        let (db, other) = (database.open().await, database.open().await);
        let sets = [MigrationSet { app: "shop", migrations: &[FIRST, SECOND] }];
        let (mine, theirs) = tokio::join!(migrate(&db, &sets), migrate(&other, &sets));
        assert_eq!(mine.unwrap().len() + theirs.unwrap().len(), 2);
    }
}
