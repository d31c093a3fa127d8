//! Edits of `users.toml` that keep comments and order.

use anyhow::{Context, Result, bail};
use toml_edit::{DocumentMut, Item, Table, value};

/// `text` with another user at its end.
pub(crate) fn add(text: &str, name: &str, number: Option<&str>, password: &str) -> Result<String> {
    let mut document = parse(text)?;
    let users = users(&mut document)?;
    if users.contains_key(name) {
        bail!(
            "there is a user {name} already; change the password with `dialtone user passwd {name}`"
        );
    }
    let mut user = Table::new();
    user.insert("password", value(password));
    if let Some(number) = number.filter(|&number| number != name) {
        user.insert("number", value(number));
    }
    user.decor_mut().set_prefix("\n");
    users.insert(name, Item::Table(user));
    Ok(document.to_string())
}

/// `text` with a user's password changed.
pub(crate) fn set_password(text: &str, name: &str, password: &str) -> Result<String> {
    let mut document = parse(text)?;
    let user = users(&mut document)?.get_mut(name);
    let user = user.and_then(Item::as_table_like_mut);
    let user = user.with_context(|| unknown(name))?;
    match user.get_mut("password").and_then(Item::as_value_mut) {
        Some(old) => {
            // The comment after it stays.
            let decor = old.decor().clone();
            *old = password.into();
            *old.decor_mut() = decor;
        }
        None => drop(user.insert("password", value(password))),
    }
    Ok(document.to_string())
}

/// `text` without a user, and without the comments right above it.
pub(crate) fn remove(text: &str, name: &str) -> Result<String> {
    let mut document = parse(text)?;
    let removed = users(&mut document)?.remove(name);
    removed.with_context(|| unknown(name))?;
    Ok(document.to_string())
}

fn parse(text: &str) -> Result<DocumentMut> {
    text.parse::<DocumentMut>()
        .context("users.toml is not valid TOML; `dialtone check` says where")
}

fn users(document: &mut DocumentMut) -> Result<&mut Table> {
    let mut implicit = Table::new();
    implicit.set_implicit(true);
    let users = document.entry("user").or_insert(Item::Table(implicit));
    users
        .as_table_mut()
        .context("users.toml has no [user.NAME] tables; `dialtone check` says more")
}

fn unknown(name: &str) -> String {
    format!("there is no user {name}; `dialtone user list` shows all")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# Our people.

# The boss.
[user.1001]
password = \"secret-one\" # changed in May
display_name = \"Ada\"

[user.zoe] # last by choice
number = \"2000\"
password = 'secret-two'
# The end.
";

    #[test]
    fn adding_changes_nothing_else() {
        let text = add(FILE, "1003", Some("3000"), "p\"w").unwrap();
        let rest = text
            .strip_prefix(FILE.trim_end_matches("# The end.\n"))
            .unwrap();
        assert!(
            rest.contains("[user.1003]\npassword = 'p\"w'\nnumber = \"3000\"\n"),
            "{rest}"
        );
        assert!(rest.contains("# The end.\n"));
        let again = add(&text, "1003", None, "x").unwrap_err().to_string();
        assert!(again.contains("user passwd 1003"), "{again}");
    }

    #[test]
    fn adding_to_an_empty_file_makes_one_table() {
        let text = add("", "1001", Some("1001"), "pw").unwrap();
        assert_eq!(text.trim_start(), "[user.1001]\npassword = \"pw\"\n");
    }

    #[test]
    fn a_changed_password_keeps_its_comment_and_place() {
        let text = set_password(FILE, "1001", "new").unwrap();
        assert_eq!(text, FILE.replace("secret-one", "new"));
        let text = set_password(FILE, "zoe", "new").unwrap();
        assert_eq!(text, FILE.replace("'secret-two'", "\"new\""));
        assert!(set_password(FILE, "bob", "new").is_err());
    }

    #[test]
    fn removing_keeps_the_others() {
        let text = remove(FILE, "1001").unwrap();
        assert!(
            text.contains("[user.zoe] # last by choice\nnumber = \"2000\""),
            "{text}"
        );
        assert!(
            !text.contains("1001") && text.contains("# The end."),
            "{text}"
        );
        let text = remove(&text, "zoe").unwrap();
        assert!(
            add(&text, "1001", None, "pw")
                .unwrap()
                .contains("[user.1001]")
        );
        assert!(remove(&text, "zoe").is_err());
    }

    #[test]
    fn a_broken_file_is_not_touched() {
        assert!(add("[user.1001", "1002", None, "pw").is_err());
        assert!(add("user = 3", "1002", None, "pw").is_err());
    }
}
