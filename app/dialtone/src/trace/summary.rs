//! A message in a few words.

use sdp::{Direction, Media, Sdp};
use sip::{HeaderName, Message, Method, NameAddr, Uri};

/// What an arrow says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    /// Method and whom it is about, or status and reason: `INVITE 1002`, `486 Busy Here`.
    pub(super) what: String,
    /// What else matters, if anything: `PCMA hold`.
    pub(super) hint: String,
    pub(super) kind: Kind,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Provisional,
    Success,
    /// A challenge or a redirect: the requester tries again.
    Again,
    Failure,
}

impl Summary {
    pub(super) fn of(message: &Message<'_>) -> Self {
        let (what, mut hints, kind) = match message.status() {
            Some(status) => response(message, status.0),
            None => request(message),
        };
        hints.extend(media(message));
        Self {
            what: printable(&what),
            hint: printable(&hints.join(" ")),
            kind,
        }
    }
}

/// The name of the user at the other end: the sender of a request that it sent, else the recipient.
pub(super) fn peer_name(message: &Message<'_>, received: bool) -> Option<String> {
    let is_request = message.status().is_none();
    let registers = message.method() == Some(Method::Register);
    let party = if received == is_request && !registers {
        message.from()
    } else {
        message.to()
    };
    let party = party.ok()?;
    let user = party.parse_uri().ok()?.user_name().into_owned();
    (!user.is_empty()).then(|| printable(&user))
}

fn request(message: &Message<'_>) -> (String, Vec<String>, Kind) {
    let method = message.method().unwrap_or(Method::Invite);
    let inside = message.to().is_ok_and(|to| to.tag().is_some());
    let mut what = method.to_string();
    let mut hints = Vec::new();
    match method {
        Method::Invite if inside => what = "re-INVITE".into(),
        Method::Invite | Method::Message => {
            what.extend(user_of(message.request_uri()).map(|user| format!(" {user}")));
        }
        Method::Register => hints.extend(registration(message)),
        Method::Refer => {
            let target = message.header(HeaderName::ReferTo);
            let target = target.and_then(|value| NameAddr::parse(value).ok());
            what.extend(
                target
                    .and_then(|t| user_of(t.uri))
                    .map(|user| format!(" {user}")),
            );
        }
        Method::Subscribe | Method::Notify | Method::Publish => {
            hints.extend(message.header(HeaderName::Event).map(str::to_owned));
        }
        _ => hints.extend(reason(message)),
    }
    (what, hints, Kind::Request)
}

fn response(message: &Message<'_>, status: u16) -> (String, Vec<String>, Kind) {
    let line = message
        .bytes()
        .split(|octet| *octet == b'\r' || *octet == b'\n')
        .next();
    let line = String::from_utf8_lossy(line.unwrap_or_default());
    let what = line
        .split_once(' ')
        .map_or("", |(_, rest)| rest)
        .trim()
        .to_owned();
    let kind = match status {
        ..200 => Kind::Provisional,
        200..=299 => Kind::Success,
        300..=399 | 401 | 407 | 422 | 423 | 494 => Kind::Again,
        _ => Kind::Failure,
    };
    let mut hints = Vec::new();
    match message.cseq().map(|cseq| cseq.method) {
        // Everybody knows what an INVITE is answered with.
        Ok(Method::Invite) | Err(_) => {}
        Ok(method) => hints.push(method.to_string()),
    }
    (what, hints, kind)
}

fn registration(message: &Message<'_>) -> Option<String> {
    let contact = message.header(HeaderName::Contact)?;
    let expires = NameAddr::parse(contact)
        .ok()
        .and_then(|contact| contact.params.find("expires"));
    let expires = expires.or_else(|| message.header(HeaderName::Expires))?;
    Some(match expires.trim() {
        "0" => "ends".to_owned(),
        seconds => format!("{seconds} s"),
    })
}

/// Why a call is hung up or cancelled (RFC 3326).
fn reason(message: &Message<'_>) -> Option<String> {
    let reason = message.header(HeaderName::Reason)?;
    let params = sip::Params(reason.split_once(';')?.1);
    let text = params
        .find("text")
        .map(|text| text.trim_matches('"').to_owned());
    text.or_else(|| params.find("cause").map(|cause| format!("cause {cause}")))
}

fn user_of(uri: &str) -> Option<String> {
    let user = Uri::parse(uri).ok()?.user_name().into_owned();
    (!user.is_empty()).then_some(user)
}

/// What a session description offers or accepts.
fn media(message: &Message<'_>) -> Vec<String> {
    let Some(body) = message.body_of_type("application/sdp") else {
        return Vec::new();
    };
    let Ok(sdp) = Sdp::parse(body) else {
        return vec!["broken SDP".into()];
    };
    let mut hints: Vec<_> = sdp.media().filter_map(|media| stream(&media)).collect();
    if hints.is_empty() {
        hints.push("SDP without streams".into());
    }
    let audio = sdp.media().find(|media| media.port() != 0);
    match audio.map(|audio| audio.direction()) {
        Some(Direction::SendOnly) => hints.push("hold".into()),
        Some(Direction::RecvOnly) => hints.push("held".into()),
        Some(Direction::Inactive) => hints.push("inactive".into()),
        _ => {}
    }
    hints
}

/// The codecs of a stream that is not refused: `PCMA`, `opus+2`; with its kind if that is not sound.
fn stream(media: &Media<'_, '_>) -> Option<String> {
    if media.port() == 0 {
        return None;
    }
    let codecs = media.formats().filter_map(|format| codec(media, format));
    let mut codecs: Vec<_> = codecs.collect();
    let others = codecs.len().saturating_sub(1);
    let mut text = match media.kind() {
        "audio" => String::new(),
        kind => format!("{kind} "),
    };
    text += &codecs
        .drain(..)
        .next()
        .unwrap_or_else(|| media.proto().to_owned());
    if others > 0 {
        text += &format!("+{others}");
    }
    Some(text)
}

fn codec(media: &Media<'_, '_>, format: &str) -> Option<String> {
    let payload_type = format.parse().ok()?;
    match media.rtpmap(payload_type) {
        Some(map) if map.is_telephone_event() => None,
        Some(map) => Some(map.name.to_owned()),
        None => Some(format!("payload {payload_type}")),
    }
}

/// What peers say must neither move the cursor nor turn the line around.
pub(super) fn printable(text: &str) -> String {
    let shown = |c: char| c.is_alphanumeric() || c.is_ascii_graphic() || c == ' ' || c == '…';
    text.chars()
        .map(|c| if shown(c) { c } else { '?' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(start: &str, headers: &str, body: &str) -> Vec<u8> {
        let kind = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        format!(
            "{start}\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n{headers}{kind}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    fn words(start: &str, headers: &str, body: &str) -> (String, Kind) {
        let bytes = message(start, headers, body);
        let summary = Summary::of(&Message::parse(&bytes).unwrap());
        let words = [summary.what, summary.hint].join(" | ");
        (words, summary.kind)
    }

    fn sdp(rest: &str) -> String {
        format!("v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n{rest}")
    }

    #[test]
    fn requests_say_whom_they_are_about() {
        let tagged = "To: <sip:a@h>;tag=1\r\n";
        for (start, headers, expected) in [
            (
                "INVITE sip:1002@h SIP/2.0",
                "To: <sip:1002@h>\r\n",
                "INVITE 1002 | ",
            ),
            ("INVITE sip:h SIP/2.0", "To: <sip:h>\r\n", "INVITE | "),
            ("INVITE sip:1002@h SIP/2.0", tagged, "re-INVITE | "),
            (
                "REFER sip:1@h SIP/2.0",
                "Refer-To: <sip:1003@h?Replaces=x>\r\n",
                "REFER 1003 | ",
            ),
            (
                "REGISTER sip:h SIP/2.0",
                "Contact: <sip:a@h>;expires=60\r\n",
                "REGISTER | 60 s",
            ),
            (
                "REGISTER sip:h SIP/2.0",
                "Contact: *\r\nExpires: 0\r\n",
                "REGISTER | ends",
            ),
            ("REGISTER sip:h SIP/2.0", "", "REGISTER | "),
            (
                "NOTIFY sip:h SIP/2.0",
                "Event: dialog\r\n",
                "NOTIFY | dialog",
            ),
            (
                "CANCEL sip:h SIP/2.0",
                "Reason: SIP;cause=200;text=\"Elsewhere\"\r\n",
                "CANCEL | Elsewhere",
            ),
            (
                "BYE sip:h SIP/2.0",
                "Reason: Q.850;cause=16\r\n",
                "BYE | cause 16",
            ),
        ] {
            assert_eq!(words(start, headers, ""), (expected.into(), Kind::Request));
        }
    }

    #[test]
    fn responses_say_what_becomes_of_the_request() {
        for (status, method, expected, kind) in [
            ("100 Trying", "INVITE", "100 Trying | ", Kind::Provisional),
            ("200 OK", "BYE", "200 OK | BYE", Kind::Success),
            (
                "401 Unauthorized",
                "REGISTER",
                "401 Unauthorized | REGISTER",
                Kind::Again,
            ),
            ("302 Moved", "INVITE", "302 Moved | ", Kind::Again),
            (
                "486 Busy \x1b[2J",
                "INVITE",
                "486 Busy ?[2J | ",
                Kind::Failure,
            ),
        ] {
            let cseq = format!("CSeq: 1 {method}\r\n");
            let seen = words(&format!("SIP/2.0 {status}"), &cseq, "");
            assert_eq!(seen, (expected.into(), kind));
        }
    }

    #[test]
    fn session_descriptions_show_codecs_and_hold() {
        let rtpmap = "a=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n";
        for (body, expected) in [
            (
                "m=audio 4000 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\n",
                "PCMA",
            ),
            (
                &format!("m=audio 4000 RTP/AVP 96 8 0 101\r\n{rtpmap}")[..],
                "opus+2",
            ),
            ("m=audio 4000 RTP/AVP 0\r\na=sendonly\r\n", "PCMU hold"),
            ("m=audio 4000 RTP/AVP 0\r\na=recvonly\r\n", "PCMU held"),
            ("m=audio 4000 RTP/AVP 0\r\na=inactive\r\n", "PCMU inactive"),
            ("m=audio 4000 RTP/AVP 0\r\nm=video 0 RTP/AVP 31\r\n", "PCMU"),
            ("m=image 4000 udptl t38\r\n", "image udptl"),
            ("", "SDP without streams"),
        ] {
            let (seen, _) = words("ACK sip:h SIP/2.0", "", &sdp(body));
            assert_eq!(seen, format!("ACK | {expected}"));
        }
        assert_eq!(words("ACK sip:h SIP/2.0", "", "x").0, "ACK | broken SDP");
    }

    #[test]
    fn a_peer_is_named_after_the_user_at_its_end() {
        let headers = "From: <sip:alice@h>;tag=1\r\nTo: <sip:bob@h>\r\nCSeq: 1 INVITE\r\n";
        for (start, received, expected) in [
            ("INVITE sip:x@h SIP/2.0", true, "alice"),
            ("INVITE sip:x@h SIP/2.0", false, "bob"),
            ("SIP/2.0 200 OK", true, "bob"),
            ("SIP/2.0 200 OK", false, "alice"),
            ("REGISTER sip:h SIP/2.0", true, "bob"),
        ] {
            let bytes = message(start, headers, "");
            let name = peer_name(&Message::parse(&bytes).unwrap(), received);
            assert_eq!(name.as_deref(), Some(expected), "{start}");
        }
    }
}
