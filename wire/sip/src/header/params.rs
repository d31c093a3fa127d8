//! Parameters: `;name=value` pairs.

use crate::scan::{split_at_byte, split_outside};

/// Parameters of a header value or URI, without the first semicolon. Parsed while iterating.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Params<'a>(pub &'a str);

impl<'a> Params<'a> {
    /// Names and values in order. A name without `=` has an empty value; quotes are kept.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            loop {
                if rest.is_empty() {
                    return None;
                }
                let (one, after) = split_outside(rest, b';').unwrap_or((rest, ""));
                rest = after;
                let (name, value) = split_at_byte(one, b'=').unwrap_or((one, ""));
                let name = name.trim_ascii();
                if !name.is_empty() {
                    return Some((name, value.trim_ascii()));
                }
            }
        })
    }

    /// The value of the parameter `name`, compared without case; empty if it has none.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&'a str> {
        if self.0.is_empty() {
            return None;
        }
        self.iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Whether the parameter `name` is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hide_semicolons() {
        let params = Params(" tag = abc ;x;y=\"a;b\\\";c\"; ;z");
        let all: Vec<_> = params.iter().collect();
        assert_eq!(
            all,
            [("tag", "abc"), ("x", ""), ("y", "\"a;b\\\";c\""), ("z", "")]
        );
        assert_eq!(params.find("TAG"), Some("abc"));
        assert!(!params.has("w"));
    }
}
