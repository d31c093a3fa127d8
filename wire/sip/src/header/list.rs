//! Values separated by commas.

use crate::scan::split_outside;

/// Splits a header value at its commas, respecting quotes and angle brackets.
pub fn comma_list(value: &str) -> List<'_> {
    List { rest: Some(value) }
}

/// Iterates over the values of a comma-separated list; empty ones are left out.
#[derive(Clone, Debug)]
pub struct List<'a> {
    rest: Option<&'a str>,
}

impl<'a> Iterator for List<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            let rest = self.rest?;
            let one = match split_outside(rest, b',') {
                Some((one, after)) => {
                    self.rest = Some(after);
                    one
                }
                None => {
                    self.rest = None;
                    rest
                }
            };
            let one = one.trim_ascii();
            if !one.is_empty() {
                return Some(one);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_quotes_and_brackets_do_not_split() {
        let all: Vec<_> = comma_list("\"A, B\" <sip:a,b@c> , , <sip:d>").collect();
        assert_eq!(all, ["\"A, B\" <sip:a,b@c>", "<sip:d>"]);
    }
}
