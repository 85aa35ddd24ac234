//! Brings the tables of all apps up to date, as `manage migrate` does in Django: each app numbers its own steps, and
//! one table remembers which were taken.

use crate::Db;
use crate::time::unix_seconds;

const REMEMBER: &str = "CREATE TABLE IF NOT EXISTS waterway_migrations (
    app TEXT NOT NULL, name TEXT NOT NULL, applied BIGINT NOT NULL, PRIMARY KEY (app, name))";

/// One step; once released it never changes.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// What the step is remembered by, for example `0001_initial`.
    pub name: &'static str,
    /// The statements that SQLite runs.
    pub sqlite: &'static str,
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
    sqlx::raw_sql(REMEMBER).execute(db.sqlite()).await.map_err(MigrateError::Record)?;
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

/// Takes one step, unless it was taken before.
async fn take(db: &Db, app: &'static str, migration: &Migration) -> Result<bool, sqlx::Error> {
    let mut tx = db.begin_write().await?;
    // The record comes first: by its key it also tells whether somebody else was here.
    let record =
        "INSERT INTO waterway_migrations (app, name, applied) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    let record = sqlx::query(record).bind(app).bind(migration.name).bind(unix_seconds());
    if record.execute(&mut *tx).await?.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::raw_sql(migration.sqlite).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use sqlx::Row;

    use super::*;

    const FIRST: Migration = Migration {
        name: "0001_initial",
        sqlite: "CREATE TABLE a (n BIGINT); CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM a; END;",
    };
    const SECOND: Migration = Migration { name: "0002_more", sqlite: "CREATE TABLE b (n BIGINT);" };
    const BROKEN: Migration =
        Migration { name: "0002_more", sqlite: "CREATE TABLE b (n BIGINT); INSERT INTO nowhere VALUES (1);" };

    async fn open(folder: &tempfile::TempDir) -> Db {
        Db::open(&format!("sqlite:{}", folder.path().join("test.db").display())).await.unwrap()
    }

    async fn tables(db: &Db) -> Vec<String> {
        let names = sqlx::query("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name");
        names.fetch_all(db.sqlite()).await.unwrap().iter().map(|row| row.get(0)).collect()
    }

    #[tokio::test]
    async fn each_step_is_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        let db = open(&folder).await;
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
        let folder = tempfile::tempdir().unwrap();
        let db = open(&folder).await;
        let sets = [
            MigrationSet { app: "shop", migrations: &[FIRST] },
            MigrationSet { app: "blog", migrations: &[OTHER] },
        ];
        assert_eq!(migrate(&db, &sets).await.unwrap(), ["shop.0001_initial", "blog.0001_initial"]);
    }

    #[tokio::test]
    async fn a_step_that_fails_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let db = open(&folder).await;
        let broken = [MigrationSet { app: "shop", migrations: &[FIRST, BROKEN] }];
        let error = migrate(&db, &broken).await.unwrap_err();
        assert!(matches!(error, MigrateError::Step { app: "shop", name: "0002_more", .. }));
        assert_eq!(tables(&db).await, ["a", "waterway_migrations"]);
        let mended = [MigrationSet { app: "shop", migrations: &[FIRST, SECOND] }];
        assert_eq!(migrate(&db, &mended).await.unwrap(), ["shop.0002_more"]);
    }

    #[tokio::test]
    async fn programs_that_migrate_at_once_share_the_work() {
        let folder = tempfile::tempdir().unwrap();
        let (db, other) = (open(&folder).await, open(&folder).await);
        let sets = [MigrationSet { app: "shop", migrations: &[FIRST, SECOND] }];
        let (mine, theirs) = tokio::join!(migrate(&db, &sets), migrate(&other, &sets));
        assert_eq!(mine.unwrap().len() + theirs.unwrap().len(), 2);
    }
}
