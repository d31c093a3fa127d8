//! Random numbers, and those that are kept.

use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;

use anyhow::{Context, Result};

use crate::folder::{Folder, replace_file};

/// A number that nobody can guess.
pub(super) fn random() -> Result<[u8; 32]> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).context("the system gives no random numbers")?;
    Ok(random)
}

/// The secret from which tokens of forwarded calls are made: the folder's, made at its first start.
pub(super) fn routes(folder: &Folder) -> Result<[u8; 32]> {
    let path = folder.route_secret();
    let shown = path.display();
    match fs::read_to_string(&path) {
        Ok(text) => parse(text.trim_ascii()).with_context(|| {
            format!(
                "{shown} is damaged; remove it, and a new one is made: calls by the dial plan's \
                 step proxy that are under way then end without a record"
            )
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let secret = random()?;
            let written = replace_file(&path, &print(&secret));
            written.with_context(|| format!("{shown} can't be written"))?;
            Ok(secret)
        }
        Err(error) => Err(error).with_context(|| format!("{shown} can't be read")),
    }
}

fn print(secret: &[u8; 32]) -> String {
    let mut text = String::with_capacity(65);
    for octet in secret {
        // A string takes everything.
        let _ = write!(text, "{octet:02x}");
    }
    text.push('\n');
    text
}

fn parse(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    let mut secret = [0; 32];
    if digits.len() != 2 * secret.len() {
        return None;
    }
    for (octet, digits) in secret.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = [digits[0], digits[1]].map(|digit| char::from(digit).to_digit(16));
        *octet = u8::try_from(high? << 4 | low?).ok()?;
    }
    Some(secret)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_secret_of_a_folder_is_made_once_and_is_its_owners_alone() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path());
        folder.create().unwrap();
        let first = routes(&folder).unwrap();
        assert_eq!(routes(&folder).unwrap(), first);
        let mode = fs::metadata(folder.route_secret()).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        let other = tempfile::tempdir().unwrap();
        let other = Folder::new(other.path());
        other.create().unwrap();
        assert_ne!(routes(&other).unwrap(), first);
    }

    #[test]
    fn a_damaged_secret_is_not_replaced_in_silence() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path());
        folder.create().unwrap();
        for damaged in ["", "zz", &"+1".repeat(32), &"é".repeat(32)] {
            fs::write(folder.route_secret(), damaged).unwrap();
            let refusal = routes(&folder).unwrap_err().to_string();
            assert!(refusal.contains("remove it"), "{refusal}");
        }
    }
}
