//! The same description with our addresses: what an anchoring server sends on.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use crate::media::Media;
use crate::session::{Line, Sdp, value};

/// Our `o=` line.
///
/// # Source
/// RFC 8866 §5.2
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Stays the same for the life of a dialog.
    pub session_id: u64,
    /// Grows by one with each description that differs from the last (RFC 3264 §8).
    pub version: u64,
    /// Our address, as the receiver sees it.
    pub address: IpAddr,
}

/// What replaces a party's own addresses.
#[derive(Clone, Copy, Debug)]
pub struct Rewrite<'r> {
    /// The new `o=` line; its address also becomes the session's `c=`.
    pub origin: Origin,
    /// What happens to each media section; sections beyond the slice are refused.
    pub media: &'r [Anchor],
}

/// What happens to one media section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Media goes through our RTP port here; RTCP through the next port. A section whose port is 0
    /// stays so.
    At(SocketAddr),
    /// The stream gets port 0.
    Refuse,
    /// The section passes as it is, with the party's own address: media that we do not carry.
    Keep,
}

/// Appends `sdp` to `out` with our origin, addresses and ports; codecs, parameters, keys, directions
/// and unknown lines stay as they are, in order.
///
/// Lines that only hold for the party's own addresses go: ICE, BUNDLE groups, alternative
/// addresses, source filters. Hold by `c=0.0.0.0` becomes `a=sendonly` (or `inactive`), since the
/// address is now ours. `s=` and `t=` are added where missing.
pub fn rewrite(sdp: &Sdp<'_>, with: &Rewrite<'_>, out: &mut String) {
    encode_session(sdp, &with.origin, is_bound_to_address, out);
    for (index, media) in sdp.media().enumerate() {
        match with.media.get(index).copied().unwrap_or(Anchor::Refuse) {
            Anchor::At(at) if media.port() != 0 => {
                Anchored {
                    media,
                    session: sdp.connection().map(|_| with.origin.address),
                    at,
                }
                .encode(out);
            }
            Anchor::At(_) | Anchor::Refuse => encode_refused(&media, with.origin.address, out),
            Anchor::Keep => encode_kept(sdp, &media, out),
        }
    }
}

/// The description as if its party held nobody: every stream flows both ways.
///
/// # Source
/// RFC 3264 §8.4
#[must_use]
pub fn unheld(sdp: &Sdp<'_>) -> String {
    let mut text = String::with_capacity(512);
    for line in sdp.lines() {
        let direction = line
            .attribute()
            .is_some_and(|(name, _)| crate::Direction::parse(name).is_some());
        if !direction {
            line.encode(&mut text);
        }
    }
    text
}

impl Origin {
    /// Appends the `o=` line.
    pub(crate) fn encode(&self, out: &mut String) {
        let Self {
            session_id,
            version,
            address,
        } = self;
        let _ = write!(out, "o=- {session_id} {version} IN ");
        encode_address(*address, out);
    }
}

/// Appends `IP4 192.0.2.1` or `IP6 2001:db8::1` and CRLF.
fn encode_address(address: IpAddr, out: &mut String) {
    let family = if address.is_ipv4() { "IP4" } else { "IP6" };
    let _ = write!(out, "{family} {address}\r\n");
}

/// Appends a `c=` line.
pub(crate) fn encode_connection(address: IpAddr, out: &mut String) {
    out.push_str("c=IN ");
    encode_address(address, out);
}

/// Appends the session's lines. Origin, name and time have fixed places; the others stay in order.
/// Lines that `drops` says so of are left out.
pub(crate) fn encode_session(
    sdp: &Sdp<'_>,
    origin: &Origin,
    drops: impl Fn(&Line<'_>) -> bool,
    out: &mut String,
) {
    let lines = sdp.session_lines();
    out.push_str("v=0\r\n");
    origin.encode(out);
    let name = value(lines, b's').filter(|name| !name.is_empty());
    Line {
        kind: b's',
        value: name.unwrap_or("-"),
    }
    .encode(out);
    let mut time_missing = value(lines, b't').is_none();
    let mut connection_missing = true;
    for line in lines {
        if time_missing && matches!(line.kind, b'z' | b'k' | b'a') {
            out.push_str(NO_TIME);
            time_missing = false;
        }
        match line.kind {
            b'v' | b'o' | b's' => {}
            b'c' if connection_missing => {
                encode_connection(origin.address, out);
                connection_missing = false;
            }
            b'c' => {}
            _ if drops(line) => {}
            _ => line.encode(out),
        }
    }
    if time_missing {
        out.push_str(NO_TIME);
    }
}

/// The session is not bounded in time.
const NO_TIME: &str = "t=0 0\r\n";

/// A section whose media goes through us.
struct Anchored<'s, 'a> {
    media: Media<'s, 'a>,
    /// The session's address as we have written it.
    session: Option<IpAddr>,
    at: SocketAddr,
}

impl Anchored<'_, '_> {
    fn encode(&self, out: &mut String) {
        let held = self.media.is_held_by_address();
        encode_head(&self.media, self.at.port(), out);
        let mut lines = self.media.lines()[1..].iter().peekable();
        while let Some(title) = lines.next_if(|line| line.kind == b'i') {
            title.encode(out);
        }
        let own = self.media.lines().iter().any(|line| line.kind == b'c');
        if own || self.session != Some(self.at.ip()) {
            encode_connection(self.at.ip(), out);
        }
        for line in lines {
            self.encode_line(line, held, out);
        }
        if held {
            let _ = write!(out, "a={}\r\n", self.media.direction().as_str());
        }
    }

    fn encode_line(&self, line: &Line<'_>, held: bool, out: &mut String) {
        match line.attribute() {
            _ if line.kind == b'c' || is_bound_to_address(line) => {}
            Some(("rtcp", value)) => encode_rtcp(self.media.port(), self.at.port(), value, out),
            Some((name, _)) if held && crate::Direction::parse(name).is_some() => {}
            _ => line.encode(out),
        }
    }
}

/// Appends an `a=rtcp` line for a stream that had RTP at `port` and now has it at `new`: RTCP on the RTP
/// port itself stays so; else it is the next port.
pub(crate) fn encode_rtcp(port: u16, new: u16, value: &str, out: &mut String) {
    let said = value
        .split_ascii_whitespace()
        .next()
        .and_then(|p| p.parse().ok());
    let step = u16::from(said != Some(port));
    let _ = write!(out, "a=rtcp:{}\r\n", new.saturating_add(step));
}

/// Appends an `m=` line with another port. A port count goes: we anchor one port.
pub(crate) fn encode_head(media: &Media<'_, '_>, port: u16, out: &mut String) {
    let head = media.head();
    let _ = write!(
        out,
        "m={} {port} {} {}\r\n",
        head.kind, head.proto, head.formats
    );
}

fn encode_refused(media: &Media<'_, '_>, address: IpAddr, out: &mut String) {
    encode_head(media, 0, out);
    for line in &media.lines()[1..] {
        match line.attribute() {
            Some(("rtcp", _)) => {}
            _ if line.kind == b'c' => encode_connection(address, out),
            _ if is_bound_to_address(line) => {}
            _ => line.encode(out),
        }
    }
}

/// Appends a section as it is, with the address it had from the session if it has none itself.
pub(crate) fn encode_kept(sdp: &Sdp<'_>, media: &Media<'_, '_>, out: &mut String) {
    let mut lines = media.lines().iter().peekable();
    while let Some(line) = lines.next_if(|line| matches!(line.kind, b'm' | b'i')) {
        line.encode(out);
    }
    if let Some(line) = sdp.session_lines().iter().find(|line| line.kind == b'c')
        && !media.lines().iter().any(|line| line.kind == b'c')
    {
        line.encode(out);
    }
    lines.for_each(|line| line.encode(out));
}

fn is_bound_to_address(line: &Line<'_>) -> bool {
    line.attribute()
        .is_some_and(|(name, value)| is_bound(name, value))
}

/// Whether an attribute holds only while media goes to the party's own addresses.
pub(crate) fn is_bound(name: &str, value: &str) -> bool {
    match name {
        "candidate" | "remote-candidates" | "end-of-candidates" => true,
        "ice-ufrag" | "ice-pwd" | "ice-options" | "ice-lite" | "ice-mismatch" | "ice-pacing" => {
            true
        }
        "group" => value.starts_with("BUNDLE"),
        "bundle-only" | "altc" | "source-filter" => true,
        _ => false,
    }
}
