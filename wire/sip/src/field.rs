//! Header fields, and the index of a message's fields by name.

use std::fmt;

use arrayvec::ArrayVec;

use crate::message::MAX_FIELDS;
use crate::scan::token_length;
use crate::{HeaderName, ParseError};

/// One header field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field<'a> {
    /// Which one.
    pub name: HeaderName,
    /// The name as written.
    pub spelling: &'a str,
    /// The value, white space trimmed, folds kept.
    pub value: &'a str,
}

impl<'a> Field<'a> {
    /// Parses a line with its continuation lines.
    pub(crate) fn parse(line: &'a str) -> Option<Self> {
        let bytes = line.as_bytes();
        let length = token_length(bytes);
        let spaces = bytes[length..]
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t'))
            .count();
        let colon = length + spaces;
        if length == 0 || bytes.get(colon) != Some(&b':') {
            return None;
        }
        let spelling = &line[..length];
        Some(Self {
            name: HeaderName::parse(spelling.as_bytes()),
            spelling,
            value: line[colon + 1..].trim_ascii(),
        })
    }
}

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.spelling, self.value)
    }
}

/// The fields of a message in order, with an index by name.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    list: List<'a>,
    /// Where the first field of each name stands, counted from 1; 0: there is none. The last number
    /// stands for itself and all above.
    first: [u8; HeaderName::COUNT],
    /// One bit for each name that stands more than once.
    repeated: u64,
}

impl<'a> Fields<'a> {
    pub(crate) fn as_slice(&self) -> &[Field<'a>] {
        match &self.list {
            List::Few(fields) => fields,
            List::Many(fields) => fields,
        }
    }

    pub(crate) fn push(&mut self, field: Field<'a>) -> Result<(), ParseError> {
        let length = self.as_slice().len();
        if length == MAX_FIELDS {
            return Err(ParseError::TooManyHeaders);
        }
        if let Some(first) = self.first.get_mut(field.name as usize) {
            if *first == 0 {
                *first = u8::try_from(length + 1).unwrap_or(u8::MAX);
            } else {
                self.repeated |= 1 << (field.name as u64);
            }
        }
        self.list.push(field);
        Ok(())
    }

    /// The first field called `name`.
    pub(crate) fn first(&self, name: HeaderName) -> Option<&Field<'a>> {
        self.all(name).next()
    }

    /// All fields called `name`, in order.
    pub(crate) fn all(&self, name: HeaderName) -> impl Iterator<Item = &Field<'a>> {
        let from = match self.first.get(name as usize) {
            Some(0) => usize::MAX,
            Some(&first) => usize::from(first) - 1,
            None => 0,
        };
        let fields = self.as_slice().get(from..).unwrap_or_default();
        fields.iter().filter(move |field| field.name == name)
    }

    /// Whether a known `name` stands more than once.
    pub(crate) fn is_repeated(&self, name: HeaderName) -> bool {
        self.repeated >> (name as u64) & 1 == 1
    }
}

impl Default for Fields<'_> {
    fn default() -> Self {
        Self {
            list: List::Few(ArrayVec::new()),
            first: [0; HeaderName::COUNT],
            repeated: 0,
        }
    }
}

/// Every name has its bit in [`Fields::repeated`].
const _: () = assert!(HeaderName::COUNT < 64);

/// Fields without an allocation unless there are very many.
///
/// Covariant, other than `SmallVec`: a message may be lent for less than its bytes live.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one")]
enum List<'a> {
    Few(ArrayVec<Field<'a>, 24>),
    Many(Vec<Field<'a>>),
}

impl<'a> List<'a> {
    fn push(&mut self, field: Field<'a>) {
        match self {
            Self::Many(fields) => fields.push(field),
            Self::Few(fields) if !fields.is_full() => fields.push(field),
            Self::Few(fields) => {
                let mut many = fields.to_vec();
                many.push(field);
                *self = Self::Many(many);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_apart_at_its_colon() {
        let parse = |line| Field::parse(line).map(|field| (field.spelling, field.value));
        assert_eq!(parse("Subject :\t a: b "), Some(("Subject", "a: b")));
        assert_eq!(parse("s:"), Some(("s", "")));
        for bad in ["", ":", " a: b", "a b: c", "a\n : b", "a", "a@: b"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_index_finds_what_a_search_finds() {
        let names = [
            HeaderName::Via,
            HeaderName::Other,
            HeaderName::Route,
            HeaderName::Via,
        ];
        let mut fields = Fields::default();
        for index in 0..MAX_FIELDS {
            let name = match index {
                0..250 => names[index % 4],
                250..255 => HeaderName::Path,
                _ => HeaderName::Event,
            };
            let field = Field {
                name,
                spelling: "x",
                value: "",
            };
            assert_eq!(fields.push(field), Ok(()));
        }
        for name in [
            HeaderName::Via,
            HeaderName::Other,
            HeaderName::Path,
            HeaderName::Event,
            HeaderName::To,
        ] {
            let searched = fields
                .as_slice()
                .iter()
                .filter(|field| field.name == name)
                .count();
            assert_eq!(fields.all(name).count(), searched, "{name:?}");
            assert_eq!(
                fields.is_repeated(name),
                searched > 1 && name != HeaderName::Other
            );
        }
        let one_more = fields.as_slice()[0];
        assert_eq!(fields.push(one_more), Err(ParseError::TooManyHeaders));
    }
}
