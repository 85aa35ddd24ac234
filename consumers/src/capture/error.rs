//! Why a table cannot be bound, or its changes not be read.

/// What went wrong with change capture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The table cannot be bound as it is.
    #[error("table {table:?} cannot be bound: {reason}")]
    Unsupported {
        /// The table.
        table: String,
        /// What stands against it, and what to do.
        reason: String,
    },
    /// Changes of no table can be captured in this database as it is.
    #[error("changes cannot be captured in this database: {0}")]
    Refused(String),
    /// Writers held a table for so long that its triggers could not be installed.
    #[error(
        "the triggers of table {table:?} could not be installed, for a transaction has held the table all the time: \
         wait until it has ended, and try again"
    )]
    Locked {
        /// The table.
        table: String,
    },
    /// The connection with which the outbox was read is gone, and with it the right to read it: another process may
    /// do so now.
    #[error("the connection that reads the outbox was lost: take a turn again")]
    TurnLost,
    /// The database did not answer in time.
    #[error("the database did not answer within {0:?}")]
    Late(std::time::Duration),
    /// The database failed.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The outbox has something that cannot be read.
    #[error("the outbox cannot be read: {0}")]
    Outbox(String),
    /// The lock file beside the database cannot be used.
    #[error("the lock file beside the database cannot be used: {0}")]
    Lock(#[from] std::io::Error),
}

impl CaptureError {
    pub(crate) fn unsupported(table: &str, reason: impl Into<String>) -> Self {
        Self::Unsupported { table: table.to_owned(), reason: reason.into() }
    }
}

impl From<super::seen::UnknownSnapshot> for CaptureError {
    fn from(error: super::seen::UnknownSnapshot) -> Self {
        Self::Outbox(error.to_string())
    }
}
