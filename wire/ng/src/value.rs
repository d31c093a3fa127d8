//! What dictionaries are made of.

use std::collections::BTreeMap;

/// A dictionary; keys are in the order that bencode demands.
pub type Dictionary = BTreeMap<Vec<u8>, Value>;

/// A value of bencode, which is also what we take from JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A whole number.
    Integer(i64),
    /// Octets; mostly text.
    Text(Vec<u8>),
    /// Values in order.
    List(Vec<Value>),
    /// Values by name.
    Dictionary(Dictionary),
}

impl Value {
    /// An empty dictionary.
    #[must_use]
    pub fn dictionary() -> Self {
        Self::Dictionary(Dictionary::new())
    }

    /// The text, if it is text and UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(octets) => std::str::from_utf8(octets).ok(),
            _ => None,
        }
    }

    /// The number; a text of digits counts as one, since clients send both.
    #[must_use]
    pub fn number(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Text(_) => self.text()?.trim().parse().ok(),
            _ => None,
        }
    }

    /// The texts of a list, or the text alone.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let list = match self {
            Self::List(list) => &list[..],
            one => std::slice::from_ref(one),
        };
        list.iter().filter_map(Self::text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<u64> for Value {
    /// What is too large becomes the largest number.
    fn from(number: u64) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Integer(number.into())
    }
}

impl From<Vec<Value>> for Value {
    fn from(list: Vec<Value>) -> Self {
        Self::List(list)
    }
}

impl<const N: usize> From<[(&str, Value); N]> for Value {
    fn from(entries: [(&str, Value); N]) -> Self {
        let entries = entries.into_iter();
        Self::Dictionary(entries.map(|(key, value)| (key.into(), value)).collect())
    }
}
