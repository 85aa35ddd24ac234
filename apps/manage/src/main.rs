//! The program that composes the apps, as Django's `manage.py` does: runserver, migrate, createsuperuser, loaddemo.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to its terminal")]

mod createsuperuser;
mod failure;
mod health;
mod options;
mod runserver;

use std::process::ExitCode;

use accounts::{Accounts, Db, Settings};
use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::failure::Failure;
use crate::options::{Command, Database, Options};

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let done = match options.command {
        None => runserver::run(&options.runserver).await,
        Some(Command::Runserver(options)) => runserver::run(&options).await,
        Some(Command::Migrate(database)) => migrate_and_tell(&database).await,
        Some(Command::Createsuperuser(options)) => createsuperuser::run(options).await,
        Some(Command::Loaddemo(database)) => load_demo(&database).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Brings the tables of all apps up to date; the steps that were taken.
async fn migrate(db: &Db) -> Result<Vec<String>, Failure> {
    Ok(accounts::migrate(db, &[accounts::MIGRATIONS, orders::MIGRATIONS]).await?)
}

async fn migrate_and_tell(database: &Database) -> Result<(), Failure> {
    let db = Db::open(&database.database).await?;
    let taken = migrate(&db).await?;
    taken.iter().for_each(|step| println!("applied {step}"));
    if taken.is_empty() {
        println!("nothing to do");
    }
    Ok(())
}

async fn load_demo(database: &Database) -> Result<(), Failure> {
    let db = Db::open(&database.database).await?;
    migrate(&db).await?;
    let accounts = Accounts::new(db.clone(), Settings::default())?;
    if !orders::is_empty(&db).await.map_err(|cause| Failure::Database(cause.to_string()))? {
        println!("there are orders already: nothing was loaded");
        return Ok(());
    }
    orders::load_demo(&db, &accounts).await?;
    println!("loaded {} orders; log in as admin/admin or demo/demo", orders::DEMO_ORDERS);
    Ok(())
}
