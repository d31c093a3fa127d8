//! A message that has its bytes with it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use self_cell::self_cell;

use crate::Message;

/// A message that outlives the buffer it came in. It is read once, when it is first looked at; copies
/// share what was read.
#[derive(Clone)]
pub struct OwnedMessage(Arc<Inner>);

struct Inner {
    bytes: Arc<[u8]>,
    read: OnceLock<Read>,
}

type Parsed<'a> = Option<Message<'a>>;

self_cell!(
    struct Read {
        owner: Arc<[u8]>,
        #[covariant]
        dependent: Parsed,
    }
);

impl OwnedMessage {
    /// A message of these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(Arc::new(Inner {
            bytes: bytes.into(),
            read: OnceLock::new(),
        }))
    }

    /// The message; `None` if the bytes are none.
    #[must_use]
    pub fn get(&self) -> Option<&Message<'_>> {
        let Inner { bytes, read } = &*self.0;
        read.get_or_init(|| Read::new(bytes.clone(), |bytes| Message::parse(bytes).ok()))
            .borrow_dependent()
            .as_ref()
    }
}

impl fmt::Debug for OwnedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnedMessage")
            .field(&self.0.bytes.utf8_chunks())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Method;

    #[test]
    fn a_message_outlives_the_buffer_it_came_in() {
        let mut buffer = b"BYE sip:a@example.com SIP/2.0\r\nCall-ID: 7\r\n\r\n".to_vec();
        let message = OwnedMessage::new(&buffer);
        let copy = message.clone();
        buffer.fill(0);
        let read = message.get().expect("a message");
        assert_eq!((read.method(), read.call_id()), (Some(Method::Bye), "7"));
        assert!(std::ptr::eq(read, copy.get().expect("the same")));
        assert!(OwnedMessage::new(b"\r\n\r\n").get().is_none());
    }
}
