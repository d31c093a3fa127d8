//! Passwords that are hard to guess and easy to type.

use anyhow::{Context, Result};

/// A new password: four groups of four letters and digits, about 79 bits of chance, without the
/// characters that are taken for one another.
pub(crate) fn generate() -> Result<String> {
    let mut password = String::with_capacity(19);
    let mut random = [0; 64];
    while password.len() < 19 {
        getrandom::fill(&mut random).context("the system gives no random numbers")?;
        // Octets beyond the last multiple of the alphabet's size would favour its beginning.
        let fair = 256 - 256 % ALPHABET.len();
        for &octet in random.iter().filter(|&&octet| usize::from(octet) < fair) {
            if password.len() == 19 {
                break;
            }
            password.push(char::from(ALPHABET[usize::from(octet) % ALPHABET.len()]));
            if [4, 9, 14].contains(&password.len()) {
                password.push('-');
            }
        }
    }
    Ok(password)
}

/// No 0 and o, no 1, i and l.
const ALPHABET: &[u8] = b"23456789abcdefghjkmnpqrstuvwxyz";

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn passwords_have_their_form_and_differ() {
        let made: HashSet<_> = (0..200).map(|_| generate().unwrap()).collect();
        assert_eq!(made.len(), 200);
        for password in &made {
            let groups: Vec<_> = password.split('-').collect();
            assert_eq!(groups.len(), 4, "{password}");
            let good =
                |group: &&str| group.len() == 4 && group.bytes().all(|b| ALPHABET.contains(&b));
            assert!(groups.iter().all(good), "{password}");
        }
        let used: HashSet<_> = made.iter().flat_map(|p| p.bytes()).collect();
        assert_eq!(used.len(), ALPHABET.len() + 1);
    }
}
