//! Recordings: what was said, in time, on its channel, and there when the process is not.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

mod common;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use codec::tone::level;
use codec::{Codec, ogg_opus};
use common::talker::{Guard, Talker};
use common::{Call, V4, World};
use media::{Command, Config, Container, Event, Format, Profile, Recording, Side, Source};

struct Studio {
    folder: tempfile::TempDir,
    world: World,
}

impl Studio {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = World::new(Config {
            ports: 16_384..=23_999,
            recordings: Some(folder.path().to_owned()),
            ..Config::default()
        });
        Self { folder, world }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn record(&self, call: &Call, recording: Option<Recording>) {
        self.world.submit(Command::Record {
            session: call.session,
            stream: 0,
            recording: recording.map(Box::new),
        });
    }

    fn pause(&mut self, call: &Call, paused: bool) {
        self.world.submit(Command::PauseRecording {
            session: call.session,
            stream: 0,
            paused,
        });
        self.world.settle();
    }

    /// How long the recording is in milliseconds once it is complete, and what is wrong with it.
    fn recorded(&mut self, wanted: &str) -> (u64, Option<Box<str>>) {
        self.world.event(|event| match event {
            Event::Recorded {
                name,
                milliseconds,
                error,
                ..
            } if **name == *wanted => Some((*milliseconds, error.clone())),
            _ => None,
        })
    }

    /// A call between somebody who says 700 Hz by PCMA and somebody who says 1004 Hz by G.722 and
    /// SRTP.
    fn call(&mut self) -> (Call, [Talker; 2]) {
        let caller = Talker::new(V4, 1, Codec::Pcma, 8, 700.0);
        let mut callee = Talker::new(V4, 2, Codec::G722, 9, 1004.0);
        callee.guard = Some(Guard::new(Profile::AeadAes128Gcm, 7));
        let call = self.world.allocate([Some(V4), Some(V4)], 1).unwrap();
        let world = &mut self.world;
        world.connect(&call, Side::Caller, 0, Some(caller.remote()));
        world.connect(&call, Side::Callee, 0, Some(callee.remote()));
        world.settle();
        (call, [caller, callee])
    }
}

fn recording(name: &str, container: Container, mono: bool) -> Recording {
    Recording {
        name: name.into(),
        container,
        mono,
        sides: [true; 2],
    }
}

/// Both talk for so many packets of 20 ms, as fast as time goes.
fn talk(call: &Call, [caller, callee]: &mut [Talker; 2], packets: u32) {
    let start = Instant::now();
    for n in 0..packets {
        caller.speak(call.rtp(Side::Caller, 0));
        callee.speak(call.rtp(Side::Callee, 0));
        let next = start + Duration::from_millis(20) * (n + 1);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// The rate of a WAV file and its channels, as its header tells.
fn read_wav(path: &Path) -> (u32, Vec<Vec<i16>>) {
    let file = std::fs::read(path).unwrap();
    let number = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    let channels = usize::from(file[22]);
    let data = &file[44..44 + number(40) as usize];
    assert_eq!(number(4) as usize, 36 + data.len());
    let samples: Vec<i16> = data
        .chunks_exact(2)
        .map(|s| i16::from_le_bytes([s[0], s[1]]))
        .collect();
    let channel = |n| samples.iter().skip(n).step_by(channels).copied().collect();
    (number(24), (0..channels).map(channel).collect())
}

/// The level of a frequency in the middle of the sound: that of the middle one of its tenths of a
/// second, as the tone goes on in another phase where a packet came late or there was a pause.
fn middle(pcm: &[i16], frequency: f32, rate: u32) -> f32 {
    let quarter = pcm.len() / 4;
    let tenths = pcm[quarter..3 * quarter].chunks_exact(rate as usize / 10);
    let mut levels: Vec<f32> = tenths.map(|tenth| level(tenth, frequency, rate)).collect();
    levels.sort_by(f32::total_cmp);
    levels[levels.len() / 2]
}

#[test]
fn each_party_is_on_its_channel_and_both_are_on_one() {
    let mut studio = Studio::new();
    let (call, mut talkers) = studio.call();
    for (name, mono) in [("2026/stereo.wav", false), ("2026/mono.wav", true)] {
        studio.record(&call, Some(recording(name, Container::Wav, mono)));
        studio.world.settle();
        talk(&call, &mut talkers, 100);
        studio.record(&call, None);
        let (ms, error) = studio.recorded(name);
        assert_eq!(error, None);
        assert!((1900..4000).contains(&ms), "{ms}");
        let (rate, channels) = read_wav(&studio.path(name));
        assert_eq!((rate, channels.len()), (16_000, if mono { 1 } else { 2 }));
        for (n, channel) in channels.iter().enumerate() {
            let (own, other) = ([700.0, 1004.0][n], [1004.0, 700.0][n]);
            assert!(middle(channel, own, rate) > -8.0, "{name} {n}");
            let other = middle(channel, other, rate);
            assert_eq!(other > -8.0, mono, "{name} {n}: {other}");
        }
    }
}

#[test]
fn opus_is_written_as_it_is_said_and_what_was_paused_is_left_out() {
    let mut studio = Studio::new();
    let (call, mut talkers) = studio.call();
    studio.record(&call, Some(recording("a.opus", Container::OggOpus, true)));
    studio.world.settle();
    let start = Instant::now();
    talk(&call, &mut talkers, 50);
    studio.pause(&call, true);
    talk(&call, &mut talkers, 100);
    studio.pause(&call, false);
    talk(&call, &mut talkers, 50);
    studio.world.close(&call);
    let (ms, error) = studio.recorded("a.opus");
    assert_eq!(error, None);
    // The pause is longer than anything that this machine may be late.
    let whole = start.elapsed().as_millis() as u64;
    assert!((1900..whole - 1000).contains(&ms), "{ms} of {whole}");
    let file = std::fs::read(studio.path("a.opus")).unwrap();
    let pcm = ogg_opus::decode(&file, 16_000).unwrap();
    for frequency in [700.0, 1004.0] {
        assert!(middle(&pcm, frequency, 16_000) > -10.0);
    }
}

#[test]
fn what_has_been_recorded_can_be_played_while_it_goes_on() {
    let mut studio = Studio::new();
    let (call, mut talkers) = studio.call();
    studio.record(&call, Some(recording("a.wav", Container::Wav, false)));
    studio.world.settle();
    talk(&call, &mut talkers, 100);
    // Nobody has ended it.
    let (rate, channels) = read_wav(&studio.path("a.wav"));
    let ms = channels[0].len() as u32 / (rate / 1000);
    assert!(ms >= 1000, "{ms}");
    assert!(middle(&channels[0], 700.0, rate) > -8.0);
}

#[test]
fn what_a_party_hears_instead_of_the_other_one_is_recorded_in_its_place() {
    let mut studio = Studio::new();
    let (call, mut talkers) = studio.call();
    studio.record(&call, Some(recording("a.wav", Container::Wav, false)));
    studio.world.submit(Command::Serve {
        session: call.session,
        stream: 0,
        side: Side::Caller,
        source: Source::Tone(1500.0),
        number: 0,
        format: Format {
            codec: Codec::Pcma,
            payload_type: 8,
            ptime: 20,
        },
    });
    studio.world.settle();
    talk(&call, &mut talkers, 100);
    studio.record(&call, None);
    studio.recorded("a.wav");
    let (rate, channels) = read_wav(&studio.path("a.wav"));
    assert!(middle(&channels[0], 700.0, rate) > -8.0);
    assert!(middle(&channels[1], 1500.0, rate) > -8.0);
    assert!(middle(&channels[1], 1004.0, rate) < -40.0);
}

#[test]
fn of_a_call_that_we_serve_our_side_is_what_we_play() {
    let mut studio = Studio::new();
    let mut caller = Talker::new(V4, 1, Codec::Pcmu, 0, 700.0);
    let call = studio.world.allocate([Some(V4), None], 1).unwrap();
    studio
        .world
        .connect(&call, Side::Caller, 0, Some(caller.remote()));
    studio.world.submit(Command::Serve {
        session: call.session,
        stream: 0,
        side: Side::Caller,
        source: Source::Tone(1004.0),
        number: 0,
        format: Format {
            codec: Codec::Pcmu,
            payload_type: 0,
            ptime: 20,
        },
    });
    studio.record(&call, Some(recording("a.wav", Container::Wav, false)));
    for _ in 0..100 {
        caller.speak(call.rtp(Side::Caller, 0));
        caller.hear();
    }
    studio.world.close(&call);
    assert_eq!(studio.recorded("a.wav").1, None);
    let (rate, channels) = read_wav(&studio.path("a.wav"));
    assert_eq!(rate, 8000);
    for (channel, frequency) in channels.iter().zip([700.0, 1004.0]) {
        assert!(middle(channel, frequency, rate) > -8.0, "{frequency}");
    }
}

#[test]
fn recordings_stay_in_their_folder_and_replace_nothing() {
    let mut studio = Studio::new();
    let (call, _talkers) = studio.call();
    std::fs::write(studio.path("taken.wav"), "x").unwrap();
    for name in ["../out.wav", "/tmp/out.wav", "", "taken.wav"] {
        studio.record(&call, Some(recording(name, Container::Wav, true)));
        let (ms, error) = studio.recorded(name);
        assert!(ms == 0 && error.is_some(), "{name}");
    }
    assert_eq!(std::fs::read(studio.path("taken.wav")).unwrap(), b"x");
}
