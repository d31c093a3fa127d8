use proptest::prelude::*;

use super::*;

/// A listener that plays what the buffer gives it, in turns of 20 ms, and does as it is told.
struct Listener {
    buffer: JitterBuffer,
    now: u64,
    /// Ticks of sound that are left over.
    left: u32,
    /// The first octets of the payloads played, and what had to be made up, in ticks.
    heard: Vec<u8>,
    lost: u32,
    silent: u32,
    faster: u32,
    slower: u32,
    /// Time between sending and playing of the last packet, in milliseconds.
    delay: i64,
}

impl Listener {
    fn new(config: &Config) -> Self {
        Self {
            buffer: JitterBuffer::new(config),
            now: 0,
            left: 0,
            heard: Vec::new(),
            lost: 0,
            silent: 0,
            faster: 0,
            slower: 0,
            delay: 0,
        }
    }

    /// A turn of 20 ms at 8 kHz.
    fn turn(&mut self) {
        while self.left < TURN {
            match self.buffer.take(self.now) {
                Playout::Packet { payload, pace, .. } => {
                    let sent = u64::from_be_bytes(*payload.last_chunk().unwrap());
                    self.delay = self.now as i64 - sent as i64;
                    self.heard.push(payload[0]);
                    self.left += match pace {
                        Pace::Steady => STEP,
                        Pace::Faster => STEP - 40,
                        Pace::Slower => STEP + 40,
                    };
                    self.faster += u32::from(pace == Pace::Faster);
                    self.slower += u32::from(pace == Pace::Slower);
                }
                Playout::Lost { ticks, .. } => {
                    self.lost += ticks;
                    self.left += ticks;
                }
                Playout::Silence => {
                    self.silent += 1;
                    self.left = TURN;
                }
            }
        }
        self.left -= TURN;
        self.now += 20;
    }
}

const STEP: u32 = 160;
const TURN: u32 = 160;

/// Packet `n` of a source that sends each 20 ms, with the time at which it was sent.
fn packet(n: u32, sent: u64) -> (Header, Vec<u8>) {
    let header = Header {
        sequence: 65_000u16.wrapping_add(n as u16),
        timestamp: 0xffff_0000u32.wrapping_add(n * STEP),
        ssrc: 7,
        ..Header::default()
    };
    let mut payload = vec![n as u8; 160];
    payload[152..].copy_from_slice(&sent.to_be_bytes());
    (header, payload)
}

/// Sends `count` packets that `network` gives an arrival time, in milliseconds, from their number
/// and the time at which they are sent, and listens until half a second after the last.
fn listen(
    listener: &mut Listener,
    count: u32,
    mut network: impl FnMut(u32, u64) -> Option<u64>,
) -> Vec<Insert> {
    let mut arrivals: Vec<(u64, u32, u64)> = (0..count)
        .filter_map(|n| {
            let sent = u64::from(n) * 20;
            network(n, sent).map(|at| (at, n, sent))
        })
        .collect();
    arrivals.sort_by_key(|(at, ..)| *at);
    let mut outcomes = Vec::new();
    for (at, n, sent) in arrivals {
        while listener.now < at {
            listener.turn();
        }
        let (header, payload) = packet(n, sent);
        outcomes.push(listener.buffer.insert(&header, &payload, at));
    }
    (0..25).for_each(|_| listener.turn());
    outcomes
}

/// A number that looks random.
fn chance(n: u32) -> u64 {
    let mixed = (u64::from(n) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32
}

/// From 0 to `most`, by chance.
fn up_to(n: u32, most: u64) -> u64 {
    chance(n) % (most + 1)
}

#[test]
fn a_steady_source_is_played_whole_and_soon() {
    let mut listener = Listener::new(&Config::default());
    listen(&mut listener, 1000, |_, sent| Some(sent + 50));
    let expected: Vec<u8> = (0..1000u32).map(|n| n as u8).collect();
    assert_eq!(listener.heard, expected);
    assert!(listener.delay <= 50 + 25 + 20, "{}", listener.delay);
    assert_eq!(listener.buffer.nominal_delay_ms(), 0);
    assert_eq!(listener.buffer.counts().played, 1000);
}

/// RFC 3550 §5.1: sequence numbers are there to restore the order.
#[test]
fn rfc3550_5_1_packets_out_of_order_are_played_in_order() {
    let mut listener = Listener::new(&Config::default());
    // Every tenth is overtaken by two others.
    listen(&mut listener, 2000, |n, sent| {
        Some(sent + if n % 10 == 0 { 45 } else { 1 })
    });
    let late = listener.buffer.counts().late;
    assert!(late <= 5, "{late}: until the delay has grown");
    assert!((45..=60).contains(&listener.buffer.nominal_delay_ms()));
    assert!(
        listener
            .heard
            .windows(2)
            .all(|w| w[1].wrapping_sub(w[0]) <= 2)
    );
    assert!(listener.heard.len() >= 1995);
}

#[test]
fn copies_are_dropped_whether_they_come_before_or_after_playing() {
    let mut buffer = JitterBuffer::new(&Config::default());
    let (header, payload) = packet(0, 0);
    assert_eq!(buffer.insert(&header, &payload, 0), Insert::Restarted);
    assert_eq!(buffer.insert(&header, &payload, 1), Insert::Duplicate);
    assert!(matches!(buffer.take(40), Playout::Packet { .. }));
    assert_eq!(buffer.insert(&header, &payload, 41), Insert::Duplicate);
    assert_eq!(buffer.counts().duplicates, 2);
    assert_eq!(buffer.counts().late, 0);
}

#[test]
fn a_loss_is_concealed_with_what_follows_at_hand() {
    let mut buffer = JitterBuffer::new(&Config::default());
    for n in [0, 1, 3] {
        let (header, payload) = packet(n, 0);
        buffer.insert(&header, &payload, u64::from(n) * 20);
    }
    assert!(matches!(buffer.take(80), Playout::Packet { .. }));
    assert!(matches!(buffer.take(80), Playout::Packet { .. }));
    match buffer.take(80) {
        Playout::Lost {
            ticks: STEP,
            next: Some(next),
        } => assert_eq!(next[0], 3),
        other => panic!("{other:?}"),
    }
    // Now it is too late.
    let (header, payload) = packet(2, 0);
    assert_eq!(buffer.insert(&header, &payload, 81), Insert::Late);
    assert!(matches!(buffer.take(80), Playout::Packet { payload, .. } if payload[0] == 3));
}

#[test]
fn losses_cost_no_delay() {
    let mut listener = Listener::new(&Config::default());
    listen(&mut listener, 5000, |n, sent| {
        (!chance(n).is_multiple_of(20)).then_some(sent + 30)
    });
    let lost = 5000 - listener.heard.len() as u32;
    assert!((150..350).contains(&lost), "{lost}");
    let concealed = listener.lost / STEP;
    assert!(concealed.abs_diff(lost) <= 10, "{concealed} for {lost}");
    assert!(listener.delay <= 30 + 45, "{}", listener.delay);
}

/// RFC 3550 §6.4.1: jitter is what the delay has to cover.
#[test]
fn rfc3550_6_4_1_the_delay_follows_the_jitter_up_and_down() {
    let mut listener = Listener::new(&Config::default());
    let jitter = |n: u32| if (500..1500).contains(&n) { 100 } else { 5 };
    let mut rough = 0;
    let mut arrivals: Vec<(u64, u32)> = (0..4000)
        .map(|n| (u64::from(n) * 20 + up_to(n, jitter(n)), n))
        .collect();
    arrivals.sort_unstable();
    for (at, n) in arrivals {
        while listener.now < at {
            listener.turn();
        }
        let (header, payload) = packet(n, u64::from(n) * 20);
        listener.buffer.insert(&header, &payload, at);
        if n == 1499 {
            rough = listener.buffer.nominal_delay_ms();
        }
    }
    assert!((85..=110).contains(&rough), "{rough}");
    assert!(listener.buffer.nominal_delay_ms() <= 10);
    assert!(listener.delay <= 45, "{}", listener.delay);
    assert!(listener.faster > 0);
    let missed = 4000 - listener.heard.len();
    assert!(missed < 80, "{missed}");
}

#[test]
fn clocks_that_drift_apart_are_followed() {
    for ppm in [-500i64, 500] {
        let mut listener = Listener::new(&Config::default());
        let count = 15_000; // five minutes
        listen(&mut listener, count, |n, sent| {
            let drift = sent as i64 * ppm / 1_000_000;
            Some((sent as i64 + drift + 200) as u64 + up_to(n, 8))
        });
        let last = 20 * i64::from(count) * ppm / 1_000_000 + 200;
        let delay = listener.delay - last;
        assert!((0..=60).contains(&delay), "{ppm}: {delay}");
        assert!(listener.heard.len() as u32 >= count - 10, "{ppm}");
        // 150 ms have gone or come in five minutes.
        let moved = match ppm {
            ..0 => listener.faster * 5,
            _ => listener.slower * 5 + listener.lost / 8,
        };
        assert!((100..=250).contains(&moved), "{ppm}: {moved}");
    }
}

#[test]
fn a_pause_is_silence_and_no_loss() {
    let mut buffer = JitterBuffer::new(&Config::default());
    let mut spoken = 0;
    for turn in 0..200u32 {
        let now = u64::from(turn) * 20;
        // Half a second of speech, then as much of nothing: timestamps go on, numbers do not.
        if turn % 50 < 25 {
            let (mut header, payload) = packet(turn, now);
            header.sequence = spoken as u16;
            spoken += 1;
            buffer.insert(&header, &payload, now);
        }
        let is_lost = matches!(buffer.take(now), Playout::Lost { .. });
        assert!(!is_lost, "{turn}");
        if buffer.counts().played.is_multiple_of(25) {
            // The last packet of the spurt has said so.
            buffer.pause();
        }
    }
    assert_eq!(buffer.counts().played, 100);
    assert_eq!(buffer.counts().late, 0);
}

#[test]
fn a_source_that_falls_silent_is_concealed_for_a_moment_only() {
    let mut listener = Listener::new(&Config::default());
    listen(&mut listener, 50, |_, sent| Some(sent));
    assert_eq!(listener.heard.len(), 50);
    assert_eq!(listener.lost, MAX_CONCEALED_MS * 8);
}

/// RFC 3550 §8.2: another SSRC is another source.
#[test]
fn rfc3550_8_2_another_source_begins_anew() {
    let mut buffer = JitterBuffer::new(&Config::default());
    let (header, payload) = packet(0, 0);
    buffer.insert(&header, &payload, 0);
    let other = Header {
        ssrc: 8,
        sequence: 3,
        timestamp: 99,
        ..header
    };
    assert_eq!(buffer.insert(&other, &[9; 20], 20), Insert::Restarted);
    match buffer.take(60) {
        Playout::Packet { payload, .. } => assert_eq!(payload, [9; 20]),
        other => panic!("{other:?}"),
    }
}

/// RFC 3550 appendix A.1.
#[test]
fn rfc3550_a_1_a_lone_jump_is_noise_and_two_are_a_restart() {
    for (sequence, timestamp) in [(20_000, 160 * 50), (0, 1 << 30)] {
        let mut buffer = JitterBuffer::new(&Config::default());
        let (header, payload) = packet(0, 0);
        buffer.insert(&header, &payload, 0);
        let jumped = Header {
            sequence: header.sequence.wrapping_add(1).wrapping_add(sequence),
            timestamp: header.timestamp.wrapping_add(timestamp),
            ..header
        };
        assert_eq!(buffer.insert(&jumped, &payload, 20), Insert::Refused);
        let (second, payload) = packet(1, 0);
        assert_eq!(buffer.insert(&second, &payload, 20), Insert::Kept);
        let follows = Header {
            sequence: jumped.sequence.wrapping_add(1),
            timestamp: jumped.timestamp.wrapping_add(STEP),
            ..jumped
        };
        assert_eq!(buffer.insert(&jumped, &payload, 20), Insert::Refused);
        assert_eq!(buffer.insert(&follows, &payload, 40), Insert::Restarted);
        assert!(matches!(buffer.take(80), Playout::Packet { .. }));
        assert!(buffer.is_empty());
    }
}

#[test]
fn what_a_stall_has_piled_up_is_dropped() {
    let mut listener = Listener::new(&Config::default());
    listen(&mut listener, 500, |n, sent| {
        Some(sent.max(if (200..260).contains(&n) { 5200 } else { 0 }))
    });
    assert!(listener.buffer.counts().overflowed >= 30);
    assert!(listener.delay <= 300 + 80, "{}", listener.delay);
}

#[test]
fn a_longer_way_is_not_taken_for_jitter_for_long() {
    let mut listener = Listener::new(&Config::default());
    listen(&mut listener, 1000, |n, sent| {
        Some(sent + if n < 400 { 20 } else { 170 })
    });
    assert!(listener.buffer.nominal_delay_ms() <= 5);
    assert!(listener.delay <= 170 + 45, "{}", listener.delay);
}

#[test]
fn payloads_too_large_are_refused_and_old_ones_make_room() {
    let config = Config {
        octets: 1000,
        ..Config::default()
    };
    let mut buffer = JitterBuffer::new(&config);
    let (header, _) = packet(0, 0);
    assert_eq!(buffer.insert(&header, &[0; 1001], 0), Insert::Refused);
    for n in 0..9 {
        let (header, payload) = packet(n, 0);
        buffer.insert(&header, &payload, u64::from(n) * 20);
    }
    let mut played = Vec::new();
    for _ in 0..12 {
        if let Playout::Packet { payload, .. } = buffer.take(200) {
            assert!(payload[..152].iter().all(|octet| *octet == payload[0]));
            played.push(payload[0]);
        }
    }
    assert_eq!(played.last(), Some(&8));
    assert!((5..=6).contains(&played.len()), "{played:?}");
}

proptest! {
    /// Whatever comes: what is played was inserted, in order, and the sums agree.
    #[test]
    fn anything_may_come(
        packets in prop::collection::vec((0u32..400, 0u64..60, prop::bool::weighted(0.03), 0usize..300), 1..400),
        clock in prop::sample::select(vec![1u32, 8000, 16_000, 48_000]),
    ) {
        let mut buffer = JitterBuffer::new(&Config { clock, ..Config::default() });
        let mut now = 0;
        let mut kept = 0;
        for (n, wait, wild, len) in packets {
            now += wait;
            let (mut header, _) = packet(n, 0);
            if wild {
                header.timestamp = header.timestamp.wrapping_mul(0x9e37_79b9);
                header.sequence = header.sequence.wrapping_mul(0x79b9);
            }
            let insert = buffer.insert(&header, &vec![1; len], now);
            kept += u64::from(matches!(insert, Insert::Kept | Insert::Restarted));
            match buffer.take(now) {
                Playout::Packet { payload, .. } => prop_assert!(payload.len() < 300),
                Playout::Lost { ticks, .. } => prop_assert!(ticks > 0),
                Playout::Silence => {}
            }
        }
        prop_assert!(buffer.counts().played <= kept);
        prop_assert!(buffer.nominal_delay_ms() <= 300);
    }

    /// Order is kept and nothing is played twice, whatever the network does to a steady source.
    #[test]
    fn the_order_is_restored(seed: u32, jitter in 0u64..200, loss in 0u64..30, copies in 0u64..30) {
        let mut listener = Listener::new(&Config::default());
        let mut arrivals = Vec::new();
        for n in 0..200u32 {
            let key = seed.wrapping_add(n * 4);
            if up_to(key, 99) >= loss {
                let sent = u64::from(n) * 20;
                arrivals.push((sent + up_to(key + 1, jitter), n));
                if up_to(key + 2, 99) < copies {
                    arrivals.push((sent + up_to(key + 3, jitter), n));
                }
            }
        }
        arrivals.sort_unstable();
        for (at, n) in arrivals {
            while listener.now < at {
                listener.turn();
            }
            let (header, payload) = packet(n, u64::from(n) * 20);
            listener.buffer.insert(&header, &payload, at);
        }
        (0..50).for_each(|_| listener.turn());
        prop_assert!(listener.heard.windows(2).all(|w| w[0] < w[1]), "{:?}", listener.heard);
        prop_assert!(listener.buffer.is_empty());
    }
}
