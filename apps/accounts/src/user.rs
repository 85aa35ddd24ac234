//! Users as the database holds them.

use std::sync::Arc;

use crate::{AccountError, Db, Row, query};

/// A user: the row without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    id: i64,
    username: String,
    is_staff: bool,
    is_superuser: bool,
    is_active: bool,
}

impl routing::User for User {
    fn id(&self) -> i64 {
        self.id
    }

    fn username(&self) -> &str {
        &self.username
    }

    fn is_staff(&self) -> bool {
        self.is_staff
    }

    fn is_superuser(&self) -> bool {
        self.is_superuser
    }

    fn is_active(&self) -> bool {
        self.is_active
    }
}

impl User {
    /// Reads the columns `id, username, is_staff, is_superuser, is_active`.
    pub(crate) fn from_row(row: &Row) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.get("id")?,
            username: row.get("username")?,
            is_staff: row.get("is_staff")?,
            is_superuser: row.get("is_superuser")?,
            is_active: row.get("is_active")?,
        })
    }
}

/// A user and the hash of the password.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) user: Arc<User>,
    pub(crate) hash: String,
}

/// Looks a user up, active or not.
pub(crate) async fn find(db: &Db, username: &str) -> Result<Option<Stored>, AccountError> {
    let find = "SELECT id, username, is_staff, is_superuser, is_active, password FROM accounts_user
        WHERE username = $1";
    let Some(row) = query(find).bind(username).fetch_optional(db).await? else {
        return Ok(None);
    };
    Ok(Some(Stored { user: Arc::new(User::from_row(&row)?), hash: row.get("password")? }))
}

/// Whether this can be a username: 1 to 150 of Django's characters, as far as they are ASCII.
pub(crate) fn is_username(text: &str) -> bool {
    (1..=150).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.@+-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames_follow_django() {
        for good in ["a", "ana", "Ana.B@c+d-e_9", &"x".repeat(150)] {
            assert!(is_username(good), "{good}");
        }
        for bad in ["", "a b", "a\n", "a:b", "zoë", "<b>", &"x".repeat(151)] {
            assert!(!is_username(bad), "{bad}");
        }
    }
}
