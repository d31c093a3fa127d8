//! Streams: however they are split, the same frames come out, and each message is one that parses
//! to its end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip::Message;
use sip::framing::{Frame, Framer, Limits};

fuzz_target!(|input: (u8, &[u8])| {
    let (step, stream) = input;
    let whole = frames(stream, stream.len().max(1));
    assert_eq!(frames(stream, usize::from(step).max(1)), whole);
});

fn frames(stream: &[u8], step: usize) -> Vec<(u8, Vec<u8>)> {
    let limits = Limits {
        head: 4096,
        body: 1024,
    };
    let mut framer = Framer::new(limits);
    let mut all = Vec::new();
    for chunk in stream.chunks(step) {
        framer.push(chunk);
        while let Some(frame) = framer.next_frame() {
            all.push(match frame {
                Frame::Message(bytes) => {
                    if let Ok(message) = Message::parse(bytes) {
                        assert_eq!(message.bytes().len(), bytes.len());
                    }
                    (0, bytes.to_vec())
                }
                Frame::Ping => (1, Vec::new()),
                Frame::Broken { fault, head } => {
                    (2 + fault.status().0.to_be_bytes()[1], head.to_vec())
                }
            });
        }
    }
    all
}
