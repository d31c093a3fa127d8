//! Parameters: `;name=value` pairs.

use memchr::{memchr, memchr2, memchr3};

use super::LWS;

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
                let (name, value) = one.split_once('=').unwrap_or((one, ""));
                let name = name.trim_matches(LWS);
                if !name.is_empty() {
                    return Some((name, value.trim_matches(LWS)));
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

/// Splits at the first `at` that is neither inside quotes nor inside angle brackets.
pub(crate) fn split_outside(text: &str, at: u8) -> Option<(&str, &str)> {
    let position = find_outside(text.as_bytes(), at)?;
    Some((&text[..position], &text[position + 1..]))
}

fn find_outside(bytes: &[u8], at: u8) -> Option<usize> {
    let mut from = 0;
    loop {
        let found = from + memchr3(at, b'"', b'<', &bytes[from..])?;
        match bytes[found] {
            b'"' => from = end_of_quotes(bytes, found + 1)?,
            b'<' => from = found + 1 + memchr(b'>', &bytes[found + 1..])?,
            _ => return Some(found),
        }
    }
}

/// Where a quoted string ends whose inside begins at `from`.
fn end_of_quotes(bytes: &[u8], mut from: usize) -> Option<usize> {
    loop {
        let found = from + memchr2(b'"', b'\\', bytes.get(from..)?)?;
        if bytes[found] == b'"' {
            return Some(found + 1);
        }
        from = found + 2;
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
