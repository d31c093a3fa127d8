//! From octets to messages.

use sip::framing::{Frame, FrameError, Framer};
use sip::{Flow, Message, TlsPeer};

use super::connection::{Connection, Framing};
use super::directory::Target;
use super::websocket::{Arrival, WebSocket};
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
    /// It ends because the peer broke the rules of WebSockets.
    Fault,
    /// It ends because the peer said so.
    End,
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
    let mut progress = Progress::default();
    let outcome = match &mut connection.framing {
        Framing::Stream(framer) => {
            let way = (connection.flow, connection.alias.is_none());
            read_stream(framer, octets, way, reception, &mut progress)
        }
        Framing::WebSocket(socket) => {
            let flow = connection.flow;
            read_websocket(socket, octets, flow, reception, &mut progress)
        }
    };
    connection.proven |= progress.valid;
    connection.heard(reception.now, progress.finished);
    connection.put(&progress.replies);
    answer_pings(connection, reception, progress.pings);
    Reading {
        outcome,
        alias: progress.alias,
    }
}

/// What octets have led to, while they are read.
#[derive(Default)]
struct Progress {
    finished: bool,
    valid: bool,
    pings: u64,
    alias: Option<Target>,
    /// Octets for the peer that are no message.
    replies: Vec<u8>,
}

fn read_stream<M: Machine>(
    framer: &mut Framer,
    octets: &[u8],
    (flow, may_have_alias): (Flow, bool),
    reception: &mut Reception<'_, M>,
    progress: &mut Progress,
) -> Outcome {
    framer.push(octets);
    let mut outcome = Outcome::Continue;
    while let Some(frame) = framer.next_frame() {
        match frame {
            Frame::Message(bytes) => {
                progress.finished = true;
                if may_have_alias && progress.alias.is_none() {
                    progress.alias = alias_in(&flow, bytes);
                }
                match reception.receive(flow, bytes) {
                    Verdict::Valid => progress.valid = true,
                    Verdict::Malformed | Verdict::Limited => {}
                    Verdict::NotSip => outcome = Outcome::Refuse(FrameError::NotSip),
                }
            }
            Frame::Ping => progress.pings += 1,
            Frame::Broken { fault, head } => {
                reception.refuse(flow, head, fault.status());
                outcome = Outcome::Refuse(fault);
            }
        }
        if outcome != Outcome::Continue {
            break;
        }
    }
    framer.reclaim();
    outcome
}

fn read_websocket<M: Machine>(
    socket: &mut WebSocket,
    mut octets: &[u8],
    flow: Flow,
    reception: &mut Reception<'_, M>,
    progress: &mut Progress,
) -> Outcome {
    loop {
        match socket.next(&mut octets, &mut progress.replies) {
            Arrival::Message(bytes) => {
                progress.finished = true;
                if is_ping(&bytes) {
                    progress.pings += 1;
                    continue;
                }
                match reception.receive(flow, &bytes) {
                    Verdict::Valid => progress.valid = true,
                    Verdict::Malformed | Verdict::Limited => {}
                    Verdict::NotSip => return Outcome::Refuse(FrameError::NotSip),
                }
            }
            Arrival::Control => progress.finished = true,
            Arrival::Nothing => return Outcome::Continue,
            Arrival::End => return Outcome::End,
            Arrival::Fault(fault) => {
                let peer = base::Pii(flow);
                tracing::debug!(%peer, %fault, "WebSocket");
                return Outcome::Fault;
            }
        }
    }
}

/// Line ends alone (RFC 7118 §6, RFC 5626 §4.4.1).
fn is_ping(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
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
