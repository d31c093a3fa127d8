//! A waiting message as a record.

use base::{Token, UnixTime};

use super::TextMessage;
use crate::record::{Reader, RecordError, put_length, put_text};

/// What a record says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A message waits.
    Waits(TextMessage),
    /// It has been taken.
    Gone(Token),
}

pub(super) fn waits(message: &TextMessage) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + message.body.len());
    out.extend([VERSION, WAITS]);
    for text in [
        message.id.as_str(),
        &message.to,
        &message.from,
        &message.display,
        &message.content_type,
    ] {
        put_text(&mut out, text);
    }
    out.extend_from_slice(&message.at.0.to_le_bytes());
    put_length(&mut out, message.fields.len());
    for (name, value) in &message.fields {
        put_text(&mut out, name);
        put_text(&mut out, value);
    }
    put_length(&mut out, message.body.len());
    out.extend_from_slice(&message.body);
    out
}

pub(super) fn gone(id: Token) -> Vec<u8> {
    let mut out = vec![VERSION, GONE];
    put_text(&mut out, id.as_str());
    out
}

pub(super) fn decode(record: &[u8]) -> Result<Entry, RecordError> {
    let mut reader = Reader(record);
    match reader.byte()? {
        VERSION => {}
        other => return Err(RecordError::Version(other)),
    }
    let entry = match reader.byte()? {
        WAITS => Entry::Waits(message(&mut reader)?),
        GONE => Entry::Gone(token(&mut reader)?),
        _ => return Err(RecordError::Malformed),
    };
    match reader.0 {
        [] => Ok(entry),
        _ => Err(RecordError::Malformed),
    }
}

fn message(reader: &mut Reader<'_>) -> Result<TextMessage, RecordError> {
    let id = token(reader)?;
    let mut text = || reader.text().map(String::into_boxed_str);
    let (to, from, display, content_type) = (text()?, text()?, text()?, text()?);
    let at = UnixTime(u64::from_le_bytes(reader.array()?));
    let fields = reader.list(|reader| Ok((reader.text()?, reader.text()?)))?;
    let length = reader.length()?;
    Ok(TextMessage {
        id,
        to,
        from,
        display,
        at,
        content_type,
        fields,
        body: reader.take(length)?.into(),
    })
}

fn token(reader: &mut Reader<'_>) -> Result<Token, RecordError> {
    Token::parse(&reader.text()?).ok_or(RecordError::Malformed)
}

pub(super) const VERSION: u8 = 1;
const WAITS: u8 = 1;
const GONE: u8 = 2;

#[cfg(test)]
mod tests {
    use base::{Mint, Slot};

    use super::*;

    #[test]
    fn decoding_gives_back_what_was_encoded_and_nothing_else_passes() {
        let mut mint = Mint::new(Slot::new(1), [0; 32]);
        let message = super::super::tests::message(&mut mint, "ü", 7);
        let whole = waits(&message);
        assert_eq!(decode(&whole), Ok(Entry::Waits(message)));
        for end in 0..whole.len() {
            assert!(decode(&whole[..end]).is_err(), "cut at {end}");
        }
        let id = mint.token();
        assert_eq!(decode(&gone(id)), Ok(Entry::Gone(id)));
        let long = [gone(id), vec![0]].concat();
        assert_eq!(decode(&long), Err(RecordError::Malformed));
        assert_eq!(decode(&[9]), Err(RecordError::Version(9)));
    }
}
