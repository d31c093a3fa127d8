//! WebSocket frames between octets and messages.

use std::io::{self, Read, Write};

use tungstenite::error::{CapacityError, ProtocolError};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Bytes, Error, Message, Utf8Bytes};

/// The frames of one connection that a client has made. It does no IO: octets are given and taken.
///
/// # Source
/// RFC 6455, RFC 7118 §4.
pub(crate) struct WebSocket(WebSocketContext);

/// What octets have brought.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// A whole message.
    Message(Bytes),
    /// Something that concerns only the connection.
    Control,
    /// No more for now.
    Nothing,
    /// The peer wants to end.
    End,
    /// The peer breaks the rules, or sends too much.
    Fault(Box<Error>),
}

impl WebSocket {
    /// One whose messages may have `most` octets.
    pub(crate) fn new(most: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ)
            .write_buffer_size(0)
            .max_message_size(Some(most))
            .max_frame_size(Some(most));
        Self(WebSocketContext::new(Role::Server, Some(config)))
    }

    /// Takes octets off the front of `input` until they have brought something; what the peer must get
    /// in return is appended to `output`.
    pub(crate) fn next(&mut self, input: &mut &[u8], output: &mut Vec<u8>) -> Arrival {
        let mut pipe = Pipe { input, output };
        match self.0.read(&mut pipe) {
            Ok(Message::Text(text)) => Arrival::Message(text.into()),
            Ok(Message::Binary(bytes)) => Arrival::Message(bytes),
            Ok(_) => Arrival::Control,
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Arrival::Nothing,
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => Arrival::End,
            Err(fault) => {
                self.end(closing_code(&fault), &mut pipe);
                Arrival::Fault(Box::new(fault))
            }
        }
    }

    /// Makes one WebSocket message of a SIP message (RFC 7118 §4.2); text if it is.
    pub(crate) fn write(&mut self, message: &[u8], output: &mut Vec<u8>) {
        let bytes = Bytes::copy_from_slice(message);
        let message = match Utf8Bytes::try_from(bytes.clone()) {
            Ok(text) => Message::Text(text),
            Err(_) => Message::Binary(bytes),
        };
        let mut pipe = Pipe {
            input: &mut &[][..],
            output,
        };
        // It fails only after the end has been announced, and then nobody waits for it.
        let _ = self.0.write(&mut pipe, message);
    }

    /// Announces that nothing more will come.
    pub(crate) fn close(&mut self, output: &mut Vec<u8>) {
        let mut pipe = Pipe {
            input: &mut &[][..],
            output,
        };
        self.end(CloseCode::Away, &mut pipe);
    }

    fn end(&mut self, code: CloseCode, pipe: &mut Pipe<'_, '_>) {
        let reason = Utf8Bytes::default();
        // It may have been announced already.
        let _ = self.0.close(pipe, Some(CloseFrame { code, reason }));
    }
}

impl std::fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebSocket").finish_non_exhaustive()
    }
}

/// RFC 6455 §7.4.1.
fn closing_code(fault: &Error) -> CloseCode {
    match fault {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => CloseCode::Size,
        Error::Utf8(_) => CloseCode::Invalid,
        Error::Protocol(ProtocolError::InvalidCloseSequence) => CloseCode::Invalid,
        _ => CloseCode::Protocol,
    }
}

/// What tungstenite takes for a socket.
struct Pipe<'p, 'i> {
    input: &'p mut &'i [u8],
    output: &'p mut Vec<u8>,
}

impl Read for Pipe<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(buffer)
    }
}

impl Write for Pipe<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Octets that are set aside for reading at the beginning of a connection.
const READ: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [1, 2, 3, 4];

    /// A frame as a client sends it.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            length @ ..126 => frame.push(0x80 | length as u8),
            length => {
                frame.push(0x80 | 126);
                frame.extend((length as u16).to_be_bytes());
            }
        }
        frame.extend(KEY);
        frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(a, b)| a ^ b));
        frame
    }

    /// All that octets bring, in words, and what is sent in return.
    fn feed(socket: &mut WebSocket, mut input: &[u8]) -> (Vec<String>, Vec<u8>) {
        let (mut all, mut output) = (Vec::new(), Vec::new());
        loop {
            match socket.next(&mut input, &mut output) {
                Arrival::Nothing => return (all, output),
                Arrival::Message(bytes) => all.push(String::from_utf8_lossy(&bytes).into_owned()),
                Arrival::Control => all.push("control".to_owned()),
                Arrival::End => {
                    all.push("end".to_owned());
                    return (all, output);
                }
                Arrival::Fault(_) => {
                    all.push("fault".to_owned());
                    return (all, output);
                }
            }
        }
    }

    #[test]
    fn rfc6455_5_4_pieces_become_one_message_and_pings_may_stand_between() {
        let mut socket = WebSocket::new(1000);
        let octets = [
            frame(0x01, b"OPTI"),
            frame(0x89, b"?"),
            frame(0x80, b"ONS"),
            frame(0x82, b"binary"),
        ]
        .concat();
        let mut all = Vec::new();
        let mut returned = Vec::new();
        for octet in &octets {
            let (more, output) = feed(&mut socket, std::slice::from_ref(octet));
            all.extend(more);
            returned.extend(output);
        }
        assert_eq!(all, ["control", "OPTIONS", "binary"]);
        assert_eq!(returned, [0x8a, 1, b'?'], "a pong with the ping's octets");
    }

    #[test]
    fn rfc6455_5_1_a_client_that_does_not_mask_is_sent_away() {
        let (all, output) = feed(&mut WebSocket::new(1000), &[0x81, 2, b'h', b'i']);
        assert_eq!(all, ["fault"]);
        assert_eq!(output, [0x88, 2, 0x03, 0xea], "1002: protocol error");
    }

    #[test]
    fn what_is_too_long_is_not_waited_for() {
        let mut socket = WebSocket::new(1000);
        assert_eq!(feed(&mut socket, &frame(0x82, &[0; 1000])).0.len(), 1);
        let (all, output) = feed(&mut socket, &frame(0x82, &[0; 1001])[..20]);
        assert_eq!(all, ["fault"]);
        assert_eq!(output, [0x88, 2, 0x03, 0xf1], "1009: message too big");
        let mut socket = WebSocket::new(1000);
        let pieces = [frame(0x02, &[0; 600]), frame(0x00, &[0; 600])].concat();
        assert_eq!(feed(&mut socket, &pieces).0, ["fault"]);
    }

    #[test]
    fn rfc6455_5_5_1_an_end_is_answered() {
        let (all, output) = feed(&mut WebSocket::new(1000), &frame(0x88, &[0x03, 0xe8]));
        assert_eq!(all, ["control", "end"]);
        assert_eq!(output, [0x88, 2, 0x03, 0xe8]);
    }

    #[test]
    fn rfc7118_4_2_text_is_sent_as_text_and_the_rest_as_binary() {
        let mut socket = WebSocket::new(1000);
        let mut output = Vec::new();
        socket.write("grüß".as_bytes(), &mut output);
        socket.write(&[0xff], &mut output);
        assert_eq!(output[..2], [0x81, 6]);
        assert_eq!(output[8..], [0x82, 1, 0xff]);
    }

    proptest::proptest! {
        #[test]
        fn no_octets_cause_a_panic(octets: Vec<u8>, cut in 0..64usize) {
            let mut socket = WebSocket::new(1000);
            let cut = cut.min(octets.len());
            feed(&mut socket, &octets[..cut]);
            feed(&mut socket, &octets[cut..]);
            socket.write(b"after", &mut Vec::new());
            socket.close(&mut Vec::new());
        }
    }
}
