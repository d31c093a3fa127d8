//! Every protection and every codec on either side of a call: a tone of each party, measured where
//! the other one hears it. `cargo test --test matrix -- --nocapture` prints what was measured.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

mod common;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use codec::{Codec, tone};
use common::handshake::{IDENTITY, by_dtls, shake};
use common::talker::{Guard, Talker};
use common::{Call, V4, World};
use media::dtls::{Endpoint, Setup};
use media::{Config, OwnCertificate, Profile, Remote, Side};

/// How a side is protected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Plain,
    SdesCm,
    SdesGcm,
    Dtls,
}

const KINDS: [Kind; 4] = [Kind::Plain, Kind::SdesCm, Kind::SdesGcm, Kind::Dtls];

/// Codecs with their payload types, and how far above all else a tone must be that the codec has
/// carried, in decibels. Those made for speech alone bend it.
const CODECS: [(Codec, u8, f32); 6] = [
    (Codec::Pcmu, 0, 33.0),
    (Codec::Pcma, 8, 33.0),
    (Codec::G722, 9, 33.0),
    (Codec::Opus, 111, 18.0),
    (Codec::G729, 18, 20.0),
    (Codec::Gsm, 3, 17.0),
];

/// What a party says.
const TONES: [f32; 2] = [1004.0, 700.0];
/// Packets of silence before the tone, and of the tone: 100 and 800 ms.
const SILENT: usize = 5;
const SPOKEN: usize = 40;
/// The last part, in which all have settled, in milliseconds: whole cycles of either tone.
const MEASURED_MS: usize = 500;

/// A call of two codecs.
struct Cell {
    call: Call,
    parties: [Talker; 2],
    /// How long a packet took from one party to the other.
    passage: Duration,
}

/// What one party heard of the other.
#[derive(Clone, Copy, Debug)]
struct Measured {
    /// The tone over everything else, in decibels.
    clarity: f32,
    /// How much later the tone began, in milliseconds.
    delay: f32,
}

fn talker(number: usize, codec: (Codec, u8, f32), kind: Kind) -> Talker {
    let mut talker = Talker::new(V4, number as u32 + 1, codec.0, codec.1, TONES[number]);
    let seed = 10 * (number as u8 + 1);
    talker.guard = match kind {
        Kind::SdesCm => Some(Guard::new(Profile::Aes128CmSha1_80, seed)),
        Kind::SdesGcm => Some(Guard::new(Profile::AeadAes256Gcm, seed)),
        Kind::Plain | Kind::Dtls => None,
    };
    talker
}

const SIDES: [Side; 2] = [Side::Caller, Side::Callee];

/// Sets up a call; with DTLS the caller begins and the callee waits.
fn set_up(world: &mut World, codecs: [(Codec, u8, f32); 2], kinds: [Kind; 2]) -> Cell {
    let mut parties = [0, 1].map(|n| talker(n, codecs[n], kinds[n]));
    let call = world.allocate([Some(V4), Some(V4)], 1).unwrap();
    let setups = [Setup::Active, Setup::Passive];
    for n in 0..2 {
        let remote: Remote = match kinds[n] {
            Kind::Dtls => by_dtls(&parties[n], IDENTITY.fingerprint(), setups[1 - n]),
            _ => parties[n].remote(),
        };
        world.connect(&call, SIDES[n], 0, Some(remote));
    }
    world.settle();
    let ours = world
        .plane
        .handle()
        .fingerprint(OwnCertificate::First)
        .unwrap();
    for n in 0..2 {
        if kinds[n] == Kind::Dtls {
            let identity = Arc::clone(&IDENTITY);
            let mut endpoint = Endpoint::new(identity, setups[n], ours, Instant::now());
            let to = call.rtp(SIDES[n], 0);
            assert_eq!(shake(&mut parties[n], &mut endpoint, to), None);
        }
    }
    Cell {
        call,
        parties,
        passage: Duration::ZERO,
    }
}

impl Cell {
    fn speak(&mut self, silent: bool) {
        for (party, side) in self.parties.iter_mut().zip(SIDES) {
            party.silent = silent;
            party.speak(self.call.rtp(side, 0));
        }
    }

    fn hear(&mut self) {
        self.parties.iter_mut().for_each(|party| _ = party.hear());
    }

    /// Sends one packet while all others are quiet.
    fn pass(&mut self) {
        let [caller, callee] = &mut self.parties;
        let begun = Instant::now();
        caller.speak(self.call.rtp(Side::Caller, 0));
        callee.hear();
        self.passage = begun.elapsed();
    }

    fn measure(&self) -> [Measured; 2] {
        [0, 1].map(|n| {
            let party = &self.parties[n];
            measure(&party.pcm, party.rate() as usize, TONES[1 - n])
        })
    }
}

fn measure(pcm: &[i16], rate: usize, frequency: f32) -> Measured {
    let settled = &pcm[pcm.len() - rate * MEASURED_MS / 1000..];
    let square = |sample: &i16| (f32::from(*sample) / 32_768.0).powi(2);
    let total = settled.iter().map(square).sum::<f32>() / settled.len() as f32;
    let level = tone::level(settled, frequency, rate as u32);
    assert!(
        (level - tone::ZERO_DBM0).abs() < 3.0,
        "{frequency}: {level}"
    );
    // A full-scale sine has half the power of a full-scale square.
    let tone = 10f32.powf(level / 10.0) / 2.0;
    let clarity = 10.0 * (tone / (total - tone).max(1e-9)).log10();
    let begun = pcm.iter().position(|sample| sample.unsigned_abs() > 4000);
    let delay = begun.unwrap() as f32 * 1000.0 / rate as f32 - 20.0 * SILENT as f32;
    Measured { clarity, delay }
}

/// RFC 3711, RFC 4568, RFC 5764: 21 pairs of codecs under each of 16 pairs of protections, and a tone
/// both ways in each.
#[test]
fn every_protection_and_codec_is_joined_with_every_other() {
    let mut world = World::new(Config {
        ports: 16_384..=23_999,
        ..Config::default()
    });
    let codecs: Vec<_> = CODECS.into_iter().filter(|c| c.0.is_available()).collect();
    println!("codecs and protections: tone over noise, delay of the codecs, passage of a packet");
    for one in KINDS {
        for other in KINDS {
            let mut cells = Vec::new();
            for (index, caller) in codecs.iter().enumerate() {
                for callee in &codecs[index..] {
                    let pair = [*caller, *callee];
                    cells.push((pair, set_up(&mut world, pair, [one, other])));
                }
            }
            for n in 0..SILENT + SPOKEN {
                cells
                    .iter_mut()
                    .for_each(|(_, cell)| cell.speak(n < SILENT));
                cells.iter_mut().for_each(|(_, cell)| cell.hear());
            }
            for (pair, cell) in &mut cells {
                let measured = check(*pair, [one, other], cell);
                cell.pass();
                println!("{measured}  {:.2?}", cell.passage);
                let sides = world.close(&cell.call);
                assert!(sides.iter().all(|s| s.packets >= 45 && s.forged == 0));
            }
        }
    }
}

/// Checks what the parties have heard, and says what it was.
fn check(pair: [(Codec, u8, f32); 2], kinds: [Kind; 2], cell: &Cell) -> String {
    let [(one, _, its), (other, _, others)] = pair;
    let what = format!("{one} {:?} - {other} {:?}", kinds[0], kinds[1]);
    let heard = cell.measure();
    let mut said = format!("{what:<40}");
    for Measured { clarity, delay } in heard {
        _ = write!(said, " {clarity:>6.1} dB {delay:>5.1} ms");
        let least = its.min(others);
        assert!(clarity > least, "{what}: {clarity} dB, {least} at least");
        // The longest: Opus and G.729 with a resampler between them.
        assert!((-1.0..25.0).contains(&delay), "{what}: {delay} ms");
    }
    said
}
