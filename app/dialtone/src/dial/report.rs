//! What is told of a call while it goes on, and of the whole of it.

use std::fmt::Display;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use media::{Mos, Security};
use serde_json::{Value, json};
use sip::StatusCode;
use ue::Voice;
use ue::load::Transport;
use ue::phone::{Failure, Sound};

use super::Dial;
use super::account::Account;
use crate::ask;
use crate::terminal::{self, Style};

/// Tells people line by line, and a program all at the end.
#[derive(Debug)]
pub(super) struct Report {
    json: bool,
    colours: bool,
    whole: Value,
}

/// Who ended a call that was answered, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    /// The other side hung up.
    There,
    /// We hung up, for this reason.
    Here(&'static str),
}

impl Report {
    pub(super) fn begin(dial: &Dial, account: &Account) -> Result<Self> {
        let (number, user, server) = (&dial.number, &account.user, account.server);
        let report = Self {
            json: dial.output.json,
            colours: terminal::colours(&io::stdout()),
            whole: json!({ "number": number, "user": user, "server": server.to_string(),
                "transport": dial.transport.name() }),
        };
        let way = match dial.transport {
            Transport::Udp => String::new(),
            transport => format!(" by {transport}"),
        };
        let line = format!("{number} as {user} through {server}{way}");
        report.line("dialling", Style::Bold, line)?;
        Ok(report)
    }

    /// The other side rings, or its call makes progress.
    pub(super) fn progress(&mut self, status: StatusCode, after: Duration) -> Result<()> {
        if status.0 == 180 {
            self.whole["ringing_after_ms"] = milliseconds(after);
        }
        let line = format!(
            "after {} ({} {})",
            seconds(after),
            status.0,
            status.reason()
        );
        let word = if status.0 == 180 {
            "ringing"
        } else {
            "progress"
        };
        self.line(word, Style::Yellow, line)
    }

    /// Sound comes before the answer.
    pub(super) fn early(&mut self, sound: &Sound, after: Duration) -> Result<()> {
        if self.whole["early_after_ms"].is_null() {
            self.whole["early_after_ms"] = milliseconds(after);
        }
        let how = how(sound);
        let line = format!("after {}, {how}: heard before the answer", seconds(after));
        self.line("early", Style::Yellow, line)
    }

    pub(super) fn answered(&mut self, sound: &Sound, after: Duration) -> Result<()> {
        self.whole["answered_after_ms"] = milliseconds(after);
        self.whole["codec"] = sound.codec.name().into();
        self.whole["encrypted"] = is_encrypted(sound).into();
        let line = format!("after {}, {}", seconds(after), how(sound));
        self.line("answered", Style::Green, line)
    }

    /// A key goes out, or could not.
    pub(super) fn key(&self, key: char, said: bool) -> Result<()> {
        match said {
            true => self.line("key", Style::Dim, key),
            false => self.line("key", Style::Dim, format!("{key} is not taken there")),
        }
    }

    /// The call is over, after so long a talk.
    pub(super) fn ended(&mut self, by: Ended, talk: Duration, voice: &Voice) -> Result<()> {
        let (who, why) = match by {
            Ended::There => ("there", "by the other side".to_owned()),
            Ended::Here(why) => ("here", format!("by us: {why}")),
        };
        let reception = voice.reception();
        let (packets, lost, loss) = (reception.packets(), reception.lost(), reception.loss());
        let (jitter, worst) = reception.jitter_ms();
        let mos = Mos::reckon(voice.codec(), loss, jitter).filter(|_| packets > 0);
        self.whole["ended_by"] = who.into();
        self.whole["talk_ms"] = milliseconds(talk);
        self.whole["packets"] = packets.into();
        self.whole["lost"] = lost.into();
        self.whole["jitter_ms"] = tenths(jitter);
        self.whole["worst_jitter_ms"] = tenths(worst);
        self.whole["mos"] = mos.map_or(Value::Null, |mos| {
            tenths(f32::from(mos.hundredths()) / 100.0)
        });
        self.line(
            "ended",
            Style::Bold,
            format!("{why}, after {}", seconds(talk)),
        )?;
        let percent = loss * 100.0;
        let mos = mos.map_or_else(|| "unknown".to_owned(), |mos| mos.to_string());
        let heard = format!(
            "{packets} packets, {lost} lost ({percent:.1} %), jitter {jitter:.1} ms \
             (at most {worst:.1} ms), MOS {mos}"
        );
        let style = if packets == 0 {
            Style::Red
        } else {
            Style::Bold
        };
        self.line("heard", style, heard)?;
        if self.json {
            ask::print_json(&self.whole)?;
        }
        Ok(())
    }

    fn line(&self, word: &str, style: Style, text: impl Display) -> Result<()> {
        if !self.json {
            let word = terminal::styled(&format!("{word:10}"), style, self.colours);
            writeln!(io::stdout(), "{word}{text}")?;
        }
        Ok(())
    }
}

/// Why a call came to nothing, and what can be done.
pub(super) fn refusal(failure: Failure, dial: &Dial, account: &Account) -> String {
    let (number, user, server) = (&dial.number, &account.user, account.server);
    match failure {
        Failure::Status(status) => {
            let remedy = remedy(status, user);
            let (code, reason) = (status.0, status.reason());
            format!("{number} was refused by {server}: {code} {reason}; {remedy}")
        }
        Failure::Timeout => format!(
            "{number}: no answer of {server} by {}; is it the server's address (--server), \
             and does it run (`dialtone status`)?",
            dial.transport
        ),
        Failure::Unreachable => unreachable_at(server),
        Failure::Malformed => format!(
            "{number}: the answer of {server} has no sound that we asked for; \
             offer other codecs with --codec, or encrypt with --srtp"
        ),
    }
}

/// Why there is no phone that could call.
pub(super) fn unreachable(transport: Transport, server: SocketAddr) -> String {
    match transport {
        Transport::Udp => format!("no way leads to {server}"),
        Transport::Tcp => format!(
            "there is no connection to {server} by TCP; is it the server's address (--server), \
             and does it listen there ([sip] listen)?"
        ),
        Transport::Tls => format!(
            "there is no connection to {server} by TLS; is it the server's address (--server), does it listen \
             there ([sip] listen), and who vouches for its certificate (--ca)?"
        ),
    }
}

fn unreachable_at(server: SocketAddr) -> String {
    format!("the network says that nobody is at {server}; name the server with --server")
}

fn remedy(status: StatusCode, user: &str) -> String {
    match status.0 {
        401 | 403 | 407 => format!(
            "is the password of {user} right (--as, --password), and may {user} call this number?"
        ),
        404 | 410 | 484 | 604 => {
            "nobody has this number: see `dialtone user list` and etc/dialplan.toml".to_owned()
        }
        408 | 480 => "nobody answers, or no phone is there: `dialtone phones` shows those that are"
            .to_owned(),
        486 | 600 => "the line is busy: call again later".to_owned(),
        488 | 606 => "offer other codecs with --codec, or encrypt with --srtp".to_owned(),
        603 => "the other side does not want the call".to_owned(),
        429 | 503 => "the server has too much to do or is ending: call again later".to_owned(),
        _ => "`dialtone trace` shows what was said".to_owned(),
    }
}

fn how(sound: &Sound) -> String {
    let how = match is_encrypted(sound) {
        true => "encrypted",
        false => "in clear",
    };
    format!("{} {how}", sound.codec.name())
}

fn is_encrypted(sound: &Sound) -> bool {
    sound.security != Security::Plain
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn milliseconds(time: Duration) -> Value {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).into()
}

fn tenths(number: f32) -> Value {
    json!((f64::from(number) * 100.0).round() / 100.0)
}
