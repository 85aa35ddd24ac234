//! The accounts of a site: who logs in, by what, and who a request is from.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use axum::http::request::Parts;
use routing::{Authenticator, Credential, IdentifyError, Identity, User as _};

use crate::basic::{self, Credentials, Verified};
use crate::guesses::{Guesses, Peer};
use crate::pages::Pages;
use crate::password::{PATIENCE, Passwords, Turn};
use crate::user::{self, Stored, User};
use crate::{AccountError, Db, session};

/// The protected space that clients are told about.
pub(crate) const REALM: &str = "waterway";

/// How the accounts of a site behave.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// Whether session cookies may travel over https only; off by default. Switch it on where a proxy ends TLS: what
    /// it says in `X-Forwarded-Proto` is not believed, since any client can say it.
    pub secure_cookies: bool,
}

/// The accounts of a site; cheap to clone. It is an [`Authenticator`] for [`routing::IdentityLayer`].
///
/// Guessing passwords is slowed down: per username 10 attempts may fail in 5 minutes, and per peer 100 in 10 seconds,
/// of IPv6 per network. Peers are told apart by [`routing::PeerAddr`], which a [`routing::Server`] knows; those in
/// private networks and on this machine are not counted, because there a proxy has one address for everybody: it is
/// up to the proxy to limit what each client sends. A proxy with a public address, such as a CDN's, is counted as one
/// client: whoever guesses through it keeps out all others that come through it.
#[derive(Debug, Clone)]
pub struct Accounts {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) db: Db,
    pub(crate) pages: Pages,
    pub(crate) passwords: Passwords,
    pub(crate) settings: Settings,
    guesses: Guesses,
    verified: Verified,
}

/// What came of an attempt to prove who one is.
pub(crate) enum Attempt {
    /// The user, and the hash that the password fitted.
    Proven(Stored),
    Wrong,
    /// Too many attempts; the next may come after so many seconds.
    Throttled(u64),
}

impl Accounts {
    /// The accounts in a database that was brought up to date with [`MIGRATIONS`](crate::MIGRATIONS).
    ///
    /// # Errors
    /// [`AccountError::System`] when the system gives no random bytes.
    pub fn new(db: Db, settings: Settings) -> Result<Self, AccountError> {
        let pages = Pages::new(crate::views::TEMPLATES).expect("this crate's tests render its templates");
        let (passwords, guesses, verified) = (Passwords::new(), Guesses::new(), Verified::new()?);
        Ok(Self { inner: Arc::new(Inner { db, pages, passwords, settings, guesses, verified }) })
    }

    /// The active user with this name and password. It does not count attempts: it is for the operator's commands;
    /// what a client sends is checked by the login page and by the [`Authenticator`].
    ///
    /// # Errors
    /// When it cannot be found out now.
    pub async fn check_password(
        &self,
        username: &str,
        password: &str,
    ) -> Result<Option<Arc<User>>, AccountError> {
        let turn = self.inner.passwords.turn().await?;
        let stored = user::find(&self.inner.db, username).await?;
        Ok(verify(&turn, stored, password).await?.map(|proven| proven.user))
    }

    /// Checks a name and a password that a client sent.
    pub(crate) async fn attempt(
        &self,
        username: &str,
        password: &str,
        peer: Option<Peer>,
    ) -> Result<Attempt, AccountError> {
        // Who is refused anyway must not take one of the places to wait from the others.
        if let Err(seconds) = self.inner.guesses.check(username, peer, Instant::now()) {
            return Ok(Attempt::Throttled(seconds));
        }
        let turn = self.inner.passwords.turn().await?;
        // Not before the turn: the password may change while one waits for it.
        let stored = user::find(&self.inner.db, username).await?;
        if let Err(seconds) = self.inner.guesses.attempt(username, peer, Instant::now()) {
            return Ok(Attempt::Throttled(seconds));
        }
        let Some(proven) = verify(&turn, stored, password).await? else { return Ok(Attempt::Wrong) };
        self.inner.guesses.forgive(username, peer);
        Ok(Attempt::Proven(proven))
    }

    /// Checks what a script sent. A request whose password was verified within the last minute costs one query.
    async fn attempt_basic(&self, given: &Credentials, peer: Option<Peer>) -> Result<Attempt, AccountError> {
        if let Some(stored) = self.remembered(given).await? {
            return Ok(Attempt::Proven(stored));
        }
        // Of many requests that came at once with one password, only the first has to verify it, and only that one
        // takes a place among those who wait for their turn.
        let lane = self.inner.verified.lane(given);
        let _first = tokio::time::timeout(PATIENCE, lane.lock()).await.map_err(|_| AccountError::Busy)?;
        if let Some(stored) = self.remembered(given).await? {
            return Ok(Attempt::Proven(stored));
        }
        let attempt = self.attempt(&given.username, &given.password, peer).await?;
        if let Attempt::Proven(stored) = &attempt {
            self.inner.verified.insert(self.inner.verified.proof(given, &stored.hash), Instant::now());
        }
        Ok(attempt)
    }

    /// The active user whom these credentials were verified for within the last minute.
    async fn remembered(&self, given: &Credentials) -> Result<Option<Stored>, AccountError> {
        let verified = |stored: &Stored| {
            let proof = self.inner.verified.proof(given, &stored.hash);
            stored.user.is_active() && self.inner.verified.contains(&proof, Instant::now())
        };
        Ok(user::find(&self.inner.db, &given.username).await?.filter(verified))
    }

    async fn by_header(&self, given: &Credentials, peer: Option<Peer>) -> Result<Identity, IdentifyError> {
        match self.attempt_basic(given, peer).await.map_err(unavailable)? {
            Attempt::Proven(proven) => {
                Ok(Identity { user: Some(proven.user), session: None, credential: Credential::Header })
            }
            Attempt::Wrong => Err(IdentifyError::Refused { realm: REALM }),
            Attempt::Throttled(seconds) => Err(IdentifyError::Throttled { seconds }),
        }
    }

    async fn by_cookie(&self, key: String) -> Result<Identity, IdentifyError> {
        let found = session::find(&self.inner.db, key).await.map_err(unavailable)?;
        Ok(found.map_or_else(Identity::default, |(session, user)| Identity {
            user: Some(user),
            session: Some(Arc::new(session)),
            credential: Credential::Cookie,
        }))
    }
}

/// Credentials in the `Authorization` header come before a cookie: a script means them, a browser's jar does not.
#[async_trait]
impl Authenticator for Accounts {
    async fn identify(&self, request: &Parts) -> Result<Identity, IdentifyError> {
        match basic::presented(&request.headers) {
            Some(Ok(given)) => return self.by_header(&given, Peer::of(&request.extensions)).await,
            Some(Err(basic::Malformed)) => return Err(IdentifyError::Refused { realm: REALM }),
            None => {}
        }
        match session::presented(&request.headers) {
            Some(key) => self.by_cookie(key).await,
            None => Ok(Identity::default()),
        }
    }
}

/// The user, if the password is right and the user is active. It takes the same time for whoever it is.
async fn verify(turn: &Turn, stored: Option<Stored>, password: &str) -> Result<Option<Stored>, AccountError> {
    let is_right = turn.verify(password, stored.as_ref().map(|stored| stored.hash.as_str())).await?;
    Ok(stored.filter(|stored| is_right && stored.user.is_active()))
}

fn unavailable(error: AccountError) -> IdentifyError {
    IdentifyError::Unavailable(Box::new(error))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::http::Request;
    use routing::PeerAddr;

    use super::*;
    use crate::testing::TestDatabase;
    use crate::{MIGRATIONS, NewUser, migrate, query};

    /// Accounts with the user `ana`, whose password is `pw`, and their database.
    async fn with_ana() -> (Accounts, TestDatabase) {
        let database = TestDatabase::new();
        let db = database.open().await;
        migrate(&db, &[MIGRATIONS]).await.unwrap();
        let accounts = Accounts::new(db, Settings::default()).unwrap();
        let ana =
            NewUser { username: "ana", email: "", password: "pw", is_staff: false, is_superuser: false };
        accounts.create_user(ana).await.unwrap();
        (accounts, database)
    }

    #[tokio::test]
    async fn the_right_password_makes_up_for_wrong_ones() {
        let (accounts, _database) = with_ana().await;
        let attempt = || accounts.inner.guesses.attempt("ana", None, Instant::now());
        (0..9).for_each(|_| attempt().unwrap());
        assert!(matches!(accounts.attempt("ana", "pw", None).await, Ok(Attempt::Proven(_))));
        (0..10).for_each(|_| attempt().unwrap());
        assert!(matches!(accounts.attempt("ana", "pw", None).await, Ok(Attempt::Throttled(_))));
    }

    fn ana() -> Credentials {
        Credentials { username: "ana".to_owned(), password: "pw".to_owned() }
    }

    async fn is_let_in(accounts: Accounts) -> bool {
        matches!(accounts.attempt_basic(&ana(), None).await, Ok(Attempt::Proven(_)))
    }

    #[tokio::test]
    async fn of_many_with_one_password_only_the_first_waits_for_a_turn() {
        let (accounts, _database) = with_ana().await;
        let inner = &accounts.inner;
        let others = (inner.passwords.turn().await.unwrap(), inner.passwords.turn().await.unwrap());
        // One more attempt and no other would be let through.
        (0..9).for_each(|_| inner.guesses.attempt("ana", None, Instant::now()).unwrap());
        let lane = inner.verified.lane(&ana());
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..100 {
            asking.spawn(is_let_in(accounts.clone()));
        }
        // Beside them, this test has the lane, and so have those who keep it.
        while Arc::strong_count(&lane) < 102 {
            tokio::task::yield_now().await;
        }
        drop(others);
        assert_eq!(asking.join_all().await, [true; 100]);
    }

    #[tokio::test]
    async fn a_login_under_way_opens_nothing_once_its_password_is_old() {
        let (accounts, _database) = with_ana().await;
        let db = &accounts.inner.db;
        let Ok(Attempt::Proven(proven)) = accounts.attempt("ana", "pw", None).await else {
            panic!("it is right")
        };
        accounts.set_password("ana", "another").await.unwrap();
        assert_eq!(session::open(db, &proven, None).await.unwrap(), None);

        let Ok(Attempt::Proven(proven)) = accounts.attempt("ana", "another", None).await else {
            panic!("so is it")
        };
        query("UPDATE accounts_user SET is_active = FALSE").execute(db).await.unwrap();
        assert_eq!(session::open(db, &proven, None).await.unwrap(), None);
        assert!(query("SELECT * FROM accounts_session").fetch_optional(db).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn who_waits_for_a_turn_is_measured_by_the_password_of_then() {
        let (accounts, _database) = with_ana().await;
        let inner = &accounts.inner;
        let others = (inner.passwords.turn().await.unwrap(), inner.passwords.turn().await.unwrap());
        let another = async {
            query("UPDATE accounts_user SET password = 'another'").execute(&inner.db).await.unwrap();
            drop(others);
        };
        let (attempt, ()) = tokio::join!(biased; accounts.attempt("ana", "pw", None), another);
        assert!(matches!(attempt, Ok(Attempt::Wrong)));
    }

    #[tokio::test]
    async fn who_is_over_a_limit_takes_no_place() {
        let (accounts, _database) = with_ana().await;
        let inner = &accounts.inner;
        let mut request = Request::new(());
        request.extensions_mut().insert(PeerAddr(([198, 51, 100, 7], 50_000).into()));
        let peer = Peer::of(request.extensions());
        let mut names = (0..).map(|n: u32| n.to_string());
        while inner.guesses.attempt(&names.next().unwrap(), peer, Instant::now()).is_ok() {}
        while inner.guesses.attempt("ben", None, Instant::now()).is_ok() {}
        let _others = (inner.passwords.turn().await.unwrap(), inner.passwords.turn().await.unwrap());
        for (username, peer) in [("ana", peer), ("ben", None)] {
            let attempt = tokio::time::timeout(Duration::ZERO, accounts.attempt(username, "pw", peer)).await;
            assert!(matches!(attempt, Ok(Ok(Attempt::Throttled(_)))), "{username} does not wait for a turn");
        }
    }

    #[tokio::test]
    async fn a_peer_that_guessed_too_often_waits_whatever_it_sends() {
        let (accounts, _database) = with_ana().await;
        let request = Request::get("/").header("authorization", "Basic YW5hOnB3").body(()).unwrap();
        let mut request = request.into_parts().0;
        request.extensions.insert(PeerAddr(([198, 51, 100, 7], 50_000).into()));
        let peer = Peer::of(&request.extensions);
        let mut names = (0..).map(|n: u32| n.to_string());
        while accounts.inner.guesses.attempt(&names.next().unwrap(), peer, Instant::now()).is_ok() {}
        assert!(matches!(accounts.identify(&request).await, Err(IdentifyError::Throttled { .. })));
        request.extensions.clear();
        assert_eq!(accounts.identify(&request).await.unwrap().credential, Credential::Header);
    }
}
