//! Calls that are set up by rtpengine's control protocol, in rtpengine or in ours.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result};
use codec::Codec;
use srtp::sdes::Crypto;
use srtp::{MasterKey, Profile};
use ue::load::{Form, Hears, Keys, Leg, Says, Sound, rtp_socket};

use super::ng::{Client, Value};
use crate::server::Server;

/// What the parties of a call speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// G.711 A-law both, unencrypted.
    Plain,
    /// The same; the callee encrypts (SDES, AES_CM_128_HMAC_SHA1_80).
    HalfSecure,
    /// Both encrypt, each with keys of its own.
    Secure,
    /// The caller speaks PCMU, the callee this codec.
    Transcoded(Codec),
    /// PCMA; the caller hears what the server plays, and both are silent.
    Played,
}

/// Sets up `calls` calls and returns their legs, two by two. `first` is the number of the first one: calls of one
/// server have different numbers.
///
/// # Errors
/// If the server refuses one.
pub fn set_up(server: &Server, kind: Kind, first: usize, calls: usize) -> Result<Vec<Leg>> {
    let mut client = Client::connect(server.address)?;
    let ip = server.address.ip();
    let sounds = kind.sounds()?;
    let mut legs = Vec::with_capacity(2 * calls);
    for number in first..first + calls {
        let [caller, callee] = [rtp_socket(ip)?, rtp_socket(ip)?];
        let keys = [key(number, 0)?, key(number, 1)?];
        let call = Call { number, kind };
        let offered = call.offer(&mut client, caller.local_addr()?, &keys[0])?;
        let answered = call.answer(&mut client, callee.local_addr()?, &keys[1], &offered)?;
        legs.push(Leg {
            socket: caller,
            remote: answered.address,
            form: call.form(0, &sounds, &keys[0], &answered)?,
        });
        legs.push(Leg {
            socket: callee,
            remote: offered.address,
            form: call.form(1, &sounds, &keys[1], &offered)?,
        });
    }
    Ok(legs)
}

/// Has the caller of each call hear a file.
///
/// # Errors
/// If the server refuses.
pub fn play(server: &Server, first: usize, calls: usize, file: &str) -> Result<()> {
    let mut client = Client::connect(server.address)?;
    for number in first..first + calls {
        client.command(&Value::dictionary([
            ("command", Value::text("play media")),
            ("call-id", Value::text(&format!("bench-{number}"))),
            ("from-tag", Value::text("caller")),
            ("file", Value::text(file)),
        ]))?;
    }
    Ok(())
}

struct Call {
    number: usize,
    kind: Kind,
}

/// What the server says in its description.
struct Described {
    address: SocketAddr,
    payload_type: u8,
    crypto: Option<Crypto>,
}

type Sounds = [Option<Arc<Sound>>; 2];

impl Kind {
    fn codec(self, side: usize) -> Codec {
        match (self, side) {
            (Self::Transcoded(_), 0) => Codec::Pcmu,
            (Self::Transcoded(codec), _) => codec,
            _ => Codec::Pcma,
        }
    }

    fn is_secure(self, side: usize) -> bool {
        self == Self::Secure || self == Self::HalfSecure && side == 1
    }

    fn sounds(self) -> Result<Sounds> {
        let Self::Transcoded(_) = self else {
            return Ok([None, None]);
        };
        let sound = |side| Sound::sweep(self.codec(side)).map(Arc::new);
        let sounds = [sound(0), sound(1)];
        anyhow::ensure!(sounds.iter().all(Option::is_some), "a codec is missing");
        Ok(sounds)
    }

    /// The transport of a side.
    fn transport(self, side: usize) -> &'static str {
        match self.is_secure(side) {
            true => "RTP/SAVP",
            false => "RTP/AVP",
        }
    }
}

impl Call {
    fn offer(&self, client: &mut Client, ours: SocketAddr, key: &MasterKey) -> Result<Described> {
        let payload_type = static_number(self.kind.codec(0));
        let sdp = self.sdp(0, ours, payload_type, 1, key);
        self.command(client, "offer", &sdp, self.kind.transport(1))
    }

    fn answer(
        &self,
        client: &mut Client,
        ours: SocketAddr,
        key: &MasterKey,
        offered: &Described,
    ) -> Result<Described> {
        let tag = offered.crypto.as_ref().map_or(1, |crypto| crypto.tag);
        let sdp = self.sdp(1, ours, offered.payload_type, tag, key);
        self.command(client, "answer", &sdp, self.kind.transport(0))
    }

    fn sdp(
        &self,
        side: usize,
        ours: SocketAddr,
        payload_type: u8,
        tag: u32,
        key: &MasterKey,
    ) -> String {
        let (ip, port) = (ours.ip(), ours.port());
        let transport = self.kind.transport(side);
        let map = rtpmap(self.kind.codec(side));
        let crypto = Crypto {
            tag,
            profile: PROFILE,
            key: key.clone(),
        };
        let crypto = match self.kind.is_secure(side) {
            true => format!("a=crypto:{}\r\n", crypto.encode()),
            false => String::new(),
        };
        format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
             m=audio {port} {transport} {payload_type}\r\n\
             a=rtpmap:{payload_type} {map}\r\n{crypto}a=ptime:20\r\na=sendrecv\r\n"
        )
    }

    /// Offers or answers; returns what the server tells the other side.
    fn command(
        &self,
        client: &mut Client,
        what: &str,
        sdp: &str,
        transport: &str,
    ) -> Result<Described> {
        let list =
            |texts: &[&str]| Value::List(texts.iter().map(|text| Value::text(text)).collect());
        let mut command = Value::dictionary([
            ("command", Value::text(what)),
            ("call-id", Value::text(&format!("bench-{}", self.number))),
            ("from-tag", Value::text("caller")),
            ("to-tag", Value::text("callee")),
            ("sdp", Value::text(sdp)),
            ("ICE", Value::text("remove")),
            ("DTLS", Value::text("off")),
            ("replace", list(&["origin"])),
            ("transport-protocol", Value::text(transport)),
        ]);
        if let (Kind::Transcoded(codec), Value::Dictionary(entries)) = (self.kind, &mut command) {
            let codecs = [
                ("transcode", list(&[rtpmap(codec)])),
                ("mask", list(&["PCMU"])),
            ];
            entries.insert(b"codec".to_vec(), Value::dictionary(codecs));
        }
        let answer = client.command(&command)?;
        let sdp = answer.find("sdp").context("an answer without SDP")?;
        Described::read(sdp).with_context(|| format!("no RTP address in {sdp}"))
    }

    fn form(
        &self,
        side: usize,
        sounds: &Sounds,
        ours: &MasterKey,
        described: &Described,
    ) -> Result<Form> {
        let number = described.payload_type;
        let (says, hears) = match (self.kind, &sounds[side]) {
            (Kind::Played, _) if side == 0 => (Says::Nothing, Hears::Any(number)),
            (Kind::Played, _) => (Says::Nothing, Hears::Nothing),
            (_, Some(sound)) => (Says::Sound(number, Arc::clone(sound)), Hears::Any(number)),
            _ => (Says::Stamps, Hears::Stamps),
        };
        let keys = match self.kind.is_secure(side) {
            true => {
                let theirs = described.crypto.as_ref().context("no key of the server")?;
                Some(Box::new(Keys::new(PROFILE, ours, &theirs.key)?))
            }
            false => None,
        };
        Ok(Form { says, hears, keys })
    }
}

impl Described {
    fn read(sdp: &str) -> Option<Self> {
        let after = |start: &str| sdp.lines().find_map(|line| line.strip_prefix(start));
        let ip: IpAddr = after("c=IN IP4 ")?.trim().parse().ok()?;
        let mut words = after("m=audio ")?.split_ascii_whitespace();
        let port = words.next()?.parse().ok()?;
        let payload_type = words.nth(1)?.parse().ok()?;
        let lines = sdp
            .lines()
            .filter_map(|line| line.strip_prefix("a=crypto:"));
        let mut crypto = lines.filter_map(|line| Crypto::parse(line.trim()).ok());
        Some(Self {
            address: SocketAddr::new(ip, port),
            payload_type,
            crypto: crypto.find(|crypto| crypto.profile == PROFILE),
        })
    }
}

/// A key of a party's own; nobody else is on this machine's loopback.
fn key(call: usize, side: u8) -> Result<MasterKey> {
    let mut bytes = vec![side + 1; MasterKey::len_for(PROFILE)];
    bytes[..8].copy_from_slice(&(call as u64).to_be_bytes());
    Ok(MasterKey::parse(PROFILE, &bytes)?)
}

fn static_number(codec: Codec) -> u8 {
    match codec {
        Codec::Pcmu => 0,
        _ => 8,
    }
}

fn rtpmap(codec: Codec) -> &'static str {
    match codec {
        Codec::Pcmu => "PCMU/8000",
        Codec::G722 => "G722/8000",
        Codec::Opus => "opus/48000/2",
        _ => "PCMA/8000",
    }
}

const PROFILE: Profile = Profile::Aes128CmSha1_80;
