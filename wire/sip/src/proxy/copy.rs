//! A message copied with few changes: what is not changed is copied in long runs, octet by octet.

use crate::{Field, Message};

/// Copies a message's header section and body into a buffer.
///
/// The user goes through the fields in order and [`replace`](Self::replace)s some; the rest follows by
/// itself.
#[derive(Debug)]
pub(super) struct Copy<'m, 'a> {
    message: &'m Message<'a>,
    /// Where the next run of unchanged octets begins.
    from: usize,
}

impl<'m, 'a> Copy<'m, 'a> {
    /// Begins behind the start line.
    pub(super) fn new(message: &'m Message<'a>) -> Self {
        let from = line_start(message, 0);
        Self { message, from }
    }

    /// Begins with the start line, which is copied.
    pub(super) fn from_start(message: &'m Message<'a>, bytes: &mut Vec<u8>) -> Self {
        let copy = Self::new(message);
        let line = message.bytes().get(..copy.from).unwrap_or(&[]);
        bytes.extend_from_slice(line.trim_ascii_start());
        copy
    }

    /// Copies all before the field at `index`, and leaves that out: the caller writes what stands in
    /// its place.
    pub(super) fn replace(&mut self, index: usize, bytes: &mut Vec<u8>) {
        let (start, end) = (
            line_start(self.message, index),
            line_start(self.message, index + 1),
        );
        bytes.extend_from_slice(self.message.bytes().get(self.from..start).unwrap_or(&[]));
        self.from = end;
    }

    /// Copies the rest, with the empty line and the body.
    pub(super) fn finish(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self.message.bytes().get(self.from..).unwrap_or(&[]));
    }
}

/// Where the line of the field at `index` begins; behind the last field, where the empty line does.
fn line_start(message: &Message<'_>, index: usize) -> usize {
    let bytes = message.bytes();
    if let Some(field) = message.fields().get(index) {
        return offset(bytes, field);
    }
    let head = &bytes[..bytes.len() - message.body().len()];
    head.len() - if head.ends_with(b"\r\n") { 2 } else { 1 }
}

/// A field's spelling is a part of the message's octets.
fn offset(bytes: &[u8], field: &Field<'_>) -> usize {
    field.spelling.as_ptr().addr() - bytes.as_ptr().addr()
}
