//! From octets to messages.

use sip::framing::{Frame, FrameError};
use sip::{Flow, Message, TlsPeer};

use super::connection::Connection;
use super::directory::Target;
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

/// What octets have led to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) outcome: Outcome,
    /// Another address by which the peer wants to be found over this connection.
    pub(crate) alias: Option<Target>,
}

/// Takes octets that came, and receives the messages that they finish.
pub(crate) fn read<M: Machine>(
    connection: &mut Connection,
    octets: &[u8],
    reception: &mut Reception<'_, M>,
) -> Reading {
    connection.framer.push(octets);
    let (mut finished, mut pings) = (false, 0u64);
    let mut outcome = Outcome::Continue;
    let mut alias = None;
    while let Some(frame) = connection.framer.next_frame() {
        match frame {
            Frame::Message(bytes) => {
                finished = true;
                if connection.alias.is_none() {
                    alias = alias.or_else(|| alias_in(&connection.flow, bytes));
                }
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
    Reading { outcome, alias }
}

/// The alias that a request asks for: the peer's address with the port that it names in its Via. Only
/// who has shown a certificate may ask, or anybody could have another's requests sent to himself.
///
/// # Source
/// RFC 5923 §5, §8.2.
fn alias_in(flow: &Flow, bytes: &[u8]) -> Option<Target> {
    if flow.tls == TlsPeer::ANY {
        return None;
    }
    let message = Message::parse(bytes).ok()?;
    message.method()?;
    let via = message.top_via().ok()?;
    let mut target = Target::of(flow);
    let port = via.port.unwrap_or(flow.protocol.default_port());
    target.remote.set_port(port);
    via.params.has("alias").then_some(target)
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
