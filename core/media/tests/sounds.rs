//! Sounds from files and from the web.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::mpsc;

use codec::indication::{Cadence, Signal};
use codec::tone::{Tone, level};
use codec::{Decoder, Parameters, ogg_opus};
use common::talker::assert_tone;
use common::{Call, Phone, V4, World, receive};
use media::{Codec, Command, Config, Event, Format, Music, Side, Source};

struct Sounds {
    folder: tempfile::TempDir,
    world: World,
}

impl Sounds {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = World::new(Config {
            ports: 16_384..=23_999,
            sounds: Some(folder.path().join("sounds")),
            copies: Some(folder.path().join("copies")),
            ..Config::default()
        });
        fs::create_dir(folder.path().join("sounds")).unwrap();
        Self { folder, world }
    }

    fn put(&self, name: &str, file: &[u8]) {
        fs::write(self.folder.path().join("sounds").join(name), file).unwrap();
    }

    fn play(&mut self, source: Source, codec: Codec) -> Listener {
        let phone = Phone::new(V4, 1);
        let call = self.world.allocate([Some(V4), None], 1).unwrap();
        self.world
            .connect(&call, Side::Caller, 0, Some(phone.remote()));
        self.world.submit(Command::Serve {
            session: call.session,
            stream: 0,
            side: Side::Caller,
            source,
            number: 0,
            format: Format {
                codec,
                payload_type: 96,
                ptime: 20,
            },
        });
        let decoder = Decoder::new(codec, &Parameters::default()).unwrap();
        Listener {
            phone,
            call,
            decoder,
        }
    }

    /// What is heard until the sound is over.
    fn heard(&mut self, source: Source, codec: Codec) -> Vec<i16> {
        let mut listener = self.play(source, codec);
        let over = Event::Finished {
            session: listener.call.session,
            stream: 0,
            side: Side::Caller,
            number: 0,
        };
        let mut pcm = Vec::new();
        while !self.world.has_event(|event| *event == over) {
            if !common::is_waiting(&listener.phone.rtp) {
                std::thread::yield_now();
                continue;
            }
            pcm.extend(listener.hear());
        }
        while common::is_waiting(&listener.phone.rtp) {
            pcm.extend(listener.hear());
        }
        self.world.close(&listener.call);
        pcm
    }
}

struct Listener {
    phone: Phone,
    call: Call,
    decoder: Decoder,
}

impl Listener {
    fn hear(&mut self) -> Vec<i16> {
        let (datagram, _) = receive(&self.phone.rtp);
        let packet = rtp::Packet::parse(&datagram).unwrap();
        let mut pcm = vec![0; 5760];
        let samples = self.decoder.decode(packet.payload(), &mut pcm).unwrap();
        pcm.truncate(samples);
        pcm
    }
}

/// A tone of so many seconds.
fn tone(frequency: f32, rate: u32, seconds: f32) -> Vec<i16> {
    let mut pcm = vec![0; (rate as f32 * seconds) as usize];
    Tone::new(frequency, rate).fill(&mut pcm);
    pcm
}

/// A WAV file with `pcm` on every channel.
fn wav(pcm: &[i16], rate: u32, channels: u16) -> Vec<u8> {
    let frame = 2 * channels;
    let len = pcm.len() as u32 * u32::from(frame);
    let mut file = b"RIFF".to_vec();
    file.extend((36 + len).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16u32.to_le_bytes());
    file.extend(1u16.to_le_bytes());
    file.extend(channels.to_le_bytes());
    file.extend(rate.to_le_bytes());
    file.extend((rate * u32::from(frame)).to_le_bytes());
    file.extend(frame.to_le_bytes());
    file.extend(16u16.to_le_bytes());
    file.extend(b"data");
    file.extend(len.to_le_bytes());
    for sample in pcm {
        (0..channels).for_each(|_| file.extend(sample.to_le_bytes()));
    }
    file
}

#[test]
fn files_are_played_to_their_end_in_every_codec() {
    let mut sounds = Sounds::new();
    sounds.put("cd.wav", &wav(&tone(440.0, 44_100, 1.0), 44_100, 2));
    let opus = ogg_opus::encode(&tone(440.0, 16_000, 1.0), 16_000, 32_000).unwrap();
    sounds.put("hello.opus", &opus);
    for codec in [Codec::Pcmu, Codec::G722, Codec::Opus] {
        for source in [
            Source::Sound("cd.wav".into()),
            Source::Sound("hello.opus".into()),
            Source::File(opus.clone().into()),
        ] {
            let pcm = sounds.heard(source, codec);
            let rate = codec.sample_rate();
            let ms = pcm.len() as u32 / (rate / 1000);
            assert!((1000..=1040).contains(&ms), "{codec:?}: {ms} ms");
            assert_tone(&pcm[..rate as usize * 9 / 10], rate, 440.0);
        }
    }
}

#[test]
fn a_long_file_is_decoded_while_it_plays() {
    let mut sounds = Sounds::new();
    // More than is held as a whole.
    let mut pcm = tone(440.0, 8000, 3.0);
    pcm.extend(vec![0; 8000 * 60]);
    sounds.put("long.wav", &wav(&pcm, 8000, 1));
    for codec in [Codec::Pcmu, Codec::G722] {
        let mut listener = sounds.play(Source::Sound("long.wav".into()), codec);
        let mut pcm = Vec::new();
        while pcm.len() < 5 * codec.sample_rate() as usize / 2 {
            pcm.extend(listener.hear());
        }
        assert_tone(&pcm, codec.sample_rate(), 440.0);
        sounds.world.close(&listener.call);
    }
}

#[test]
fn what_cannot_be_played_is_over_at_once() {
    let mut sounds = Sounds::new();
    sounds.put("broken.wav", b"RIFF....WAVE");
    sounds.put("text.mp3", b"hello");
    let nowhere = "http://127.0.0.1:1/x.wav";
    for name in ["missing.wav", "../x.wav", "broken.wav", "text.mp3", nowhere] {
        let pcm = sounds.heard(Source::Sound(name.into()), Codec::Pcma);
        assert!(pcm.is_empty(), "{name}");
    }
}

#[test]
fn a_network_sounds_busy_as_in_its_country() {
    let mut sounds = Sounds::new();
    let cadence = Cadence::of("de", Signal::Busy).unwrap();
    let mut listener = sounds.play(Source::Cadence(cadence.into()), Codec::Pcmu);
    let pcm: Vec<i16> = (0..48).flat_map(|_| listener.hear()).collect();
    // 425 Hz for 480 ms, then as much silence.
    assert!(level(&pcm[..3800], 425.0, 8000) > -15.0);
    assert!(level(&pcm[3880..7600], 425.0, 8000) < -50.0);
}

#[test]
fn music_on_hold_is_the_same_for_all_and_encoded_once() {
    let mut sounds = Sounds::new();
    let folder = sounds.folder.path().join("sounds/music");
    fs::create_dir(&folder).unwrap();
    for name in ["music/a.wav", "music/b.wav"] {
        sounds.put(name, &wav(&tone(440.0, 16_000, 0.5), 16_000, 1));
    }
    sounds.put("music/cover.wav", b"none");
    let music = |source: &Path| Music {
        source: source.to_str().unwrap().into(),
        shuffled: true,
    };
    sounds.world.handle.tune(Some(music(&folder)));
    let codecs = [Codec::Pcmu, Codec::Pcmu, Codec::Opus, Codec::G722];
    let listeners = codecs.map(|codec| sounds.play(Source::Music, codec));
    let mut payloads = Vec::new();
    let mut heard = Vec::new();
    for (mut listener, codec) in listeners.into_iter().zip(codecs) {
        let mut pcm = Vec::new();
        // More than both files: the folder is played again and again.
        while pcm.len() < codec.sample_rate() as usize * 2 {
            if codec == Codec::Pcmu {
                payloads.push(peek(&listener.phone));
            }
            pcm.extend(listener.hear());
        }
        heard.push((listener, codec, pcm));
    }
    for (listener, codec, pcm) in &heard {
        let rate = codec.sample_rate();
        let level = level(&pcm[rate as usize / 5..], 440.0, rate);
        // The joints of the files disturb the tone a little.
        assert!(level > -9.0, "{codec:?}: {level}");
        sounds.world.close(&listener.call);
    }
    // Both hear the very same packets, of which they may not have begun with the same.
    let (one, other) = payloads.split_at(100);
    let common = one.iter().filter(|payload| other.contains(payload)).count();
    assert!(common > 80, "{common}");

    // Another folder takes effect for those who listen already.
    let quiet = sounds.folder.path().join("sounds/none");
    let mut listener = sounds.play(Source::Music, Codec::Pcma);
    listener.hear();
    fs::create_dir(&quiet).unwrap();
    sounds.put("none/c.wav", &wav(&tone(1004.0, 8000, 2.0), 8000, 1));
    sounds.world.handle.tune(Some(music(&quiet)));
    let mut pcm = Vec::new();
    while pcm.len() < 4000 || level(&pcm[pcm.len() - 4000..], 1004.0, 8000) < -9.0 {
        pcm.extend(listener.hear());
    }
}

/// The payload that comes next, which stays there.
fn peek(phone: &Phone) -> Vec<u8> {
    let mut buffer = [0; 2048];
    let len = phone.rtp.peek(&mut buffer).unwrap();
    buffer[rtp::HEADER_LEN..len].to_vec()
}

/// A web server of one file, which tells how it answered.
fn serve(path: &Path, answers: mpsc::Sender<u16>) -> String {
    let file = fs::read(path).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hello.wav?x=1", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let head: Vec<String> = lines
                .map(Result::unwrap)
                .take_while(|l| !l.is_empty())
                .collect();
            let same = head
                .iter()
                .any(|l| l.eq_ignore_ascii_case("if-none-match: \"1\""));
            let status = if same { 304 } else { 200 };
            let body = if same { &[][..] } else { &file };
            let head = format!(
                "HTTP/1.1 {status} Fine\r\nETag: \"1\"\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(body).unwrap();
            answers.send(status).unwrap();
        }
    });
    url
}

/// RFC 9110 §13.1.2: what is known is asked for only if it has changed.
#[test]
fn rfc9110_13_1_2_sounds_of_the_web_are_fetched_once() {
    let mut sounds = Sounds::new();
    sounds.put("hello.wav", &wav(&tone(440.0, 8000, 0.5), 8000, 1));
    let (sender, answers) = mpsc::channel();
    let path = sounds.folder.path().join("sounds/hello.wav");
    let url = serve(&path, sender);
    for _ in 0..2 {
        let pcm = sounds.heard(Source::Sound(url.as_str().into()), Codec::Pcmu);
        assert_tone(&pcm[..3600], 8000, 440.0);
    }
    assert_eq!(answers.try_iter().collect::<Vec<_>>(), [200]);

    // After a new start the copy is still there.
    sounds.world = World::new(Config {
        copies: Some(sounds.folder.path().join("copies")),
        ..Config::default()
    });
    let pcm = sounds.heard(Source::Sound(url.as_str().into()), Codec::Pcmu);
    assert_tone(&pcm[..3600], 8000, 440.0);
    assert_eq!(answers.try_iter().collect::<Vec<_>>(), [304]);
}

/// A radio station: whoever comes hears what is sent from then on, without an end; the second one another tone
/// than the first. Whether somebody has come is told.
fn station(tones: [f32; 2], came: mpsc::Sender<f32>) -> String {
    let listener = TcpListener::bind((V4, 0)).unwrap();
    let url = format!("http://{}/live", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for frequency in tones {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            for line in lines {
                if line.unwrap().is_empty() {
                    break;
                }
            }
            let head = "HTTP/1.0 200 OK\r\nContent-Type: audio/ogg\r\nicy-name: ours\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            came.send(frequency).unwrap();
            let mut writer = ogg_opus::Writer::new(stream, 16_000, 1, 32_000).unwrap();
            let mut tone = Tone::new(frequency, 16_000);
            let mut pcm = [0; 1600];
            // Two seconds of the first, and then the connection breaks; the second lasts until nobody listens.
            let pieces = if frequency == tones[0] {
                20
            } else {
                usize::MAX
            };
            for _ in 0..pieces {
                tone.fill(&mut pcm);
                if writer.write(&pcm).is_err() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
        }
    });
    url
}

#[test]
fn music_on_hold_may_be_a_live_stream_that_breaks_off_and_comes_back() {
    let mut sounds = Sounds::new();
    let (came, coming) = mpsc::channel();
    let source = station([440.0, 1004.0], came).into();
    let music = Music {
        source,
        shuffled: false,
    };
    sounds.world.handle.tune(Some(music));
    assert!(coming.try_recv().is_err(), "nobody waits, nobody listens");
    let mut listener = sounds.play(Source::Music, Codec::Pcmu);
    for frequency in [440.0, 1004.0] {
        let mut pcm = Vec::new();
        while pcm.len() < 4000 || level(&pcm[pcm.len() - 4000..], frequency, 8000) < -9.0 {
            pcm.extend(listener.hear());
            assert!(pcm.len() < 8000 * 30, "{frequency} Hz is never heard");
        }
        assert_eq!(coming.recv(), Ok(frequency));
    }
}
