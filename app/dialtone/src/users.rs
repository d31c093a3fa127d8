//! `dialtone user …`

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use api::{Client, ClientError, Reloaded};
use serde_json::json;

use crate::ask;
use crate::cli::{Output, User};
use crate::folder::{Folder, replace_file};
use crate::seed;
use crate::settings::report::Fault;
use crate::settings::{self, users};
use crate::terminal::{self, Table};
use crate::{password, user_file};

/// Carries out the command.
pub(crate) fn run(folder: &Folder, command: &User) -> Result<()> {
    match command {
        User::Add {
            name,
            number,
            password,
            output,
        } => {
            users::check_name(name).map_err(refusal)?;
            if let Some(number) = number {
                users::check_number(number).map_err(refusal)?;
            }
            let password = chosen(password.password.as_deref())?;
            folder.create()?;
            seed::seed_without_users(folder)?;
            edit(folder, |text| {
                user_file::add(text, name, number.as_deref(), &password)
            })?;
            let number = number.as_deref().unwrap_or(name);
            show(name, Some(number), &password, *output)
        }
        User::Passwd {
            name,
            password,
            output,
        } => {
            let password = chosen(password.password.as_deref())?;
            edit(folder, |text| {
                user_file::set_password(text, name, &password)
            })?;
            show(name, None, &password, *output)
        }
        User::Remove { name, output } => {
            edit(folder, |text| user_file::remove(text, name))?;
            if output.json {
                ask::print_json(&json!({ "removed": name }))?;
            }
            Ok(())
        }
        User::List(output) => list(folder, *output),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err calls")]
fn refusal(fault: Fault) -> anyhow::Error {
    anyhow!("{}; {}", fault.message, fault.remedy)
}

fn chosen(given: Option<&str>) -> Result<String> {
    match given {
        Some(given) => {
            users::check_password(given).map_err(refusal)?;
            Ok(given.to_owned())
        }
        None => password::generate(),
    }
}

/// Changes the file if the result is valid, and lets a running server follow.
fn edit(folder: &Folder, change: impl FnOnce(&str) -> Result<String>) -> Result<()> {
    let path = folder.users_file();
    // Two commands at once would each undo what the other did.
    let turn = fs::File::open(folder.etc())
        .with_context(|| format!("{} can't be read", folder.etc().display()))?;
    turn.lock().context("the configuration can't be locked")?;
    let text = read(&path)?;
    let changed = change(&text)?;
    let problems = settings::check_users(&path, &changed);
    if let Some(problem) = problems.first() {
        bail!("{problem}\nnothing was changed");
    }
    replace_file(&path, &changed)
        .with_context(|| format!("{} can't be written", path.display()))?;
    follow(folder)
}

fn read(path: &Path) -> Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other.with_context(|| format!("{} can't be read", path.display())),
    }
}

fn follow(folder: &Folder) -> Result<()> {
    match Client::new(&folder.socket()).post::<Reloaded>("/reload") {
        Ok(_) | Err(ClientError::NotRunning { .. }) => Ok(()),
        Err(error) => {
            Err(error).context("users.toml was changed, but the running server did not follow")
        }
    }
}

fn show(name: &str, number: Option<&str>, password: &str, output: Output) -> Result<()> {
    let mut stdout = io::stdout().lock();
    if output.json {
        let mut user = json!({ "name": name, "password": password });
        if let Some(number) = number {
            user["number"] = number.into();
        }
        writeln!(stdout, "{user:#}")?;
    } else {
        writeln!(stdout, "user      {name}")?;
        if let Some(number) = number {
            writeln!(stdout, "number    {number}")?;
        }
        writeln!(stdout, "password  {password}")?;
    }
    Ok(())
}

fn list(folder: &Folder, output: Output) -> Result<()> {
    let settings = settings::load(folder, &[])?.settings;
    let mut stdout = io::stdout().lock();
    if output.json {
        let users = settings.users.iter().map(|user| {
            json!({
                "name": user.name,
                "number": user.number,
                "display_name": user.display_name,
                "max_contacts": user.max_contacts,
            })
        });
        writeln!(stdout, "{:#}", json!(users.collect::<Vec<_>>()))?;
        return Ok(());
    }
    let mut table = Table::new(&["NAME", "NUMBER", "DISPLAY NAME", "PHONES AT MOST"]);
    for user in &settings.users {
        let most = user.max_contacts.to_string();
        table.row([
            user.name.clone(),
            user.number.clone(),
            user.display_name.clone(),
            most,
        ]);
    }
    let colours = terminal::colours(&stdout);
    write!(stdout, "{}", table.render(terminal::width(), colours))?;
    Ok(())
}
