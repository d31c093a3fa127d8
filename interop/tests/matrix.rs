//! Every protection and every codec of either party: calls between phones of our own through the server, with a
//! tone of each party measured where the other one hears it.
//! `cargo test -p dialtone-interop --test matrix -- --nocapture` prints what was measured.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use codec::Codec;
use interop::{Lab, Server};
use media::Profile;
use media::dtls::Identity;
use ue::phone::{CallNumber, Command, End, Event, Failure, Protection};
use ue::{Softphone, Voice};

/// How a party protects its sound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Plain,
    SdesCm,
    SdesGcm,
    Dtls,
}

const KINDS: [Kind; 4] = [Kind::Plain, Kind::SdesCm, Kind::SdesGcm, Kind::Dtls];

/// Codecs, and how far above all else a tone must be that the codec has carried, in decibels. Those made for
/// speech alone bend it.
const CODECS: [(Codec, f32); 7] = [
    (Codec::Pcmu, 33.0),
    (Codec::Pcma, 33.0),
    (Codec::G722, 33.0),
    (Codec::Opus, 18.0),
    (Codec::G729, 20.0),
    (Codec::Gsm, 17.0),
    (Codec::Ilbc, 17.0),
];

/// What the caller and the callee say, in hertz.
const TONES: [f32; 2] = [1004.0, 700.0];
/// Packets of silence before the tone, and of the tone: 100 and 800 ms.
const SILENT: u64 = 5;
const SPOKEN: u64 = 40;
/// The last part, in which all have settled, in milliseconds: whole cycles of either tone.
const MEASURED_MS: u32 = 500;
/// How long anything may take that waits for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// One way of sending sound: protection and codec, by their places.
type Way = (usize, usize);

fn ways() -> impl Iterator<Item = Way> {
    (0..KINDS.len()).flat_map(|kind| (0..CODECS.len()).map(move |codec| (kind, codec)))
}

fn name(role: usize, (kind, codec): Way) -> String {
    format!("{}{kind}{codec}", role + 1)
}

/// A caller takes what it has offered; a callee is offered what its user's settings say.
fn users() -> String {
    let mut text = String::new();
    for role in [0, 1] {
        for way in ways() {
            let name = name(role, way);
            // Writing to a String can't fail.
            _ = write!(text, "[user.{name}]\npassword = \"pw-{name}-secret\"\n");
            if role == 1 {
                let codec = CODECS[way.1].0.name();
                let protection = match KINDS[way.0] {
                    Kind::Plain => "encryption = \"forbidden\"",
                    Kind::SdesCm | Kind::SdesGcm => "encryption = \"required\"",
                    Kind::Dtls => "webrtc = true",
                };
                _ = write!(text, "codecs = [\"{codec}\"]\n{protection}\n");
            }
        }
    }
    text
}

fn phone(server: &Server, identity: &Arc<Identity>, role: usize, way: Way) -> Result<Softphone> {
    let name = name(role, way);
    let password = format!("pw-{name}-secret");
    let mut seed = [role as u8 + 1; 32];
    (seed[0], seed[1]) = (way.0 as u8 + 1, way.1 as u8 + 1);
    let protection = match KINDS[way.0] {
        Kind::Plain => Protection::None,
        Kind::SdesCm => Protection::Sdes(Profile::Aes128CmSha1_80),
        Kind::SdesGcm => Protection::Sdes(Profile::AeadAes256Gcm),
        Kind::Dtls => Softphone::by_handshake(identity),
    };
    let user = (&*name, &*password);
    let voice = (seed, TONES[role]);
    let phone = Softphone::new(user, server.sip(), identity, voice, |settings| {
        settings.codecs = vec![CODECS[way.1].0];
        settings.protection = protection;
    });
    phone.with_context(|| name)
}

/// The phones of all callers and all callees.
struct Hall {
    phones: [Vec<Softphone>; 2],
    /// The call that each is in.
    calls: [Vec<Option<CallNumber>>; 2],
}

impl Hall {
    fn open(server: &Server, identity: &Arc<Identity>) -> Result<Self> {
        let side = |role| {
            ways()
                .map(|way| phone(server, identity, role, way))
                .collect()
        };
        let phones: [Result<Vec<_>>; 2] = [0, 1].map(side);
        let [callers, callees] = phones;
        let count = ways().count();
        let mut hall = Self {
            phones: [callers?, callees?],
            calls: [vec![None; count], vec![None; count]],
        };
        for phone in hall.phones.iter_mut().flatten() {
            phone.command(Instant::now(), Command::Register)?;
        }
        let mut left = 2 * count;
        hall.run("registrations", |_, event| {
            left -= usize::from(matches!(event, Event::Registered { .. }));
            Ok((left == 0, None))
        })?;
        Ok(hall)
    }

    /// Lets all phones work until `hear`, who is told of every event with role and number of its phone, says that
    /// all is done; it may have the phone do something.
    fn run(
        &mut self,
        what: &str,
        mut hear: impl FnMut([usize; 2], &Event) -> Result<(bool, Option<Command>)>,
    ) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for (role, phones) in self.phones.iter_mut().enumerate() {
                for (number, phone) in phones.iter_mut().enumerate() {
                    phone.step(Instant::now())?;
                    while let Some(event) = phone.event() {
                        match event {
                            Event::Up { call, .. } => self.calls[role][number] = Some(call),
                            Event::Ended(..) => self.calls[role][number] = None,
                            _ => {}
                        }
                        let (done, command) = hear([role, number], &event)?;
                        if let Some(command) = command {
                            phone.command(Instant::now(), command)?;
                        }
                        if done {
                            return Ok(());
                        }
                    }
                }
            }
            ensure!(Instant::now() < deadline, "{what}: not in time");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Each caller calls its callee. False: one is refused since the two have no codec that the server can convert.
    fn dial(&mut self, server: &Server, pairs: &[[usize; 2]]) -> Result<bool> {
        let all: Vec<_> = ways().collect();
        for [caller, callee] in pairs {
            let uri = format!("sip:{}@{}", name(1, all[*callee]), server.sip());
            self.phones[0][*caller].command(Instant::now(), Command::Dial(uri))?;
        }
        let (mut left, mut refused) = (2 * pairs.len(), false);
        self.run("calls", |[role, number], event| {
            let mut command = None;
            match event {
                Event::Incoming { call, .. } => command = Some(Command::Answer(*call)),
                Event::Ended(_, End::Failed(Failure::Status(status))) if status.0 == 488 => {
                    refused = true;
                }
                Event::Ended(_, end) => bail!("{role} of {:?}: {end:?}", all[number]),
                Event::Up { .. } => left -= 1,
                _ => {}
            }
            Ok((left == 0 || refused, command))
        })?;
        if !refused {
            self.until("keys", |voice| voice.is_ready())?;
        }
        Ok(!refused)
    }

    fn hang_up(&mut self) -> Result<()> {
        let mut left = self.calls.iter().flatten().flatten().count();
        for (phone, call) in self.phones[0].iter_mut().zip(&self.calls[0]) {
            if let Some(call) = call {
                phone.command(Instant::now(), Command::HangUp(*call))?;
            }
        }
        self.run("ends of calls", |_, event| {
            left -= usize::from(matches!(event, Event::Ended(..)));
            Ok((left == 0, None))
        })
    }

    /// Whether the server has a codec, which it may have been built without.
    fn converts(&mut self, server: &Server, codec: usize) -> Result<bool> {
        let has = self.dial(server, &[[0, codec]])?;
        if has {
            self.hang_up()?;
        }
        Ok(has)
    }

    /// The voices of those who are in a call.
    fn voices(&mut self) -> impl Iterator<Item = &mut Voice> {
        let calls = self.calls.iter().flatten();
        let phones = self.phones.iter_mut().flatten().zip(calls);
        phones.filter_map(|(phone, call)| call.and_then(|_| phone.voice()))
    }

    /// Lets all voices listen until something holds for each of them.
    fn until(&mut self, what: &str, holds: impl Fn(&Voice) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut all = true;
            for voice in self.voices() {
                voice.listen(Instant::now())?;
                all &= holds(voice);
            }
            if all {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{what}: not in time");
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// All say silence and then their tones, each packet when the ones before have been heard.
    fn talk(&mut self) -> Result<()> {
        for n in 0..SILENT + SPOKEN {
            for voice in self.voices() {
                voice.say(n < SILENT)?;
            }
            self.until("sound", |voice| voice.packets() > n)?;
        }
        Ok(())
    }

    /// How long one packet takes from a caller to its callee while all others are quiet.
    fn passage(&mut self, caller: usize, callee: usize) -> Result<Duration> {
        let [callers, callees] = &mut self.phones;
        let (Some(one), Some(other)) = (callers[caller].voice(), callees[callee].voice()) else {
            bail!("no call");
        };
        let before = other.packets();
        let begun = Instant::now();
        one.say(false)?;
        while other.packets() == before {
            other.listen(Instant::now())?;
            ensure!(begun.elapsed() < PATIENCE, "a packet is lost");
        }
        Ok(begun.elapsed())
    }

    /// Checks what caller and callee have heard, and says what it was.
    fn check(&mut self, numbers: [usize; 2]) -> Result<String> {
        let all: Vec<_> = ways().collect();
        let ends = numbers.map(|number| all[number]);
        let [one, other] =
            ends.map(|(kind, codec)| format!("{} {:?}", CODECS[codec].0, KINDS[kind]));
        let least = CODECS[ends[0].1].1.min(CODECS[ends[1].1].1);
        let passage = self.passage(numbers[0], numbers[1])?;
        let what = format!("{one} - {other}");
        let mut said = format!("{what:<44}");
        for role in [0, 1] {
            let voice = self.phones[role][numbers[role]]
                .voice()
                .context("no call")?;
            // The packet that was timed belongs to no tone.
            let heard = voice
                .measure(TONES[1 - role], MEASURED_MS)
                .context("too little")?;
            let delay = heard.begun - 20.0 * SILENT as f32;
            _ = write!(said, " {:>6.1} dB {delay:>5.1} ms", heard.clarity);
            ensure!(heard.level.abs() < 3.0, "{what}: {heard:?}");
            ensure!(
                heard.clarity > least,
                "{what}: {heard:?}, {least} dB at least"
            );
            ensure!((-1.0..30.0).contains(&delay), "{what}: {delay} ms");
        }
        _ = write!(said, "  {passage:.2?}");
        Ok(said)
    }
}

/// RFC 3711, RFC 4568, RFC 5764: four protections and seven codecs of the caller with as many of the callee, 784
/// calls, and a tone both ways in each.
#[test]
fn every_protection_and_codec_is_called_by_every_other() -> Result<()> {
    Lab::run_quietly("matrix", |lab| {
        std::fs::write(lab.site().etc()?.join("users.toml"), users())?;
        std::fs::write(
            lab.site().etc()?.join("dialplan.toml"),
            "[[extension]]\nnumber = \".\"\nsteps = [{ dial = \"{number}\" }]\n",
        )?;
        let (first, last) = lab.ports().range(MEDIA_PORTS)?;
        let ports = format!("{first}-{last}");
        let server = Server::start(lab, &[("media.ports", &ports)])?;
        let identity = Arc::new(Identity::generate()?);
        let mut hall = Hall::open(&server, &identity)?;
        let mut converted = Vec::new();
        for (codec, (what, _)) in CODECS.iter().enumerate() {
            converted.push(hall.converts(&server, codec)?);
            if !converted[codec] {
                println!("{what} is not in this build: it is joined with itself alone");
            }
        }
        let all: Vec<_> = ways().collect();
        let joined = |[one, other]: &[usize; 2]| {
            let [one, other] = [all[*one].1, all[*other].1];
            one == other || converted[one] && converted[other]
        };
        println!("caller and callee: tone over noise, delay of the codecs, passage of a packet");
        for shift in 0..all.len() {
            let pairs = (0..all.len()).map(|caller| [caller, (caller + shift) % all.len()]);
            let pairs: Vec<_> = pairs.filter(joined).collect();
            ensure!(hall.dial(&server, &pairs)?, "a call is refused");
            hall.talk()?;
            for pair in pairs {
                println!("{}", hall.check(pair)?);
            }
            hall.hang_up()?;
        }
        server.settles()
    })
}

/// Enough for 28 calls, and for as many that have just ended.
const MEDIA_PORTS: u16 = 240;
