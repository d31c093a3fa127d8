//! Messages as arrows between lifelines.
//!
//! The server's lifeline stands beside the first participant's; others join to the right as they come.
//! When there are more than the width has room for, the one that has been silent for longest gives its
//! place away.

use std::fmt::Write as _;
use std::net::SocketAddr;

use api::TraceMessage;
use api::trace::Direction;
use base::UnixTime;
use sip::Message;
use store::calendar::Date;

use super::again::Again;
use super::calls::Calls;
use super::summary::{Kind, Summary, peer_name, printable};
use crate::terminal::{Style, cut, styled};

/// A ladder diagram that grows downwards.
#[derive(Debug)]
pub(super) struct Ladder {
    width: usize,
    colours: bool,
    /// Left to right; the server is not among them.
    peers: Vec<Peer>,
    server: String,
    /// Counts messages, to tell who has been silent for longest.
    count: u64,
    rows_since_header: usize,
    calls: Calls,
    again: Again,
}

/// A participant.
#[derive(Debug)]
struct Peer {
    address: SocketAddr,
    transport: String,
    name: String,
    last: u64,
}

impl Ladder {
    /// A ladder for a terminal of so many columns.
    pub(super) fn new(width: usize, colours: bool) -> Self {
        Self {
            width: width.max(NARROWEST),
            colours,
            peers: Vec::new(),
            server: String::new(),
            count: 0,
            rows_since_header: 0,
            calls: Calls::default(),
            again: Again::default(),
        }
    }

    /// The lines that a message adds.
    pub(super) fn message(&mut self, traced: &TraceMessage) -> String {
        let octets = traced.content.octets();
        let Ok(message) = Message::parse(&octets) else {
            return String::new();
        };
        let mut text = String::new();
        let new_call = traced.call.as_deref().and_then(|id| self.calls.enter(id));
        if let Some(letter) = new_call {
            text += &self.rule(letter, traced, &message);
        }
        let (peer, changed) = self.peer(traced, &message);
        if changed || self.rows_since_header >= HEADER_EVERY {
            text += &self.header();
            self.rows_since_header = 0;
        }
        self.rows_since_header += 1;
        let copies = self.again.seen(traced, &octets);
        text += &self.arrow(peer, traced, &Summary::of(&message), copies);
        text
    }

    /// A line that says that messages are missing here.
    pub(super) fn missed(&self, count: u64) -> String {
        let text = format!("{:MARGIN$}… {count} messages are missing here …", "");
        format!("{}\n", styled(&text, Style::Yellow, self.colours))
    }

    /// A line that tells which call a letter stands for.
    fn rule(&self, letter: char, traced: &TraceMessage, message: &Message<'_>) -> String {
        let user = |party: Option<sip::NameAddr<'_>>| {
            let user =
                party.and_then(|party| Some(party.parse_uri().ok()?.user_name().into_owned()));
            printable(
                &user
                    .filter(|user| !user.is_empty())
                    .unwrap_or_else(|| "?".into()),
            )
        };
        let (from, to) = (user(message.from().ok()), user(message.to().ok()));
        let id = printable(traced.call.as_deref().unwrap_or_default());
        let text = format!("call {letter}: {from} → {to}, {id} ");
        let room = self.width.saturating_sub(MARGIN + 3);
        let text = cut(&text, room);
        let rest = "─".repeat(room.saturating_sub(text.chars().count()));
        let line = format!("{:MARGIN$}── {text}{rest}", "");
        format!("{}\n", styled(line.trim_end(), Style::Bold, self.colours))
    }

    /// The position of the other end of a message, and whether the columns have changed for it.
    fn peer(&mut self, traced: &TraceMessage, message: &Message<'_>) -> (usize, bool) {
        self.count += 1;
        let received = traced.direction == Direction::Received;
        if self.server.is_empty() {
            self.server = traced.local.to_string();
        }
        let known = self
            .peers
            .iter()
            .position(|p| p.address == traced.remote && p.transport == traced.transport);
        if let Some(position) = known {
            let peer = &mut self.peers[position];
            peer.last = self.count;
            let nameless = peer.name.is_empty();
            if nameless {
                peer.name = peer_name(message, received).unwrap_or_default();
            }
            return (position, nameless && !peer.name.is_empty());
        }
        let peer = Peer {
            address: traced.remote,
            transport: traced.transport.clone(),
            name: peer_name(message, received).unwrap_or_default(),
            last: self.count,
        };
        (self.place(peer), true)
    }

    /// Gives a new participant a column.
    fn place(&mut self, peer: Peer) -> usize {
        if self.peers.len() < self.most_peers() {
            self.peers.push(peer);
            return self.peers.len() - 1;
        }
        let silent = (0..self.peers.len()).min_by_key(|&index| self.peers[index].last);
        let silent = silent.unwrap_or_default();
        self.peers[silent] = peer;
        silent
    }

    fn most_peers(&self) -> usize {
        (self.room() / LEAST_GAP).max(2)
    }

    /// Columns between the first and the last lifeline.
    fn room(&self) -> usize {
        self.width - MARGIN - 2 * HALF_NAME
    }

    /// Columns from one lifeline to the next.
    fn gap(&self) -> usize {
        (self.room() / self.peers.len().max(2)).min(MOST_GAP)
    }

    /// The column of a lifeline; the server's has the index 1.
    fn lifeline(&self, index: usize) -> usize {
        MARGIN + HALF_NAME + index * self.gap()
    }

    fn header(&self) -> String {
        let names = self.peers.iter().map(|peer| match peer.name.as_str() {
            "" => "?".to_owned(),
            name => name.to_owned(),
        });
        let names = with_server("dialtone".to_owned(), names.collect());
        let addresses = self.peers.iter().map(|peer| match peer.transport.as_str() {
            "udp" => peer.address.to_string(),
            other => format!("{}/{other}", peer.address),
        });
        let addresses = with_server(self.server.clone(), addresses.collect());
        let names = self.centred(&names);
        let addresses = self.centred(&addresses);
        let ticks: String = self.lifelines_alone().into_iter().collect();
        format!(
            "{}\n{addresses}\n{ticks}\n",
            styled(&names, Style::Bold, self.colours)
        )
    }

    /// Texts, each in the middle over its lifeline.
    fn centred(&self, texts: &[String]) -> String {
        let mut line = String::new();
        let mut used = 0;
        for (index, text) in texts.iter().enumerate() {
            let text = cut(text, self.gap().max(2 * HALF_NAME) - 1);
            let length = text.chars().count();
            let start = (self.lifeline(index)).saturating_sub(length / 2);
            let latest = self.width.saturating_sub(length);
            let start = start.min(latest).max(if used > 0 { used + 1 } else { 0 });
            // Writing to a string can't fail.
            let _ = write!(line, "{:1$}{text}", "", start - used);
            used = start + length;
        }
        line
    }

    fn arrow(&self, peer: usize, traced: &TraceMessage, summary: &Summary, copies: u32) -> String {
        // The server's lifeline is the second.
        let column = if peer == 0 { 0 } else { peer + 1 };
        let (left, right) = (self.lifeline(column.min(1)), self.lifeline(column.max(1)));
        let rightwards = (traced.direction == Direction::Received) == (column == 0);
        let mut row = self.lifelines_alone();
        for place in &mut row[left + 1..right] {
            *place = if *place == '│' { '┼' } else { '─' };
        }
        let head = if rightwards { right - 1 } else { left + 1 };
        row[head] = if rightwards { '▶' } else { '◀' };
        let room = self.gap().saturating_sub(7);
        let label = format!(" {} ", label(summary, copies, room));
        let start = right - self.gap() + 3;
        for (place, c) in row[start..right - 1].iter_mut().zip(label.chars()) {
            *place = c;
        }
        let text = |part: &[char]| part.iter().collect::<String>();
        format!(
            "{} {} {}{}{}\n",
            time(traced.at),
            self.letter(traced),
            text(&row[MARGIN..=left]),
            self.coloured(&text(&row[left + 1..right]), summary.kind, copies),
            text(&row[right..])
        )
    }

    fn lifelines_alone(&self) -> Vec<char> {
        let mut row = vec![' '; self.lifeline(self.peers.len()) + 1];
        for index in 0..=self.peers.len() {
            row[self.lifeline(index)] = '│';
        }
        row
    }

    fn letter(&self, traced: &TraceMessage) -> char {
        let call = traced.call.as_deref();
        call.and_then(|id| self.calls.letter(id)).unwrap_or(' ')
    }

    fn coloured(&self, text: &str, kind: Kind, copies: u32) -> String {
        let style = match kind {
            _ if copies > 0 => Style::Dim,
            Kind::Request => Style::Cyan,
            Kind::Provisional => Style::Dim,
            Kind::Success => Style::Green,
            Kind::Again => Style::Yellow,
            Kind::Failure => Style::Red,
        };
        styled(text, style, self.colours)
    }
}

/// The server's text as the second of all.
fn with_server(server: String, mut peers: Vec<String>) -> Vec<String> {
    peers.insert(1.min(peers.len()), server);
    peers
}

fn label(summary: &Summary, copies: u32, room: usize) -> String {
    let mut text = match copies {
        0 => summary.what.clone(),
        _ => format!("↻ {}", summary.what),
    };
    if !summary.hint.is_empty() {
        text += &format!(" · {}", summary.hint);
    }
    cut(&text, room)
}

/// The time of day in UTC, to the millisecond.
fn time(micros: u64) -> String {
    let second = Date::from(UnixTime(micros / 1_000_000)).second;
    let (hours, minutes, seconds) = (second / 3600, second / 60 % 60, second % 60);
    let millis = micros / 1000 % 1000;
    format!("{hours:02}:{minutes:02}:{seconds:02}.{millis:03}")
}

/// Columns of the time and the call's letter before the ladder.
const MARGIN: usize = 15;

/// Room on both sides of a lifeline for half of what stands over it.
const HALF_NAME: usize = 8;

/// Lifelines are not farther apart, however wide the terminal is.
const MOST_GAP: usize = 36;

/// Below this, an arrow says nothing.
const LEAST_GAP: usize = 22;

/// Narrower terminals break lines.
const NARROWEST: usize = 80;

/// Rows after which the names are shown again.
const HEADER_EVERY: usize = 40;

#[cfg(test)]
mod tests {
    use api::trace::Content;

    use super::*;

    /// A message between the server and the peer with this port.
    fn traced(port: u16, received: bool, call: Option<&str>, text: &str) -> TraceMessage {
        TraceMessage {
            at: 1_795_236_356_123_000 + u64::from(port),
            direction: if received {
                Direction::Received
            } else {
                Direction::Sent
            },
            transport: if port < 5000 { "tls" } else { "udp" }.into(),
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: format!("192.0.2.7:{port}").parse().unwrap(),
            call: call.map(str::to_owned),
            content: Content::new(text.as_bytes()),
        }
    }

    fn text(start: &str, from: &str, to: &str) -> String {
        let cseq = start.split(' ').next().unwrap_or_default();
        let cseq = if cseq == "SIP/2.0" { "INVITE" } else { cseq };
        format!(
            "{start}\r\nFrom: <sip:{from}@h>;tag=1\r\nTo: <sip:{to}@h>\r\n\
             Call-ID: {from}{to}\r\nCSeq: 1 {cseq}\r\n\r\n"
        )
    }

    fn call(ladder: &mut Ladder) -> String {
        let (a, b) = (Some("07-1"), (5071, 5072));
        let invite = text("INVITE sip:1002@h SIP/2.0", "1001", "1002");
        let ok = text("SIP/2.0 200 OK", "1001", "1002");
        [
            traced(b.0, true, a, &invite),
            traced(b.0, false, a, &text("SIP/2.0 100 Trying", "1001", "1002")),
            traced(b.1, false, a, &invite),
            traced(4001, false, a, &invite),
            traced(b.1, false, a, &invite),
            traced(
                4001,
                true,
                a,
                &text("SIP/2.0 486 Busy Here", "1001", "1002"),
            ),
            traced(b.1, true, a, &ok),
            traced(b.0, false, a, &ok),
        ]
        .iter()
        .map(|message| ladder.message(message))
        .collect()
    }

    #[test]
    fn a_forked_call_is_a_ladder() {
        let mut ladder = Ladder::new(100, false);
        let shown = call(&mut ladder) + &ladder.missed(3);
        assert_eq!(shown, LADDER, "{shown}");
    }

    const LADDER: &str = "\
\x20              ── call a: 1001 → 1002, 07-1 ────────────────────────────────────────────────────────
                     1001                            dialtone
                192.0.2.7:5071                    192.0.2.1:5060
                       │                                 │
04:45:56.128 a         │── INVITE 1002 ─────────────────▶│
04:45:56.128 a         │◀─ 100 Trying ───────────────────│
                     1001                            dialtone                            1002
                192.0.2.7:5071                    192.0.2.1:5060                    192.0.2.7:5072
                       │                                 │                                 │
04:45:56.128 a         │                                 │── INVITE 1002 ─────────────────▶│
                     1001                 dialtone                 1002                   1002
                192.0.2.7:5071         192.0.2.1:5060         192.0.2.7:5072      192.0.2.7:4001/tls
                       │                      │                      │                      │
04:45:56.127 a         │                      │──────────────────────┼── INVITE 1002 ──────▶│
04:45:56.128 a         │                      │── ↻ INVITE 1002 ────▶│                      │
04:45:56.127 a         │                      │◀─────────────────────┼── 486 Busy Here ─────│
04:45:56.128 a         │                      │◀─ 200 OK ────────────│                      │
04:45:56.128 a         │◀─ 200 OK ────────────│                      │                      │
               … 3 messages are missing here …
";

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in [0, 80, 97, 120, 300] {
            let mut ladder = Ladder::new(width, false);
            let shown = call(&mut ladder);
            let widest = shown.lines().map(|line| line.chars().count()).max();
            assert!(
                widest <= Some(width.max(80)),
                "{width}: {widest:?}\n{shown}"
            );
        }
    }

    #[test]
    fn who_was_silent_longest_gives_way() {
        let mut ladder = Ladder::new(80, false);
        let options = |name: &str| text("OPTIONS sip:h SIP/2.0", name, name);
        for (port, name) in [(5071, "a"), (5072, "b"), (5071, "a")] {
            ladder.message(&traced(port, true, None, &options(name)));
        }
        let shown = ladder.message(&traced(5073, true, None, &options("c")));
        let names: Vec<_> = shown.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(names, ["a", "dialtone", "c"]);
    }

    #[test]
    fn colours_change_nothing_but_colours() {
        let plain = call(&mut Ladder::new(100, false));
        let mut coloured = call(&mut Ladder::new(100, true));
        while let Some(start) = coloured.find('\x1b') {
            let end = coloured[start..].find('m').unwrap();
            coloured.replace_range(start..=start + end, "");
        }
        assert_eq!(coloured, plain);
    }
}
