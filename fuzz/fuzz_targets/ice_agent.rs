//! A full and a lite agent that a peer with the right password torments: the first octet of a chunk says what
//! happens, the rest is signed and sent.
#![no_main]

use std::time::{Duration, Instant};

use ice::stun::{Class, Key, TransactionId, Writer};
use ice::{Agent, Candidate, Credentials, Lite, Role};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut now = Instant::now();
    let here = "192.0.2.1:5000".parse().expect("an address");
    let there = "192.0.2.2:5000".parse().expect("an address");
    let [ours, theirs] = [1, 2].map(|who| Credentials::mint(who, [7; 24]));
    let key = Key::short_term(ours.password());
    let mut full = Agent::new(Role::Controlled, ours.clone(), [1; 32]);
    let mut lite = Lite::new(ours.clone());
    full.add_local(now, Candidate::host(here, 1));
    full.set_remote(now, theirs, false);
    let (mut datagram, mut answer) = (Vec::new(), Vec::new());
    for chunk in bytes.chunks(24) {
        let (what, rest) = (chunk[0], &chunk[1..]);
        datagram.clear();
        match what % 4 {
            0 => datagram.extend_from_slice(rest),
            1 => now += Duration::from_millis(u64::from(what) * 100),
            _ => signed(what, rest, &ours, &key, &mut datagram),
        }
        full.handle(now, &datagram, there, here);
        full.wake(now);
        while full.poll_transmit(&mut answer).is_some() {}
        while full.poll_event().is_some() {}
        assert!(
            full.deadline().is_none_or(|due| due > now),
            "it wants to be woken at once, again"
        );
        answer.clear();
        lite.handle(now, &datagram, there, here, &mut answer);
        lite.wake(now);
        assert!(lite.deadline().is_none_or(|due| due > now));
    }
});

fn signed(what: u8, rest: &[u8], ours: &Credentials, key: &Key, out: &mut Vec<u8>) {
    let class = [
        Class::Request,
        Class::Success,
        Class::Error,
        Class::Indication,
    ];
    let mut id = TransactionId::default();
    id.0[0] = what;
    let class = class[usize::from(what >> 6)];
    let mut message = Writer::new(out, class, 1, id);
    message.put(6, [ours.ufrag(), ":x"].concat().as_bytes());
    for attribute in rest.chunks(6) {
        if let [high, low, value @ ..] = attribute {
            message.put(u16::from_be_bytes([*high, *low]), value);
        }
    }
    message.sign(key).fingerprint();
}
