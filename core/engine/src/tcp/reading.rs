//! From octets to messages.

use sip::framing::{Frame, FrameError};

use super::connection::Connection;
use crate::machine::Machine;
use crate::reception::{Reception, Verdict};
use crate::stats::Counter;

/// What becomes of a connection after octets were read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// It goes on.
    Continue,
    /// It ends after the answer, if there is one, has been sent.
    Refuse(FrameError),
}

/// Takes octets that came, and receives the messages that they finish.
pub(crate) fn read<M: Machine>(
    connection: &mut Connection,
    octets: &[u8],
    reception: &mut Reception<'_, M>,
) -> Outcome {
    connection.framer.push(octets);
    let (mut finished, mut pings) = (false, 0u64);
    let mut outcome = Outcome::Continue;
    while let Some(frame) = connection.framer.next_frame() {
        match frame {
            Frame::Message(bytes) => {
                finished = true;
                match reception.receive(connection.flow, bytes) {
                    Verdict::Valid => connection.proven = true,
                    Verdict::Malformed => {}
                    Verdict::NotSip => outcome = Outcome::Refuse(FrameError::NotSip),
                }
            }
            Frame::Ping => pings += 1,
            Frame::Broken { fault, head } => {
                reception.refuse(connection.flow, head, fault.status());
                outcome = Outcome::Refuse(fault);
            }
        }
        if outcome != Outcome::Continue {
            break;
        }
    }
    connection.framer.reclaim();
    connection.heard(reception.now, finished);
    answer_pings(connection, reception, pings);
    outcome
}

/// RFC 5626 §4.4.1: CRLF answers a double CRLF. One answer is enough for many at once.
fn answer_pings<M: Machine>(connection: &mut Connection, reception: &Reception<'_, M>, pings: u64) {
    if pings > 0 {
        reception.tally.many(Counter::KeepAlives, pings);
        // If too much waits already, the peer has other news of us.
        connection.queue(b"\r\n", PONGS);
    }
}

/// Keep-alive answers are not queued behind more unsent octets than this.
const PONGS: usize = 4096;
