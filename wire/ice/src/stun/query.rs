//! The client that learns by what address the outside sees it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::attribute::XOR_MAPPED_ADDRESS;
use super::{BINDING, Class, Message, TransactionId, Writer};

/// A Binding request to a server, sent again until it is answered.
///
/// ```
/// use std::time::Instant;
/// use ice::stun::{Query, TransactionId, answer_binding};
/// let now = Instant::now();
/// let mut query = Query::new(TransactionId([7; 12]), now);
/// let (mut request, mut response) = (Vec::new(), Vec::new());
/// assert!(query.send(now, &mut request)); // to the server; at `deadline` again
/// answer_binding(&request, "203.0.113.7:4000".parse()?, &mut response);
/// assert_eq!(query.hear(&response), Some("203.0.113.7:4000".parse()?));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
///
/// # Source
/// RFC 8489 §6.2.1
#[derive(Clone, Debug)]
pub struct Query {
    transaction: TransactionId,
    sent: u8,
    due: Instant,
}

impl Query {
    /// A request that is due at once. Nobody else may guess its `transaction`.
    #[must_use]
    pub const fn new(transaction: TransactionId, now: Instant) -> Self {
        Self {
            transaction,
            sent: 0,
            due: now,
        }
    }

    /// When the request is to be sent again, or is given up. None: it is given up.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        (self.sent <= REQUESTS).then_some(self.due)
    }

    /// Appends the request to `out` if it is due; false: it is not, or all of them went unanswered.
    pub fn send(&mut self, now: Instant, out: &mut Vec<u8>) -> bool {
        if self.sent > REQUESTS || now < self.due {
            return false;
        }
        self.sent += 1;
        self.due = now + wait(self.sent);
        let sends = self.sent <= REQUESTS;
        if sends {
            Writer::new(out, Class::Request, BINDING, self.transaction);
        }
        sends
    }

    /// Our address as the server saw it, if this is its answer.
    #[must_use]
    pub fn hear(&self, datagram: &[u8]) -> Option<SocketAddr> {
        let answer = Message::parse(datagram).ok()?;
        let ours = answer.method() == BINDING && answer.transaction() == self.transaction;
        let good = ours && answer.class() == Class::Success;
        answer.address(XOR_MAPPED_ADDRESS).filter(|_| good)
    }
}

/// How long the answer to so many requests is waited for.
const fn wait(sent: u8) -> Duration {
    match sent {
        REQUESTS.. => Duration::from_millis(FIRST_MS * LAST_WAIT),
        sent => Duration::from_millis(FIRST_MS << sent.saturating_sub(1)),
    }
}

/// Requests before a server is given up, Rc; the first wait, RTO; and the last one, Rm of those.
const REQUESTS: u8 = 7;
const FIRST_MS: u64 = 500;
const LAST_WAIT: u64 = 16;

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test begins now")]
mod tests {
    use super::super::answer_binding;
    use super::*;

    #[test]
    fn rfc8489_6_2_1_a_request_is_sent_again_and_given_up() {
        let start = Instant::now();
        let mut query = Query::new(TransactionId([7; 12]), start);
        let mut sent = Vec::new();
        while let Some(due) = query.deadline() {
            assert!(due == start || !query.send(due - Duration::from_millis(1), &mut Vec::new()));
            let mut request = Vec::new();
            if query.send(due, &mut request) {
                assert_eq!(request.len(), 20);
                sent.push((due - start).as_millis());
            }
        }
        assert_eq!(sent, [0, 500, 1500, 3500, 7500, 15_500, 31_500]);
        assert_eq!(query.due - start, Duration::from_millis(39_500 + 8000));
        assert!(!query.send(start + Duration::from_secs(60), &mut Vec::new()));
    }

    #[test]
    fn only_the_answer_to_the_question_counts() {
        let now = Instant::now();
        let seen = "[2001:db8::1]:4000".parse().unwrap();
        let mut query = Query::new(TransactionId([7; 12]), now);
        let (mut request, mut answer) = (Vec::new(), Vec::new());
        assert!(query.send(now, &mut request));
        assert!(answer_binding(&request, seen, &mut answer));
        assert_eq!(query.hear(&answer), Some(seen));
        assert_eq!(Query::new(TransactionId([8; 12]), now).hear(&answer), None);
        assert_eq!(query.hear(&request), None);
        for end in 0..answer.len() {
            assert_eq!(query.hear(&answer[..end]), None);
        }
    }
}
