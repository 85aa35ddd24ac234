//! `createsuperuser`: makes a user who may do everything, asking for what was not given.

use std::io::{BufRead, Write};

use accounts::{Accounts, Db, Settings};

use crate::failure::Failure;
use crate::options::CreateSuperuser;

pub(crate) async fn run(options: CreateSuperuser) -> Result<(), Failure> {
    let db = Db::open(&options.database.database).await?;
    crate::migrate(&db).await?;
    let accounts = Accounts::new(db, Settings::default())?;
    let (username, email, password) = if options.noinput { given(options)? } else { asked(options)? };
    accounts.create_superuser(&username, &email, &password).await?;
    println!("The user {username} was made.");
    Ok(())
}

fn given(options: CreateSuperuser) -> Result<(String, String, String), Failure> {
    match (options.username, options.password) {
        (Some(username), Some(password)) => Ok((username, options.email.unwrap_or_default(), password)),
        _ => Err(Failure::NoInput),
    }
}

fn asked(options: CreateSuperuser) -> Result<(String, String, String), Failure> {
    let username = options.username.map_or_else(|| ask("Username: "), Ok)?;
    let email = options.email.map_or_else(|| ask("Email address (may be empty): "), Ok)?;
    let password = rpassword::prompt_password("Password: ")?;
    if rpassword::prompt_password("Password (again): ")? != password {
        return Err(Failure::PasswordsDiffer);
    }
    Ok((username, email, password))
}

fn ask(question: &str) -> Result<String, Failure> {
    print!("{question}");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}
