//! A relay whose media workers are these few lines, and a proxy that talks to it.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::disallowed_methods
)]

use std::time::{Duration, Instant};

use base::{Clock, Mint, Slot};
use media::{Command, Event, Remote, SessionId, SideStats, StreamPorts};
use ng::{Dictionary, Value, bencode};
use relay::{Client, Config, Input, Out, Relay};
use sdp::bridge::Fingerprint;

pub struct World {
    pub relay: Relay,
    pub now: Instant,
    /// Commands that were carried out.
    pub commands: Vec<Command>,
    /// Open sessions and their ports.
    pub sessions: Vec<(SessionId, Vec<StreamPorts>)>,
    /// Commands are left alone while this holds.
    pub stalled: bool,
    pub full: bool,
    pub out: Out,
    next_port: u16,
    cookie: u32,
}

pub const PROXY: Client = Client {
    way: 3,
    remote: std::net::SocketAddr::new(
        std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)),
        40_000,
    ),
};

pub fn world() -> World {
    with(|_| {})
}

pub fn with(change: impl FnOnce(&mut Config)) -> World {
    let now = Instant::now();
    let mut config = Config::at("198.51.100.1".parse().unwrap());
    change(&mut config);
    let clock = Clock::new(now, Duration::from_secs(1_700_000_000));
    let print = format!("sha-256 {}", vec!["AB"; 32].join(":"));
    let fingerprint = Fingerprint::parse(&print);
    World {
        relay: Relay::new(
            Mint::new(Slot::new(0), [7; 32]),
            clock,
            now,
            config,
            fingerprint,
        ),
        now,
        commands: Vec::new(),
        sessions: Vec::new(),
        stalled: false,
        full: false,
        out: Out::default(),
        next_port: 20_000,
        cookie: 0,
    }
}

impl World {
    /// Sends a message and tells all replies.
    pub fn send(&mut self, message: &[u8]) -> Vec<Vec<u8>> {
        let from = PROXY;
        self.relay
            .handle(self.now, Input::Message { from, message }, &mut self.out);
        self.work();
        self.replies()
    }

    pub fn replies(&mut self) -> Vec<Vec<u8>> {
        self.out.send.drain(..).map(|(_, reply)| reply).collect()
    }

    /// Asks, and reads the one reply.
    pub fn ask(&mut self, command: &str, entries: &[(&str, Value)]) -> Answer {
        let message = self.message(command, entries);
        let replies = self.send(&message);
        assert_eq!(replies.len(), 1, "{}", String::from_utf8_lossy(&message));
        read(&replies[0])
    }

    pub fn message(&mut self, command: &str, entries: &[(&str, Value)]) -> Vec<u8> {
        self.cookie += 1;
        let mut all: Dictionary = entries
            .iter()
            .map(|(key, value)| (key.as_bytes().to_vec(), value.clone()))
            .collect();
        all.insert(b"command".to_vec(), command.into());
        let mut message = format!("99_{} ", self.cookie).into_bytes();
        bencode::encode_dictionary(&all, &mut message);
        message
    }

    pub fn offer(&mut self, call: &str, from: &str, sdp: &str, more: &[(&str, Value)]) -> Answer {
        let own = [
            ("call-id", call.into()),
            ("from-tag", from.into()),
            ("sdp", sdp.into()),
        ];
        self.ask("offer", &[&own[..], more].concat())
    }

    pub fn answer(
        &mut self,
        call: &str,
        (from, to): (&str, &str),
        sdp: &str,
        more: &[(&str, Value)],
    ) -> Answer {
        let own = [
            ("call-id", call.into()),
            ("from-tag", from.into()),
            ("to-tag", to.into()),
            ("sdp", sdp.into()),
        ];
        self.ask("answer", &[&own[..], more].concat())
    }

    pub fn delete(&mut self, call: &str, from: &str, more: &[(&str, Value)]) -> Answer {
        let own = [("call-id", call.into()), ("from-tag", from.into())];
        self.ask("delete", &[&own[..], more].concat())
    }

    pub fn event(&mut self, event: Event) {
        self.relay
            .handle(self.now, Input::Media(event), &mut self.out);
        self.work();
    }

    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        while self.relay.deadline().is_some_and(|at| at <= self.now) {
            self.relay.handle(self.now, Input::Timer, &mut self.out);
            self.work();
        }
    }

    /// Does what the media workers would do.
    pub fn work(&mut self) {
        while !self.stalled && !self.out.media.is_empty() {
            for command in std::mem::take(&mut self.out.media) {
                if let Some(event) = self.obey(&command) {
                    let input = Input::Media(event);
                    self.relay.handle(self.now, input, &mut self.out);
                }
                self.commands.push(command);
            }
        }
    }

    fn obey(&mut self, command: &Command) -> Option<Event> {
        let session = command.session();
        let place = self.sessions.iter().position(|(id, _)| *id == session);
        let stats = || {
            let of = |packets| SideStats {
                packets,
                octets: packets * 172,
                ..SideStats::default()
            };
            Box::new([of(10), of(20)])
        };
        match command {
            Command::Allocate { .. } if self.full => {
                let refusal = media::Refusal::NoPorts;
                Some(Event::Refused { session, refusal })
            }
            Command::Allocate { streams, .. } => {
                let place = place.unwrap_or_else(|| {
                    self.sessions.push((session, Vec::new()));
                    self.sessions.len() - 1
                });
                while self.sessions[place].1.len() < usize::from(*streams) {
                    let rtp = [self.next_port, self.next_port + 2];
                    self.next_port += 4;
                    self.sessions[place].1.push(StreamPorts {
                        rtp,
                        rtcp: rtp.map(|port| port + 1),
                    });
                }
                let streams = self.sessions[place].1.clone();
                Some(Event::Allocated { session, streams })
            }
            Command::Count { .. } => Some(Event::Counted {
                session,
                stats: stats(),
            }),
            Command::Close { .. } => {
                place.map(|place| self.sessions.remove(place));
                Some(Event::Closed {
                    session,
                    stats: stats(),
                })
            }
            _ => None,
        }
    }

    /// What the workers were last told about a side's first stream.
    pub fn remote(&self, side: media::Side) -> Option<Remote> {
        self.commands
            .iter()
            .rev()
            .find_map(|command| match command {
                Command::Connect {
                    side: s,
                    stream: 0,
                    remote,
                    ..
                } if *s == side => Some(remote.as_deref().cloned()),
                _ => None,
            })?
    }
}

/// A reply without its cookie.
#[derive(Debug)]
pub struct Answer(pub Dictionary);

impl Answer {
    pub fn text(&self, key: &str) -> &str {
        let value = self.0.get(key.as_bytes());
        value.and_then(Value::text).unwrap_or_default()
    }

    pub fn sdp(&self) -> &str {
        assert_eq!(self.text("result"), "ok", "{self:?}");
        self.text("sdp")
    }
}

pub fn read(reply: &[u8]) -> Answer {
    let blank = reply.iter().position(|&octet| octet == b' ').unwrap();
    match bencode::decode(&reply[blank + 1..]).unwrap() {
        Value::Dictionary(dictionary) => Answer(dictionary),
        other => panic!("{other:?}"),
    }
}

/// A plain description.
pub fn sdp(at: &str, formats: &str) -> String {
    let (ip, port) = at.split_once(':').unwrap();
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP {formats}\r\na=rtpmap:101 telephone-event/8000\r\n"
    )
}

pub fn list(words: &[&str]) -> Value {
    Value::List(words.iter().map(|word| Value::from(*word)).collect())
}
