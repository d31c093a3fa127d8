//! The TURN server: a stranger's datagrams, and those of a client that knows its password.
#![no_main]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ice::stun::attribute::{NONCE, REALM, REQUESTED_TRANSPORT, USERNAME};
use ice::stun::{Class, Key, Message, TransactionId, Writer};
use ice::turn::{Client, Command, Config, Out, RelayId, Server};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut now = Instant::now();
    let mut config = Config::default();
    config.users.insert("u", "r", "p");
    config.realm = "r".into();
    let key = Key::long_term("u", "r", "p");
    let mut server = Server::new(config, [1; 32], now, Duration::from_secs(1));
    let client = Client {
        address: SocketAddr::from(([192, 0, 2, 1], 5000)),
        listener: 0,
        connection: 0,
    };
    let mut out = Out::default();
    let mut nonce = Vec::new();
    let mut datagram = Vec::new();
    Writer::new(&mut datagram, Class::Request, 3, TransactionId::default());
    server.handle(now, client, &datagram, &mut out);
    run(&mut server, &mut out, &mut nonce);
    let transport: &[u8] = &[0x19, 0, 17, 0, 0, 0];
    for chunk in std::iter::once(&[3][..]).chain(bytes.chunks(28)) {
        let (what, rest) = (chunk[0], &chunk[1..]);
        let rest = if rest.is_empty() { transport } else { rest };
        datagram.clear();
        match what {
            0x80..=0x9f => datagram.extend_from_slice(rest),
            0xa0..=0xbf => now += Duration::from_secs(u64::from(what & 31) * 20),
            0xc0..=0xdf => {
                let peer = SocketAddr::from(([203, 0, 113, rest[0]], 7000));
                server.relayed(now, RelayId(1), peer, rest, &mut out);
            }
            _ => signed(what, rest, &nonce, &key, &mut datagram),
        }
        server.handle(now, client, &datagram, &mut out);
        server.wake(now, &mut out);
        run(&mut server, &mut out, &mut nonce);
        assert!(server.relays() <= 1, "one client has two relays");
        assert!(server.deadline().is_none_or(|due| due > now));
    }
});

/// A request or indication, with attributes of kind, length and value.
fn signed(what: u8, mut rest: &[u8], nonce: &[u8], key: &Key, out: &mut Vec<u8>) {
    let class = if what & 0x10 == 0 {
        Class::Request
    } else {
        Class::Indication
    };
    let mut message = Writer::new(out, class, u16::from(what & 15), TransactionId([what; 12]));
    while let [kind, length, value @ ..] = rest {
        let length = usize::from(*length).min(value.len());
        message.put(u16::from(*kind), &value[..length]);
        rest = &value[length..];
    }
    message.put(REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    message.put(USERNAME, b"u").put(REALM, b"r");
    message.put(NONCE, nonce).sign(key);
}

fn run(server: &mut Server, out: &mut Out, nonce: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(command) = out.commands.get(at).cloned() {
        at += 1;
        match command {
            Command::ToClient { octets, .. } => {
                let octets = &out.octets[octets];
                if let Some(new) = Message::parse(octets).ok().and_then(|m| m.find(NONCE)) {
                    *nonce = new.to_vec();
                }
            }
            Command::ToPeer { peer, .. } => {
                assert!(ice::turn::policy::is_public(peer.ip()), "{peer}");
            }
            Command::Bind { relay, .. } => {
                let address = SocketAddr::from(([198, 51, 100, 1], 50_000));
                server.bound(relay, Some(address), out);
            }
            Command::Close { .. } => {}
        }
    }
    out.clear();
}
