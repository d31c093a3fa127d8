//! The ways in which one and the same thing is said: keys with blanks or hyphens, entries of `flags`,
//! and a single string that the proxy has not parsed.

use crate::bencode::DEEPEST;
use crate::value::{Dictionary, Value};

/// Whether a word is this one; blanks and hyphens are the same, and so are small and large letters.
pub(crate) fn spelled(known: &str, word: &str) -> bool {
    let plain = |byte: u8| match byte {
        b' ' | b'_' => b'-',
        byte => byte.to_ascii_lowercase(),
    };
    known.len() == word.len() && known.bytes().map(plain).eq(word.bytes().map(plain))
}

/// What follows `prefix` and a hyphen.
pub(crate) fn after<'a>(prefix: &str, word: &'a str) -> Option<&'a str> {
    let (head, rest) = word.split_at_checked(prefix.len())?;
    let rest = rest.strip_prefix(['-', ' ', '_', ':'])?;
    spelled(prefix, head).then_some(rest)
}

/// The entries of a string: words, and `key=value` where a value may be a list in brackets.
/// `a b=c d=[e f] g=[h=[i]]`
pub(crate) fn entries(text: &str) -> Vec<Entry> {
    Words { rest: text }.entries(DEEPEST)
}

/// One entry of a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Word(Box<str>),
    Pair(Box<str>, Value),
}

struct Words<'a> {
    rest: &'a str,
}

impl Words<'_> {
    /// Up to the closing bracket, which is taken, or the end.
    fn entries(&mut self, deep: usize) -> Vec<Entry> {
        let mut entries = Vec::new();
        loop {
            self.rest = self.rest.trim_start();
            let Some(first) = self.rest.chars().next() else {
                return entries;
            };
            if first == ']' {
                self.rest = &self.rest[1..];
                return entries;
            }
            entries.push(self.entry(deep));
        }
    }

    fn entry(&mut self, deep: usize) -> Entry {
        let is_end = |c: char| c.is_ascii_whitespace() || matches!(c, '=' | ']');
        let word = self.until(is_end);
        if !self.rest.starts_with('=') {
            // A stray bracket is a word, or nobody would ever take it.
            return Entry::Word(word);
        }
        self.rest = &self.rest[1..];
        match self.rest.strip_prefix('[') {
            Some(rest) if deep > 0 => {
                self.rest = rest;
                let inner = self.entries(deep - 1);
                Entry::Pair(word, collected(inner))
            }
            _ => {
                let value = self.until(|c| c.is_ascii_whitespace() || c == ']');
                Entry::Pair(word, Value::from(&*value))
            }
        }
    }

    fn until(&mut self, end: impl Fn(char) -> bool) -> Box<str> {
        let place = self.rest.find(end).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(place);
        self.rest = rest;
        word.into()
    }
}

/// A list of words, or a dictionary if there is a pair.
fn collected(entries: Vec<Entry>) -> Value {
    let mut list = Vec::new();
    let mut dictionary = Dictionary::new();
    for entry in entries {
        match entry {
            Entry::Word(word) => list.push(Value::from(&*word)),
            Entry::Pair(key, value) => {
                dictionary.insert(key.as_bytes().to_vec(), value);
            }
        }
    }
    match dictionary.is_empty() {
        true => Value::List(list),
        false => Value::Dictionary(dictionary),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_of_flags_has_words_pairs_and_lists() {
        let text = "replace-origin label=x codec=[transcode=[PCMA PCMU] strip=[EVS]] d=[a b] ]=";
        let entries = entries(text);
        assert_eq!(entries[0], Entry::Word("replace-origin".into()));
        assert_eq!(entries[1], Entry::Pair("label".into(), "x".into()));
        let list = |words: &[&str]| Value::List(words.iter().map(|w| Value::from(*w)).collect());
        let codecs = Value::from([
            ("transcode", list(&["PCMA", "PCMU"])),
            ("strip", list(&["EVS"])),
        ]);
        assert_eq!(entries[2], Entry::Pair("codec".into(), codecs));
        assert_eq!(entries[3], Entry::Pair("d".into(), list(&["a", "b"])));
        assert_eq!(entries.len(), 4, "a stray bracket ends the string");
    }

    #[test]
    fn strings_without_sense_end() {
        for text in ["[", "=[", "a=[b=[c", "]]]]", "= = =", &"a=[".repeat(9999)] {
            let _ = entries(text);
        }
    }

    #[test]
    fn spelling_is_forgiven() {
        assert!(spelled("transport-protocol", "transport protocol"));
        assert!(spelled("ICE", "ice") && !spelled("ICE", "ices"));
        assert_eq!(after("codec", "codec-strip-PCMA"), Some("strip-PCMA"));
        assert_eq!(after("codec", "codecs"), None);
        assert_eq!(after("codec", "cö"), None);
    }
}
