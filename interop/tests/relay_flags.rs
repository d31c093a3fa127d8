//! What the words of the ng protocol do: to us, and to the program that the protocol comes from, so that our
//! reading of them is known to be right.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use interop::relay::{Kind, Relay, list, text};
use interop::{Lab, peer};

#[test]
fn words_mean_to_us_what_they_mean() -> Result<()> {
    with_relays("relay-words", |kind, relay| {
        for (number, case) in cases().into_iter().enumerate() {
            let what = format!("{kind:?}: {:?}", case.offer);
            case.check(relay, number).context(what)?;
        }
        Ok(())
    })
}

#[test]
fn whose_packets_count_is_as_the_flags_say() -> Result<()> {
    with_relays("relay-latching", |kind, relay| {
        for (flags, follows) in [(&[][..], true), (&["asymmetric"], false)] {
            let call = Call::new(relay, flags)?;
            call.talks(follows)
                .with_context(|| format!("{kind:?}: {flags:?}"))?;
        }
        Ok(())
    })
}

fn with_relays(name: &str, test: impl Fn(Kind, &Relay) -> Result<()>) -> Result<()> {
    if !peer::ensure_all(&[peer::RTPENGINE])? {
        return Ok(());
    }
    Lab::run_quietly(name, |lab| {
        for kind in [Kind::Rtpengine, Kind::Dialtone] {
            let relay = Relay::start(lab, kind)?;
            test(kind, &relay)?;
            relay.stop()?;
        }
        Ok(())
    })
}

/// A phone's description.
fn sdp(port: u16, profile: &str, more: &str) -> String {
    format!(
        "v=0\r\no=- 7 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=audio {port} {profile} 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
         a=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n{more}"
    )
}

/// Words of an offer, and what has to be and must not be in the descriptions that come of it.
struct Case {
    offer: Vec<(&'static str, String)>,
    answer: Vec<(&'static str, String)>,
    /// What the offerer says beside the usual, and its profile.
    party: (&'static str, String),
    sent: [&'static [&'static str]; 2],
    back: [&'static [&'static str]; 2],
}

impl Case {
    fn new(offer: &[(&'static str, &str)]) -> Self {
        let value = |word: &str| match word.split_once(' ') {
            Some(_) => list(&word.split_ascii_whitespace().collect::<Vec<_>>()),
            None => word
                .parse::<i64>()
                .map_or_else(|_| text(word), |n| format!("i{n}e")),
        };
        Self {
            offer: offer
                .iter()
                .map(|(key, word)| (*key, value(word)))
                .collect(),
            answer: Vec::new(),
            party: ("RTP/AVP", String::new()),
            sent: [&[], &[]],
            back: [&[], &[]],
        }
    }

    fn says(mut self, profile: &'static str, more: &str) -> Self {
        self.party = (profile, more.to_owned());
        self
    }

    fn sends(mut self, there: &'static [&'static str], gone: &'static [&'static str]) -> Self {
        self.sent = [there, gone];
        self
    }

    fn answers(mut self, there: &'static [&'static str], gone: &'static [&'static str]) -> Self {
        self.back = [there, gone];
        self
    }

    fn check(&self, relay: &Relay, number: usize) -> Result<()> {
        let call = format!("case-{number}");
        let base = |command: &str, body: &str| {
            vec![
                ("command", text(command)),
                ("call-id", text(&call)),
                ("from-tag", text("a")),
                ("sdp", text(body)),
            ]
        };
        let (profile, more) = &self.party;
        let mut offer = base("offer", &sdp(40_000, profile, more));
        offer.extend(self.offer.iter().cloned());
        let sent = relay.ask(&offer)?;
        judge(&sent, self.sent)?;
        if self.back.iter().any(|lines| !lines.is_empty()) {
            let mut answer = base("answer", &sdp(40_002, "RTP/AVP", ""));
            answer.push(("to-tag", text("b")));
            answer.extend(self.answer.iter().cloned());
            judge(&relay.ask(&answer)?, self.back)?;
        }
        let mut delete = base("delete", "");
        delete.push(("delete-delay", "i0e".to_owned()));
        relay.ask(&delete).map(drop)
    }
}

fn judge(answer: &str, [there, gone]: [&[&str]; 2]) -> Result<()> {
    ensure!(answer.contains("6:result2:ok"), "{answer}");
    for line in there {
        ensure!(answer.contains(line), "{line} is not in {answer}");
    }
    for line in gone {
        ensure!(!answer.contains(line), "{line} is in {answer}");
    }
    Ok(())
}

fn cases() -> Vec<Case> {
    let print = format!(
        "a=setup:actpass\r\na=fingerprint:sha-256 {}\r\n",
        ["AB"; 32].join(":")
    );
    let tls = || Case::new(&[("transport-protocol", "RTP/AVP"), ("ICE", "remove")]);
    let handshake = |word| {
        let mut case = tls().says("UDP/TLS/RTP/SAVP", &print);
        case.answer.push(("DTLS", text(word)));
        case
    };
    let sdes = |word: &str| {
        let words = format!("{word} pad");
        Case::new(&[
            ("transport-protocol", "RTP/SAVP"),
            ("SDES", &*words),
            ("DTLS", "off"),
        ])
    };
    vec![
        Case::new(&[("ICE", "force")]).sends(&["a=ice-ufrag:", "a=candidate:"], &["a=ice-lite"]),
        Case::new(&[("ICE", "remove")]).sends(&[], &["a=ice-ufrag:"]),
        Case::new(&[("ICE", "force"), ("ICE-lite", "forward")]).sends(&["a=ice-lite"], &[]),
        Case::new(&[("ICE", "force"), ("ICE-lite", "backward")]).sends(&[], &["a=ice-lite"]),
        Case::new(&[("ptime", "40")]).sends(&["a=ptime:40\r\n"], &[]),
        Case::new(&[("ptime-reverse", "30")]).answers(&["a=ptime:30\r\n"], &[]),
        handshake("passive").answers(&["a=setup:passive"], &[]),
        handshake("active").answers(&["a=setup:active"], &[]),
        sdes("no-AES_CM_128_HMAC_SHA1_32")
            .sends(&[" AES_CM_128_HMAC_SHA1_80 "], &["AES_CM_128_HMAC_SHA1_32"]),
        sdes("lifetime").sends(&["|2^31"], &[]),
        Case::new(&[("flags", "asymmetric strict-source")]).sends(&["m=audio"], &[]),
        Case::new(&[("TOS", "184")]).sends(&["m=audio"], &[]),
    ]
}

/// Two phones, the first of which sends from elsewhere than it says.
struct Call {
    said: UdpSocket,
    elsewhere: UdpSocket,
    other: UdpSocket,
    /// Where the first and the second are to send.
    ports: [SocketAddr; 2],
}

impl Call {
    fn new(relay: &Relay, flags: &[&str]) -> Result<Self> {
        let socket = || {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.set_read_timeout(Some(Duration::from_millis(20)))?;
            anyhow::Ok(socket)
        };
        let [said, elsewhere, other] = [socket()?, socket()?, socket()?];
        let id = format!("latch-{}", said.local_addr()?.port());
        let ask = |command: &str, at: &UdpSocket| -> Result<SocketAddr> {
            let body = sdp(at.local_addr()?.port(), "RTP/AVP", "");
            let mut entries = vec![
                ("command", text(command)),
                ("call-id", text(&id)),
                ("from-tag", text("a")),
                ("sdp", text(&body)),
            ];
            match command {
                "answer" => entries.push(("to-tag", text("b"))),
                _ => entries.push(("flags", list(flags))),
            }
            let answer = relay.ask(&entries)?;
            let port = answer
                .split("m=audio ")
                .nth(1)
                .and_then(|rest| rest.split(' ').next());
            let port = port.with_context(|| answer.clone())?.parse::<u16>()?;
            Ok(SocketAddr::from(([127, 0, 0, 1], port)))
        };
        let second = ask("offer", &said)?;
        let first = ask("answer", &other)?;
        Ok(Self {
            said,
            elsewhere,
            other,
            ports: [first, second],
        })
    }

    /// Both talk until each has been heard, the first one where that `follows` what it does, or what it said.
    fn talks(&self, follows: bool) -> Result<()> {
        let [here, there] = match follows {
            true => [&self.elsewhere, &self.said],
            false => [&self.said, &self.elsewhere],
        };
        let end = Instant::now() + Duration::from_secs(20);
        let mut heard = [false; 2];
        for n in 0_u16.. {
            ensure!(
                Instant::now() < end,
                "heard at the second and the first: {heard:?}"
            );
            self.elsewhere.send_to(&packet(1, n), self.ports[0])?;
            self.other.send_to(&packet(2, n), self.ports[1])?;
            heard[0] |= self.other.recv(&mut [0; 2000]).is_ok();
            heard[1] |= here.recv(&mut [0; 2000]).is_ok();
            if heard == [true; 2] {
                break;
            }
        }
        if !follows {
            there.set_nonblocking(true)?;
            ensure!(there.recv(&mut [0; 2000]).is_err(), "it was followed");
        }
        Ok(())
    }
}

/// 20 ms of G.711.
fn packet(ssrc: u32, number: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(number.to_be_bytes());
    packet.extend((u32::from(number) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.resize(172, 0xd5);
    packet
}
