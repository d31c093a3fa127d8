//! Answers OPTIONS without any state: what the engine itself costs a message.
//!
//! `options [THREADS] udp:ADDRESS:PORT|tcp:ADDRESS:PORT…` runs until it is killed.

use std::io;
use std::num::NonZeroUsize;
use std::time::Instant;

use base::Mint;
use engine::{Config, Engine, Input, Listen, Machine, Out, Services};
use sip::{Method, StatusCode, Writer, response_flow};

struct Options {
    mint: Mint,
}

impl Machine for Options {
    type Command = ();
    type Event = ();

    fn handle(&mut self, _: Instant, input: Input<'_, ()>, out: &mut Out<()>) {
        let Input::Message { flow, message } = input else {
            return;
        };
        if message.method() == Some(Method::Options) {
            let tag = self.mint.token();
            out.send_with(response_flow(message, flow), |bytes| {
                Writer::response_to(bytes, message, &flow, StatusCode(200), tag.as_str()).finish();
            });
        }
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }
}

fn main() -> io::Result<()> {
    engine::raise_descriptor_limit()?;
    let mut arguments = std::env::args().skip(1).peekable();
    let threads = arguments.next_if(|text| !text.contains(':'));
    let listen: Option<Vec<Listen>> = arguments.map(|text| parse(&text)).collect();
    let Some(listen) = listen.filter(|listen| !listen.is_empty()) else {
        return Err(io::Error::other("options [THREADS] udp:ADDRESS:PORT…"));
    };
    let config = Config {
        threads: threads.and_then(|text| text.parse().ok().and_then(NonZeroUsize::new)),
        ..Config::new(listen)
    };
    let build = |slot| Options {
        mint: Mint::new(slot, [0; 32]),
    };
    let _engine = Engine::start(config, build, Services::none())?;
    loop {
        std::thread::park();
    }
}

fn parse(text: &str) -> Option<Listen> {
    let (protocol, address) = text.split_once(':')?;
    Some(Listen {
        protocol: protocol.parse().ok()?,
        address: address.parse().ok()?,
    })
}
