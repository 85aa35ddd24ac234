//! Users, passwords, sessions and the login pages: Django's `contrib.auth` in small, for every app of a site.
//!
//! ```no_run
//! use std::sync::Arc;
//! use accounts::{Accounts, Db, MIGRATIONS, Settings, migrate};
//! use routing::{CsrfLayer, IdentityLayer};
//!
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! let db = Db::open("sqlite:waterway.db").await?;
//! migrate(&db, &[MIGRATIONS]).await?;
//! let accounts = Accounts::new(db, Settings::default())?;
//! accounts.create_superuser("admin", "", "a good password").await?;
//!
//! // What is added last is asked first: who it is, and then whether that one may write.
//! let site = accounts::router(accounts.clone())
//!     .layer(CsrfLayer)
//!     .layer(IdentityLayer::new(Arc::new(accounts)));
//! # let _: axum::Router = site;
//! # Ok(())
//! # }
//! ```
//!
//! # The parts
//!
//! - [`Db`] is the database of all apps, SQLite or PostgreSQL, and [`query`] is how to ask it; [`migrate`] brings its
//!   tables up to date; [`testing`] gives a test one of its own.
//! - [`Accounts`] knows the users and is the [`routing::Authenticator`]; [`router`] has its pages.
//! - [`CurrentUser`] is how a handler asks for its user.
//! - [`Pages`] and [`static_files`] are how an app shows templates and files of its own in the common frame.

mod accounts;
mod assets;
mod basic;
mod create;
mod current;
mod error;
mod guesses;
mod migrate;
mod next;
mod pages;
mod password;
mod session;
pub mod testing;
mod throttle;
mod time;
mod user;
mod views;

pub use self::accounts::{Accounts, Settings};
pub use assets::static_files;
pub use create::NewUser;
pub use current::CurrentUser;
pub use error::AccountError;
pub use migrate::{MIGRATIONS, MigrateError, Migration, MigrationSet, migrate};
pub use pages::{PageUser, Pages, TemplateError};
pub use routing::consumers::db::{Arg, Db, DbError, Dialect, Query, Row, Target, Transaction, query};
pub use user::User;
pub use views::router;
