//! The configuration that an empty folder gets.

use std::fs;
use std::io;

use anyhow::{Context, Result};

use crate::folder::{Folder, replace_files};
use crate::{environment, password, user_file};

/// A user that was made, with the password.
#[derive(Debug)]
pub(crate) struct SeededUser {
    pub(crate) name: &'static str,
    pub(crate) password: String,
}

/// Writes a working configuration if `etc` is empty or absent, and returns its users; else `None`,
/// and nothing is touched.
pub(crate) fn seed(folder: &Folder) -> Result<Option<Vec<SeededUser>>> {
    if !is_empty(folder)? {
        return Ok(None);
    }
    let mut users = Vec::new();
    let mut users_text = USERS.to_owned();
    for name in ["1001", "1002"] {
        let password = password::generate()?;
        users_text = user_file::add(&users_text, name, None, &password)?;
        users.push(SeededUser { name, password });
    }
    write(folder, &users_text, environment::domain())?;
    Ok(Some(users))
}

/// Like [`seed`], but without users: for who adds the first one before the first start.
pub(crate) fn seed_without_users(folder: &Folder) -> Result<()> {
    if is_empty(folder)? {
        write(folder, USERS, environment::domain())?;
    }
    Ok(())
}

/// Whether there is no configuration at all.
pub(crate) fn is_empty(folder: &Folder) -> Result<bool> {
    let etc = folder.etc();
    match fs::read_dir(&etc) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error).with_context(|| format!("{} can't be read", etc.display())),
    }
}

/// Writes all files; a domain becomes the realm.
fn write(folder: &Folder, users: &str, domain: Option<String>) -> Result<()> {
    let server = match domain {
        Some(domain) => SERVER.replacen(REALM, &format!("realm = \"{domain}\""), 1),
        None => SERVER.to_owned(),
    };
    replace_files(&[
        (&folder.users_file(), users),
        (&folder.dialplan_file(), DIALPLAN),
        (&folder.trunks_file(), TRUNKS),
        (&folder.server_file(), &server),
    ])
}

pub(crate) const SERVER: &str = include_str!("../assets/dialtone.toml");
pub(crate) const DIALPLAN: &str = include_str!("../assets/dialplan.toml");
/// The first of its kind is that of `[sip]`.
const REALM: &str = "realm = \"dialtone\"";
const TRUNKS: &str = include_str!("../assets/trunks.toml");
const USERS: &str = include_str!("../assets/users.toml");

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::settings;

    fn folder() -> (tempfile::TempDir, Folder) {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path());
        folder.create().unwrap();
        (root, folder)
    }

    #[test]
    fn the_seeded_configuration_is_valid_and_holds_the_users() {
        let (_root, folder) = folder();
        let seeded = seed(&folder).unwrap().unwrap();
        let loaded = settings::load(&folder, &[]).unwrap();
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        let users = &loaded.settings.users;
        assert_eq!(users.len(), 2);
        for (user, seeded) in users.iter().zip(&seeded) {
            assert_eq!(
                (&*user.name, &user.password),
                (seeded.name, &seeded.password)
            );
            assert_eq!(user.number, user.name);
        }
        assert_eq!(loaded.settings.dialplan.extensions.len(), 8);
        let mode = fs::metadata(folder.users_file())
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_domain_becomes_the_realm() {
        let (_root, folder) = folder();
        write(&folder, USERS, Some("pbx.example.com".into())).unwrap();
        let settings = settings::load(&folder, &[]).unwrap().settings;
        assert_eq!(settings.server.sip.realm, "pbx.example.com");
    }

    #[test]
    fn every_seeded_setting_is_at_its_default() {
        let (_root, folder) = folder();
        write(&folder, USERS, None).unwrap();
        let seeded = settings::load(&folder, &[]).unwrap().settings.server;
        fs::remove_file(folder.server_file()).unwrap();
        let default = settings::load(&folder, &[]).unwrap().settings.server;
        assert_eq!(format!("{seeded:?}"), format!("{default:?}"));
    }

    #[test]
    fn without_users_it_is_valid_as_well() {
        let (_root, folder) = folder();
        seed_without_users(&folder).unwrap();
        let settings = settings::load(&folder, &[]).unwrap().settings;
        assert!(settings.users.is_empty());
        assert!(seed(&folder).unwrap().is_none());
    }

    #[test]
    fn an_existing_configuration_is_never_touched() {
        let (_root, folder) = folder();
        fs::write(folder.dialplan_file(), "# mine").unwrap();
        assert!(seed(&folder).unwrap().is_none());
        assert_eq!(fs::read_dir(folder.etc()).unwrap().count(), 1);
        assert_eq!(
            fs::read_to_string(folder.dialplan_file()).unwrap(),
            "# mine"
        );
    }
}
