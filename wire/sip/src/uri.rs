//! URIs.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use memchr::{memchr, memrchr};

use crate::header::Params;
use crate::scan::split_at_byte;
use crate::{ParseError, Protocol};

/// A SIP, SIPS or TEL URI, borrowed from its text (RFC 3261 §19.1, RFC 3966).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Uri<'a> {
    /// The scheme.
    pub scheme: Scheme,
    /// User part as written (percent-escapes kept), with a password if there is one; the number of a
    /// TEL URI. Empty: no user part.
    pub user: &'a str,
    /// Host; an IPv6 address keeps its brackets. Empty for TEL.
    pub host: &'a str,
    /// Port, if one is written.
    pub port: Option<u16>,
    /// URI parameters.
    pub params: Params<'a>,
    /// Header part, behind the question mark.
    pub headers: &'a str,
}

impl<'a> Uri<'a> {
    /// Parses a URI.
    ///
    /// # Errors
    /// [`ParseError::Scheme`] if the scheme is none of ours, [`ParseError::Uri`] if it is malformed.
    pub fn parse(text: &'a str) -> Result<Self, ParseError> {
        let (scheme, rest) = split_at_byte(text, b':').ok_or(ParseError::Uri)?;
        let scheme = Scheme::parse(scheme)?;
        let stray = |byte| matches!(byte, 0..=b' ' | 0x7f | b'<' | b'>' | b'"');
        if rest.bytes().any(stray) {
            return Err(ParseError::Uri);
        }
        match scheme {
            Scheme::Tel => Self::parse_tel(rest),
            Scheme::Sip | Scheme::Sips => Self::parse_sip(scheme, rest),
        }
    }

    /// The value of the header field `name` that a request to this URI is to carry, escapes resolved
    /// (RFC 3261 §19.1.1).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<Cow<'a, str>> {
        let mut fields = self
            .headers
            .split('&')
            .filter_map(|field| field.split_once('='));
        let (_, value) = fields.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        Some(unescape(value))
    }

    /// The user part without its password, percent-escapes resolved.
    #[must_use]
    pub fn user_name(&self) -> Cow<'a, str> {
        unescape(
            self.user
                .split_once(':')
                .map_or(self.user, |(user, _)| user),
        )
    }

    /// The host as an address, if it is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        parse_address(self.host)
    }

    /// Where the URI points if its host is an address: that address with the port or the scheme's
    /// default port.
    #[must_use]
    pub fn socket_address(&self) -> Option<SocketAddr> {
        let default = if self.scheme == Scheme::Sips {
            5061
        } else {
            5060
        };
        Some(SocketAddr::new(
            self.address()?,
            self.port.unwrap_or(default),
        ))
    }

    /// The transport parameter; without one UDP, or TLS for `sips:` (RFC 3263 §4.1), where TCP means TLS
    /// too and a WebSocket is an encrypted one (RFC 7118 §5.3). `None`: a transport that we don't speak.
    #[must_use]
    pub fn protocol(&self) -> Option<Protocol> {
        let secure = self.scheme == Scheme::Sips;
        let named = match self.params.find("transport") {
            Some(name) => name.parse().ok()?,
            None if secure => Protocol::Tls,
            None => Protocol::Udp,
        };
        match named {
            Protocol::Tcp if secure => Some(Protocol::Tls),
            Protocol::Ws if secure => Some(Protocol::Wss),
            Protocol::Udp if secure => None,
            named => Some(named),
        }
    }

    /// Whether both URIs name the same resource.
    ///
    /// # Source
    /// RFC 3261 §19.1.4: user case-sensitive, host without case, a port that is absent differs from
    /// the default one; of the parameters user, ttl, method, maddr and transport must agree if either
    /// URI has them, others if both have them.
    #[must_use]
    pub fn equivalent(&self, other: &Uri<'_>) -> bool {
        self == other
            || self.scheme == other.scheme
                && unescape(self.user) == unescape(other.user)
                && self.host.eq_ignore_ascii_case(other.host)
                && self.port == other.port
                && self.headers == other.headers
                && params_agree(self.params, other.params)
                && params_agree(other.params, self.params)
    }

    fn parse_tel(rest: &'a str) -> Result<Self, ParseError> {
        let (number, params) = rest.split_once(';').unwrap_or((rest, ""));
        if number.is_empty() || number.contains('@') {
            return Err(ParseError::Uri);
        }
        Ok(Self {
            scheme: Scheme::Tel,
            user: number,
            host: "",
            port: None,
            params: Params(params),
            headers: "",
        })
    }

    /// The text of a URI but for its headers.
    ///
    /// ```
    /// assert_eq!(sip::Uri::without_headers("sip:a?b@c;lr?Subject=x"), "sip:a?b@c;lr");
    /// ```
    #[must_use]
    pub fn without_headers(text: &str) -> &str {
        // Few have a question mark at all.
        let marked = memchr(b'?', text.as_bytes()).and_then(|_| Uri::parse(text).ok());
        let headers = marked.map_or("", |uri| uri.headers);
        let rest = text.strip_suffix(headers).unwrap_or(text);
        match headers {
            "" => text,
            _ => rest.strip_suffix('?').unwrap_or(rest),
        }
    }

    fn parse_sip(scheme: Scheme, rest: &'a str) -> Result<Self, ParseError> {
        // The user part may hold ';' and '?', so the last '@' before the host counts first.
        let (user, rest) = match memrchr(b'@', rest.as_bytes()) {
            Some(at) => (&rest[..at], &rest[at + 1..]),
            None => ("", rest),
        };
        let (rest, headers) = split_at_byte(rest, b'?').unwrap_or((rest, ""));
        let (host_port, params) = split_at_byte(rest, b';').unwrap_or((rest, ""));
        let (host, port) = parse_host_port(host_port).ok_or(ParseError::Uri)?;
        if memchr(b'@', user.as_bytes()).is_some() || !escapes_are_whole(user) {
            return Err(ParseError::Uri);
        }
        Ok(Self {
            scheme,
            user,
            host,
            port,
            params: Params(params),
            headers,
        })
    }
}

/// The scheme of a URI.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:`
    Tel,
}

impl Scheme {
    fn parse(name: &str) -> Result<Self, ParseError> {
        [("sip", Self::Sip), ("sips", Self::Sips), ("tel", Self::Tel)]
            .into_iter()
            .find(|(known, _)| name.eq_ignore_ascii_case(known))
            .map(|(_, scheme)| scheme)
            .ok_or(ParseError::Scheme)
    }
}

/// Splits `host[:port]`; the host of an IPv6 reference keeps its brackets. `None` if malformed.
pub(crate) fn parse_host_port(text: &str) -> Option<(&str, Option<u16>)> {
    let end = if text.starts_with('[') {
        let end = memchr(b']', text.as_bytes())? + 1;
        parse_address(&text[..end]).filter(IpAddr::is_ipv6)?;
        end
    } else {
        let end = text.bytes().position(|byte| !HOST[usize::from(byte)]);
        end.unwrap_or(text.len())
    };
    let (host, rest) = text.split_at(end);
    if host.is_empty() {
        return None;
    }
    let rest = rest.trim_ascii_start();
    if rest.is_empty() {
        return Some((host, None));
    }
    let digits = rest.strip_prefix(':')?.trim_ascii();
    let port = digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse().ok())??;
    Some((host, Some(port)))
}

/// An address as SIP writes it, in brackets or not.
pub(crate) fn parse_address(host: &str) -> Option<IpAddr> {
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host = bracketed.unwrap_or(host);
    host.parse().ok().or_else(|| parse_three_colons(host))
}

/// RFC 3261's grammar wrote three colons before an embedded IPv4 address (RFC 5118 §4.10).
fn parse_three_colons(host: &str) -> Option<IpAddr> {
    let (front, v4) = host.split_once(":::")?;
    v4.parse::<std::net::Ipv4Addr>().ok()?;
    format!("{front}::{v4}").parse().ok()
}

/// What a host name consists of. Every message has several: a table is looked up faster than ranges
/// are compared.
static HOST: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let code = byte as u8;
        table[byte] = code.is_ascii_alphanumeric() || matches!(code, b'.' | b'-' | b'_');
        byte += 1;
    }
    table
};

/// A name as it stands in the user part of a URI: what is not allowed there is escaped (RFC 3261
/// §25.1: user).
#[must_use]
pub fn escape_user(name: &str) -> Cow<'_, str> {
    let plain = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'-' | b'_'
                    | b'.'
                    | b'!'
                    | b'~'
                    | b'*'
                    | b'\''
                    | b'('
                    | b')'
                    | b'&'
                    | b'='
                    | b'+'
                    | b'$'
                    | b','
            )
    };
    if name.bytes().all(plain) {
        return Cow::Borrowed(name);
    }
    let mut text = String::with_capacity(name.len() + 8);
    for byte in name.bytes() {
        if plain(byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    Cow::Owned(text)
}

/// Resolves percent-escapes. What does not decode to UTF-8 is left as written.
#[must_use]
pub fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let escape = bytes
            .get(index + 1..index + 3)
            .filter(|_| bytes[index] == b'%');
        match escape.and_then(|pair| Some(hex(pair[0])? << 4 | hex(pair[1])?)) {
            Some(byte) => {
                plain.push(byte);
                index += 3;
            }
            None => {
                plain.push(bytes[index]);
                index += 1;
            }
        }
    }
    String::from_utf8(plain).map_or(Cow::Borrowed(text), Cow::Owned)
}

fn escapes_are_whole(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b'%', bytes).all(|at| {
        let digits = bytes.get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

fn params_agree(ours: Params<'_>, theirs: Params<'_>) -> bool {
    const BINDING: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];
    ours.iter().all(|(name, value)| match theirs.find(name) {
        Some(other) => unescape(value).eq_ignore_ascii_case(&unescape(other)),
        None => !BINDING
            .iter()
            .any(|binding| name.eq_ignore_ascii_case(binding)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(a: &str, b: &str) -> bool {
        Uri::parse(a).unwrap().equivalent(&Uri::parse(b).unwrap())
    }

    /// RFC 3261 §19.1.1, RFC 3966.
    #[test]
    fn parts() {
        let uri = Uri::parse("sips:al%69ce:pw;x=1@[2001:db8::1]:5070;transport=tcp;lr?Subject=x")
            .unwrap();
        assert_eq!(uri.user, "al%69ce:pw;x=1");
        assert_eq!(uri.user_name(), "alice");
        assert_eq!(uri.socket_address(), "[2001:db8::1]:5070".parse().ok());
        assert_eq!(uri.protocol(), Some(Protocol::Tls), "sips leaves no choice");
        assert!(uri.params.has("lr"));
        assert_eq!(uri.headers, "Subject=x");
        assert_eq!(
            Uri::parse("tel:+49301234;phone-context=x").unwrap().user,
            "+49301234"
        );
    }

    #[test]
    fn broken_uris_are_refused() {
        for text in [
            "",
            "sip:",
            "sip:@",
            "sip:a@",
            "sip:a b@c",
            "sip:a@b:x",
            "sip:a@b:70000",
            "sip:%zz@b",
            "sip:a@[::1",
            "tel:",
        ] {
            assert_eq!(Uri::parse(text), Err(ParseError::Uri), "{text}");
        }
        assert_eq!(Uri::parse("http://a"), Err(ParseError::Scheme));
    }

    /// RFC 3261 §19.1.4: the examples of the section.
    #[test]
    fn rfc3261_19_1_4_equality() {
        assert!(same(
            "sip:%61lice@atlanta.com;transport=TCP",
            "sip:alice@AtlanTa.CoM;Transport=tcp"
        ));
        assert!(same(
            "sip:carol@chicago.com",
            "sip:carol@chicago.com;newparam=5"
        ));
        assert!(same(
            "sip:carol@chicago.com;security=on",
            "sip:carol@chicago.com;newparam=5"
        ));
        assert!(!same(
            "SIP:ALICE@AtLanTa.CoM;Transport=udp",
            "sip:alice@AtLanTa.CoM;Transport=UDP"
        ));
        assert!(!same("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"));
        assert!(!same(
            "sip:bob@biloxi.com",
            "sip:bob@biloxi.com;transport=udp"
        ));
        assert!(!same(
            "sip:carol@chicago.com;security=on",
            "sip:carol@chicago.com;security=off"
        ));
    }
}
