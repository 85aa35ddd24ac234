//! What can go wrong with an account.

/// Why something was not done to an account.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// The username breaks the rules.
    #[error("username {0:?} is not valid: use 1 to 150 letters, digits and @ . + - _")]
    InvalidUsername(String),
    /// The e-mail address cannot be one.
    #[error("e-mail address {0:?} is not valid: leave it empty or write it as name@host")]
    InvalidEmail(String),
    /// The password is empty.
    #[error("the password is empty: choose one")]
    EmptyPassword,
    /// The password is longer than 1024 bytes.
    #[error("the password is too long: use at most {limit} bytes", limit = crate::password::LENGTH_LIMIT)]
    PasswordTooLong,
    /// Somebody has this username already.
    #[error("username {0:?} is taken: choose another")]
    UsernameTaken(String),
    /// Nobody has this username.
    #[error("there is no user {0:?}")]
    NoSuchUser(String),
    /// More passwords wait to be checked than can be soon; nothing was done.
    #[error("too many passwords are being checked: try again later")]
    Busy,
    /// The database failed.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The system gave no random bytes, or not the memory that a password's hash takes.
    #[error("the system is short of randomness or memory: {0}")]
    System(String),
}

impl From<getrandom::Error> for AccountError {
    fn from(error: getrandom::Error) -> Self {
        Self::System(error.to_string())
    }
}
