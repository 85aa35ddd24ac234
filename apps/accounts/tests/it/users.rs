//! Making users, as the operator's commands do.

use accounts::{AccountError, MIGRATIONS, NewUser, migrate};
use routing::User;

use crate::site::{PASSWORD, Site};

#[tokio::test]
async fn a_superuser_may_do_everything() {
    let site = Site::new().await;
    let made = site.accounts.create_superuser("root", "root@shop.example", "secret").await.unwrap();
    assert!(made.is_staff() && made.is_superuser() && made.is_active());
    let found = site.accounts.check_password("root", "secret").await.unwrap().unwrap();
    assert_eq!((*found).clone(), made);
    let query =
        "SELECT count(*) AS n FROM accounts_user WHERE email = 'root@shop.example' AND created > 1700000000";
    assert_eq!(site.number(query).await, 1);
}

#[tokio::test]
async fn a_plain_user_may_little() {
    let site = Site::new().await;
    let ana = site.accounts.check_password("ana", PASSWORD).await.unwrap().unwrap();
    assert!(!ana.is_staff() && !ana.is_superuser() && ana.is_active());
    assert_eq!(ana.username(), "ana");
}

#[tokio::test]
async fn what_is_not_valid_is_told_and_not_made() {
    let site = Site::new().await;
    let long = "x".repeat(1025);
    let make = async |username, email, password| {
        site.accounts.create_superuser(username, email, password).await.unwrap_err()
    };
    assert!(matches!(make("no spaces", "", "x").await, AccountError::InvalidUsername(_)));
    assert!(matches!(make("", "", "x").await, AccountError::InvalidUsername(_)));
    assert!(matches!(make("ben", "nowhere", "x").await, AccountError::InvalidEmail(_)));
    assert!(matches!(make("ben", "", "").await, AccountError::EmptyPassword));
    assert!(matches!(make("ben", "", &long).await, AccountError::PasswordTooLong));
    assert!(matches!(make("ana", "", "x").await, AccountError::UsernameTaken(name) if name == "ana"));
    assert_eq!(site.number("SELECT count(*) AS n FROM accounts_user").await, 1);
}

#[tokio::test]
async fn a_password_is_set_for_someone() {
    let site = Site::new().await;
    let nobody = site.accounts.set_password("ben", "x").await.unwrap_err();
    assert!(matches!(nobody, AccountError::NoSuchUser(name) if name == "ben"));
    let empty = site.accounts.set_password("ana", "").await.unwrap_err();
    assert!(matches!(empty, AccountError::EmptyPassword));
    assert!(site.accounts.check_password("ana", PASSWORD).await.unwrap().is_some());
}

#[tokio::test]
async fn an_inactive_user_has_no_right_password() {
    let site = Site::new().await;
    site.execute("UPDATE accounts_user SET is_active = FALSE").await;
    assert!(site.accounts.check_password("ana", PASSWORD).await.unwrap().is_none());
}

#[tokio::test]
async fn numbers_of_deleted_users_are_not_given_again() {
    let site = Site::new().await;
    assert!(site.accounts.has_users().await.unwrap());
    let before = site.number("SELECT id AS n FROM accounts_user").await;
    site.execute("DELETE FROM accounts_user").await;
    assert!(!site.accounts.has_users().await.unwrap());
    let ben = NewUser { username: "ben", email: "", password: "x", is_staff: true, is_superuser: false };
    let ben = site.accounts.create_user(ben).await.unwrap();
    assert!(ben.id() > before);
    assert!(ben.is_staff() && !ben.is_superuser());
}

#[tokio::test]
async fn migrating_again_changes_nothing() {
    let site = Site::new().await;
    assert_eq!(migrate(&site.db, &[MIGRATIONS]).await.unwrap(), [""; 0]);
    assert!(site.accounts.check_password("ana", PASSWORD).await.unwrap().is_some());
}
