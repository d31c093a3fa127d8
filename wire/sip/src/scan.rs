//! Scanning text for what SIP's grammar is made of.

use memchr::{memchr, memchr2, memchr3};

/// The text before and after the first `byte`, which is an ASCII one.
#[inline]
pub(crate) fn split_at_byte(text: &str, byte: u8) -> Option<(&str, &str)> {
    let at = memchr(byte, text.as_bytes())?;
    Some((&text[..at], &text[at + 1..]))
}

/// The text before and after the first octet of white space.
#[inline]
pub(crate) fn split_at_space(text: &str) -> Option<(&str, &str)> {
    let at = text.bytes().position(is_space)?;
    Some((&text[..at], &text[at + 1..]))
}

/// Splits at the first `byte` that is neither inside quotes nor inside angle brackets.
#[inline]
pub(crate) fn split_outside(text: &str, byte: u8) -> Option<(&str, &str)> {
    let at = find_outside(text.as_bytes(), byte)?;
    Some((&text[..at], &text[at + 1..]))
}

fn find_outside(bytes: &[u8], byte: u8) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr3(byte, b'"', b'<', bytes.get(from..)?)?;
        from = match bytes[at] {
            found if found == byte => return Some(at),
            b'"' => at + 1 + quoted_length(&bytes[at + 1..])?,
            _ => at + 1 + memchr(b'>', &bytes[at + 1..])? + 1,
        };
    }
}

/// Whether every quote and every angle bracket that opens in the text also closes there, so that
/// text put behind it is not swallowed.
#[inline]
pub(crate) fn is_closed(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut from = 0;
    while let Some(at) = memchr2(b'"', b'<', &bytes[from..]) {
        let inside = &bytes[from + at + 1..];
        let length = match bytes[from + at] {
            b'"' => quoted_length(inside),
            _ => memchr(b'>', inside).map(|close| close + 1),
        };
        match length {
            Some(length) => from += at + 1 + length,
            None => return false,
        }
    }
    true
}

/// How long a quoted string is behind its opening quote, the closing one included.
pub(crate) fn quoted_length(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr2(b'"', b'\\', bytes.get(from..)?)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        from = at + 2;
    }
}

/// How many octets at the front belong to a token.
#[inline]
pub(crate) fn token_length(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .position(|&byte| !is_token_byte(byte))
        .unwrap_or(bytes.len())
}

/// RFC 3261 §25.1: token.
#[inline]
pub(crate) fn is_token_byte(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// Linear white space: a folded line continues after it (RFC 3261 §7.3.1).
#[inline]
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let octet = byte as u8;
        table[byte] = octet.is_ascii_alphanumeric()
            || matches!(
                octet,
                b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~'
            );
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_brackets_hide() {
        for (text, at) in [
            ("a,b", Some(1)),
            ("\"a,\\\",\" ,", Some(8)),
            ("<a,\"b>,", Some(6)),
            (">,", Some(1)),
            ("\"a\\", None),
            ("\"a,", None),
            ("<a,", None),
            ("", None),
        ] {
            assert_eq!(find_outside(text.as_bytes(), b','), at, "{text}");
        }
    }

    #[test]
    fn what_opens_must_close() {
        for closed in ["", "a", "\"a\"", "\"<\"", "<\">", "a>b", "\"\\\"\"<>\"x\""] {
            assert!(is_closed(closed), "{closed}");
        }
        for open in ["\"", "<", "\"a\"\"", "<>\"", "\"\\\"", "\"\\", "a<b\""] {
            assert!(!is_closed(open), "{open}");
        }
    }

    /// RFC 3261 §25.1.
    #[test]
    fn tokens_end_where_the_grammar_says() {
        assert_eq!(token_length(b"Call-ID: x"), 7);
        assert_eq!(token_length(b"!%*_+`'~.-aZ09"), 14);
        assert_eq!(token_length("é".as_bytes()), 0);
        assert!(!is_token_byte(b'@') && !is_token_byte(b'"') && !is_token_byte(0x7f));
    }
}
