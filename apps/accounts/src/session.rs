//! Sessions in the database. The browser holds a random key in a cookie; the database holds only the key's hash, so
//! that who reads the table cannot take a session over.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use routing::User as _;
use sha2::{Digest, Sha256};

use crate::time::unix_seconds;
use crate::user::{Stored, User};
use crate::{AccountError, Db, query};

/// The cookie's name, as in Django.
const COOKIE: &str = "sessionid";
const DAY: i64 = 24 * 60 * 60;
/// How long a session lasts without being used, in seconds.
const LIFETIME: i64 = 14 * DAY;
/// How long a browser keeps the cookie, in seconds: as long as browsers allow. The row decides when a session ends,
/// and it moves with use; a shorter cookie would have to be sent anew each time.
const COOKIE_LIFETIME: i64 = 400 * DAY;

/// A session, known by the hash of its key.
#[derive(Debug)]
pub(crate) struct Session {
    key: String,
}

impl routing::Session for Session {
    fn key(&self) -> &str {
        &self.key
    }
}

/// The hash of the session key in a request's cookies: of the first one of the right form. Other programs on the host
/// may put anything into the jar beside it, in any encoding, even a cookie of the same name for a longer path.
pub(crate) fn presented(headers: &HeaderMap) -> Option<String> {
    let lines = headers.get_all(header::COOKIE).into_iter().map(HeaderValue::as_bytes);
    let cookies = lines.flat_map(|line| line.split(|byte| *byte == b';')).map(<[u8]>::trim_ascii);
    let mut values = cookies.filter_map(|cookie| cookie.strip_prefix(COOKIE.as_bytes())?.strip_prefix(b"="));
    let is_key = |key: &&[u8]| URL_SAFE_NO_PAD.decode(key).is_ok_and(|bytes| bytes.len() == 32);
    values.find(is_key).map(hash)
}

/// Finds the living session with this hash, and its user if that one is active; moves the session's end.
pub(crate) async fn find(db: &Db, key: String) -> Result<Option<(Session, Arc<User>)>, AccountError> {
    let now = unix_seconds();
    let find = "SELECT s.expires, u.id, u.username, u.is_staff, u.is_superuser, u.is_active
        FROM accounts_session s JOIN accounts_user u ON u.id = s.user_id
        WHERE s.key = $1 AND s.expires > $2 AND u.is_active";
    let Some(row) = query(find).bind(key.as_str()).bind(now).fetch_optional(db).await? else {
        return Ok(None);
    };
    let user = Arc::new(User::from_row(&row)?);
    if row.get::<i64>("expires")? < now + LIFETIME - DAY {
        prolong(db, &key, now).await;
    }
    Ok(Some((Session { key }, user)))
}

/// Moves a session's end, once a day at most. That it failed is no reason to refuse the request: the next one tries
/// again.
async fn prolong(db: &Db, key: &str, now: i64) {
    let update = "UPDATE accounts_session SET expires = $1 WHERE key = $2";
    if let Err(error) = query(update).bind(now + LIFETIME).bind(key).execute(db).await {
        tracing::warn!(%error, "a session could not be prolonged");
    }
}

/// Opens a session with a fresh key, so that nobody can have known it before, in place of the one that the browser
/// had; returns the key for the cookie. What has expired goes, too. Nothing is opened for a user who has another
/// password by now than the one that was proven, or is not active any more.
pub(crate) async fn open(
    db: &Db,
    proven: &Stored,
    old: Option<&str>,
) -> Result<Option<String>, AccountError> {
    let mut random = [0; 32];
    getrandom::fill(&mut random)?;
    let key = URL_SAFE_NO_PAD.encode(random);
    let now = unix_seconds();
    let mut tx = db.begin_write().await?;
    // The user's row is locked first by everyone who writes sessions, so that no two wait for each other. A new
    // password that comes later finds the session and ends it.
    let update = "UPDATE accounts_user SET last_login = $1 WHERE id = $2 AND password = $3 AND is_active";
    let update = query(update).bind(now).bind(proven.user.id()).bind(proven.hash.as_str());
    if update.execute(&mut tx).await? == 0 {
        return Ok(None);
    }
    let delete = "DELETE FROM accounts_session WHERE expires <= $1 OR key = $2";
    query(delete).bind(now).bind(old).execute(&mut tx).await?;
    let insert = "INSERT INTO accounts_session (key, user_id, created, expires) VALUES ($1, $2, $3, $4)";
    let insert = query(insert).bind(hash(&key)).bind(proven.user.id()).bind(now).bind(now + LIFETIME);
    insert.execute(&mut tx).await?;
    tx.commit().await?;
    Ok(Some(key))
}

/// Ends a session; nothing happens when there is none.
pub(crate) async fn close(db: &Db, key: &str) -> Result<(), AccountError> {
    query("DELETE FROM accounts_session WHERE key = $1").bind(key).execute(db).await?;
    Ok(())
}

/// The `Set-Cookie` that gives a key to the browser, or with `None` takes it away. Scripts cannot read it, and it is
/// not sent with what other sites make the browser post.
pub(crate) fn cookie(key: Option<&str>, secure: bool) -> HeaderValue {
    let (value, age) = key.map_or(("", 0), |key| (key, COOKIE_LIFETIME));
    let secure = if secure { "; Secure" } else { "" };
    let cookie = format!("{COOKIE}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::try_from(cookie).expect("a key is base64url")
}

fn hash(key: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    fn present(cookies: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(header::COOKIE, HeaderValue::from_bytes(cookie.as_bytes()).unwrap());
        }
        presented(&headers)
    }

    #[test]
    fn the_key_is_found_among_other_cookies() {
        let own = format!("sessionid={KEY}");
        let expected = Some(hash(KEY));
        assert_eq!(present(&[&own]), expected);
        assert_eq!(present(&[&format!("a=b; {own};c=d")]), expected);
        assert_eq!(present(&["a=b", &own]), expected);
        assert_eq!(present(&[&format!("xsessionid={KEY}")]), None);
    }

    #[test]
    fn what_others_put_into_the_jar_does_not_hide_the_key() {
        let own = format!("sessionid={KEY}");
        let django = "sessionid=0123456789abcdefghijklmnopqrstuv";
        for other in ["name=zoë", "sessionid=zoë", "sessionid", django] {
            for cookies in [format!("{other}; {own}"), format!("{own}; {other}")] {
                assert_eq!(present(&[&cookies]), Some(hash(KEY)), "{cookies}");
            }
        }
    }

    #[test]
    fn what_is_no_key_is_not_looked_up() {
        for cookie in ["", "sessionid", "sessionid=", "sessionid=abc", &format!("sessionid={KEY}AAAA")] {
            assert_eq!(present(&[cookie]), None, "{cookie}");
        }
    }

    #[test]
    fn the_hash_does_not_show_the_key() {
        let hash = present(&[&format!("sessionid={KEY}")]).unwrap();
        assert!(hash.len() == 43 && hash != KEY);
    }

    #[test]
    fn cookies_are_for_this_site_and_no_script() {
        let given = cookie(Some(KEY), false);
        let expected = format!("sessionid={KEY}; Path=/; Max-Age=34560000; HttpOnly; SameSite=Lax");
        assert_eq!(given, expected);
        assert_eq!(cookie(Some(KEY), true), format!("{expected}; Secure"));
        assert_eq!(cookie(None, false), "sessionid=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax");
    }
}
