//! Whose a description is and where its streams go, once media run through us.

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

/// What happens to one media section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Media goes through our RTP port here; RTCP through the next port. A section whose port is 0
    /// stays so.
    At(SocketAddr),
    /// As [`At`](Self::At), but RTCP comes through the same port, whether it is multiplexed or not: the
    /// port serves other streams too, which are told apart by where they come from (RFC 3605 §2.1).
    Shared(SocketAddr),
    /// The stream gets port 0.
    Refuse,
    /// The section passes as it is, with the party's own address: media that we do not carry.
    Keep,
}

impl Anchor {
    /// Where media go through us.
    pub(crate) const fn address(self) -> Option<SocketAddr> {
        match self {
            Self::At(at) | Self::Shared(at) => Some(at),
            Self::Refuse | Self::Keep => None,
        }
    }

    pub(crate) const fn is_shared(self) -> bool {
        matches!(self, Self::Shared(_))
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
