//! Personal data in logs.

use std::fmt::{self, Display};
use std::sync::atomic::{AtomicBool, Ordering};

/// A number, URI or address of a person. Its `Display` shows the first two and the last two
/// characters, unless the operator asked for logs in clear with [`show`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pii<T>(pub T);

impl<T: Display> Display for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if SHOWN.load(Ordering::Relaxed) {
            return self.0.fmt(f);
        }
        let text = self.0.to_string();
        let length = text.chars().count();
        if length <= 4 {
            return f.write_str("…");
        }
        text.chars().take(2).try_for_each(|c| write!(f, "{c}"))?;
        f.write_str("…")?;
        text.chars()
            .skip(length - 2)
            .try_for_each(|c| write!(f, "{c}"))
    }
}

/// Chooses whether personal data is logged in clear, for the whole process.
pub fn show(shown: bool) {
    SHOWN.store(shown, Ordering::Relaxed);
}

static SHOWN: AtomicBool = AtomicBool::new(false);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_all_but_the_ends() {
        assert_eq!(Pii("sip:alice@example.com").to_string(), "si…om");
        assert_eq!(Pii("1001").to_string(), "…");
    }
}
