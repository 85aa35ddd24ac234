//! Makes users, and gives them new passwords.

use crate::time::unix_seconds;
use crate::user::{User, is_username};
use crate::{AccountError, Accounts, query};

/// What a user is made from; everybody new is active.
#[derive(Clone, Copy)]
pub struct NewUser<'a> {
    /// Unique: 1 to 150 ASCII letters, digits and `@ . + - _`.
    pub username: &'a str,
    /// May be empty.
    pub email: &'a str,
    /// Not empty, at most 1024 bytes.
    pub password: &'a str,
    /// Whether the user may enter the admin.
    pub is_staff: bool,
    /// Whether the user may do everything.
    pub is_superuser: bool,
}

impl std::fmt::Debug for NewUser<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewUser").field("username", &self.username).finish_non_exhaustive()
    }
}

impl Accounts {
    /// Makes a user who may enter the admin and do everything, as `createsuperuser` does in Django.
    ///
    /// # Errors
    /// As [`create_user`](Self::create_user).
    pub async fn create_superuser(
        &self,
        username: &str,
        email: &str,
        password: &str,
    ) -> Result<User, AccountError> {
        self.create_user(NewUser { username, email, password, is_staff: true, is_superuser: true }).await
    }

    /// Makes a user.
    ///
    /// # Errors
    /// What is not valid, or that the username is taken; nothing was made then.
    pub async fn create_user(&self, new: NewUser<'_>) -> Result<User, AccountError> {
        if !is_username(new.username) {
            return Err(AccountError::InvalidUsername(new.username.chars().take(160).collect()));
        }
        if !is_email(new.email) {
            return Err(AccountError::InvalidEmail(new.email.chars().take(260).collect()));
        }
        let hash = self.inner.passwords.turn().await?.hash(new.password).await?;
        let insert = "INSERT INTO accounts_user
            (username, email, password, is_staff, is_superuser, is_active, created)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            RETURNING id, username, is_staff, is_superuser, is_active";
        let insert = query(insert)
            .bind(new.username)
            .bind(new.email)
            .bind(hash)
            .bind(new.is_staff)
            .bind(new.is_superuser)
            .bind(true)
            .bind(unix_seconds());
        match insert.fetch_one(&self.inner.db).await {
            Ok(row) => Ok(User::from_row(&row)?),
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                Err(AccountError::UsernameTaken(new.username.to_owned()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Gives a user a new password and ends all sessions that the old one opened.
    ///
    /// # Errors
    /// [`AccountError::NoSuchUser`], or what is wrong with the password.
    pub async fn set_password(&self, username: &str, password: &str) -> Result<(), AccountError> {
        let hash = self.inner.passwords.turn().await?.hash(password).await?;
        let mut tx = self.inner.db.begin_write().await?;
        let update = "UPDATE accounts_user SET password = $1 WHERE username = $2 RETURNING id";
        let row = query(update).bind(hash).bind(username).fetch_optional(&mut tx).await?;
        let Some(row) = row else { return Err(AccountError::NoSuchUser(username.to_owned())) };
        let end = query("DELETE FROM accounts_session WHERE user_id = $1").bind(row.get::<i64>("id")?);
        end.execute(&mut tx).await?;
        Ok(tx.commit().await?)
    }

    /// Whether there is any user yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_users(&self) -> Result<bool, AccountError> {
        let one = query("SELECT 1 FROM accounts_user LIMIT 1");
        Ok(one.fetch_optional(&self.inner.db).await?.is_some())
    }
}

/// Whether this is empty or has the shape of an address; only a letter that arrives proves one.
fn is_email(text: &str) -> bool {
    let has_shape = |(name, host): (&str, &str)| !name.is_empty() && !host.is_empty();
    text.is_empty()
        || (text.len() <= 254
            && !text.contains(|c: char| c.is_whitespace() || c.is_control())
            && text.rsplit_once('@').is_some_and(has_shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_two_ends() {
        for good in ["", "ana@shop.example", "\"a@b\"@host", "zoë@münchen.example"] {
            assert!(is_email(good), "{good}");
        }
        for bad in ["ana", "@host", "ana@", "a b@host", "a@host\r\nBcc: x", &format!("{}@h", "x".repeat(253))]
        {
            assert!(!is_email(bad), "{bad}");
        }
    }

    #[test]
    fn the_password_is_not_printed() {
        let new =
            NewUser { username: "ana", email: "", password: "s3cret", is_staff: false, is_superuser: false };
        assert!(!format!("{new:?}").contains("s3cret"));
    }
}
