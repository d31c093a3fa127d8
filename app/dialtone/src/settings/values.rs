//! Kinds of values: how each is written, its bounds, and what to say when it is wrong.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::document::{Kind, Value};
use super::reader::expected;
use super::report::{Fault, similar};
use super::server::Stun;

/// A transport address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listen {
    pub(crate) protocol: sip::Protocol,
    pub(crate) address: SocketAddr,
}

/// A string.
pub(crate) fn text(value: &Value) -> Result<&str, Fault> {
    match &value.kind {
        Kind::Text(text) => Ok(text),
        other => Err(expected("a string in quotes", other)),
    }
}

/// Yes or no.
pub(crate) fn boolean(value: &Value) -> Result<bool, Fault> {
    match value.kind {
        Kind::Boolean(value) => Ok(value),
        ref other => Err(expected("true or false", other)),
    }
}

/// A string of visible characters and spaces, at most `longest` octets.
pub(crate) fn printable(longest: usize) -> impl Fn(&Value) -> Result<String, Fault> {
    move |value| {
        let text = text(value)?;
        if text.len() > longest {
            let message = format!("has {} characters", text.len());
            return Err(Fault::new(message, format!("use at most {longest}")));
        }
        if text.chars().any(char::is_control) {
            return Err(Fault::new("has control characters", "remove them"));
        }
        Ok(text.to_owned())
    }
}

/// A whole number within bounds.
pub(crate) fn number(range: RangeInclusive<u64>) -> impl Fn(&Value) -> Result<u64, Fault> {
    move |value| {
        let wish = format!("use a number from {} to {}", range.start(), range.end());
        let number = match &value.kind {
            Kind::Integer(number) => *number,
            // An option or a variable may be quoted.
            Kind::Text(text) => text
                .parse()
                .map_err(|_| Fault::new(format!("“{text}” is not a number"), wish.as_str()))?,
            other => return Err(expected("a whole number", other)),
        };
        match u64::try_from(number) {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => Err(Fault::new(format!("{number} is out of range"), wish)),
        }
    }
}

/// `true` or `false`, or one of the words in `words`.
pub(crate) fn choice<T: Copy>(
    words: &'static [(&'static str, T)],
) -> impl Fn(&Value) -> Result<T, Fault> {
    move |value| {
        let word = text(value)?;
        let found = words.iter().find(|(w, _)| w.eq_ignore_ascii_case(word));
        found.map(|&(_, choice)| choice).ok_or_else(|| {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            let remedy = match similar(word, &known) {
                Some(meant) => format!("did you mean “{meant}”?"),
                None => format!("use one of: {}", known.join(", ")),
            };
            Fault::new(format!("“{word}” is unknown"), remedy)
        })
    }
}

/// A time span: seconds as a number, or a string such as `"90s"`, `"5m"`, `"1h30m"`.
pub(crate) fn duration(range: RangeInclusive<u64>) -> impl Fn(&Value) -> Result<Duration, Fault> {
    move |value| {
        let seconds = match &value.kind {
            Kind::Integer(number) => u64::try_from(*number).ok(),
            Kind::Text(text) => seconds(text),
            other => return Err(expected("a time span", other)),
        };
        let seconds = seconds.ok_or_else(|| {
            Fault::new(
                "is not a time span",
                "write it like “90s”, “5m”, “1h” or “1h30m”",
            )
        })?;
        if range.contains(&seconds) {
            return Ok(Duration::from_secs(seconds));
        }
        let (low, high) = (show_seconds(*range.start()), show_seconds(*range.end()));
        let message = format!("{} is out of range", show_seconds(seconds));
        Err(Fault::new(message, format!("use {low} to {high}")))
    }
}

/// [`duration`], or zero in any of the forms that mean “never”.
pub(crate) fn duration_or_never(
    range: RangeInclusive<u64>,
) -> impl Fn(&Value) -> Result<Duration, Fault> {
    move |value| {
        let never = match &value.kind {
            Kind::Integer(number) => *number == 0,
            Kind::Text(text) => ["0", "0s", "off", "never"].contains(&text.as_str()),
            _ => false,
        };
        if never {
            return Ok(Duration::ZERO);
        }
        duration(range.clone())(value).map_err(|fault| Fault {
            remedy: format!("{}, or “off”", fault.remedy),
            ..fault
        })
    }
}

/// The seconds of a time span such as `90s`, `5m` or `1h30m`.
pub(crate) fn seconds(text: &str) -> Option<u64> {
    if let Ok(plain) = text.parse() {
        return Some(plain);
    }
    let (mut total, mut rest) = (0_u64, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = rest[..digits].parse().ok()?;
        let unit = match rest.as_bytes()[digits] {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            _ => return None,
        };
        total = total.checked_add(count.checked_mul(unit)?)?;
        rest = &rest[digits + 1..];
    }
    (!text.is_empty()).then_some(total)
}

fn show_seconds(seconds: u64) -> String {
    match seconds {
        s if s > 0 && s % 86_400 == 0 => format!("{}d", s / 86_400),
        s if s > 0 && s % 3600 == 0 => format!("{}h", s / 3600),
        s if s > 0 && s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

/// An IP address; the empty string is none.
pub(crate) fn address(value: &Value) -> Result<Option<IpAddr>, Fault> {
    let text = text(value)?;
    if text.is_empty() {
        return Ok(None);
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() || ip.is_multicast() => Err(Fault::new(
            format!("nobody can be reached at {ip}"),
            "give the address that phones out there see",
        )),
        Ok(ip) => Ok(Some(ip)),
        Err(_) => Err(Fault::new(
            format!("“{text}” is not an IP address"),
            "write it like “203.0.113.7” or “2001:db8::7”; names are not resolved",
        )),
    }
}

/// A STUN server such as `stun.example.com:3478`; the port may be left out, and nothing is none.
pub(crate) fn stun(value: &Value) -> Result<Option<Stun>, Fault> {
    let text = text(value)?;
    let text = text.strip_prefix("stun:").unwrap_or(text);
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || {
        Fault::new(
            format!("“{text}” is not a server"),
            "write it like “stun.example.com”, “192.0.2.1:3478” or “[2001:db8::1]:3478”",
        )
    };
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let (host, port) = match (text.parse::<SocketAddr>(), bare.parse::<IpAddr>()) {
        (Ok(address), _) => (address.ip().to_string(), address.port()),
        (_, Ok(ip)) => (ip.to_string(), STUN_PORT),
        _ => match text.split_once(':') {
            Some((host, port)) => (host.to_owned(), port.parse().map_err(|_| wrong())?),
            None => (text.to_owned(), STUN_PORT),
        },
    };
    let named = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    let good = !host.is_empty() && host.len() < 254 && host.chars().all(named) && port != 0;
    good.then_some(Some(Stun { host, port })).ok_or_else(wrong)
}

/// # Source
/// RFC 8489 §18.6
const STUN_PORT: u16 = 3478;

/// A network such as `10.0.0.0/8`.
pub(crate) fn network(value: &Value) -> Result<(IpAddr, u8), Fault> {
    let text = text(value)?;
    let (ip, length) = match text.split_once('/') {
        Some((ip, length)) => (ip, Some(length)),
        None => (text, None),
    };
    let parsed = ip.parse::<IpAddr>().ok().and_then(|ip| {
        let longest = if ip.is_ipv4() { 32 } else { 128 };
        let length = length.map_or(Some(longest), |l| l.parse().ok())?;
        (length <= longest).then_some((ip, length))
    });
    parsed.ok_or_else(|| {
        Fault::new(
            format!("“{text}” is not a network"),
            "write it like “192.168.0.0/16” or “fd00::/8”",
        )
    })
}

/// An address to listen on such as `udp:0.0.0.0:5060` or `tcp:[::]:5060`.
pub(crate) fn listen(value: &Value) -> Result<Listen, Fault> {
    const LIKE: &str = "write it like “udp:0.0.0.0:5060” or “tcp:[::]:5060”";
    let text = text(value)?;
    let (protocol, rest) = text
        .split_once(':')
        .ok_or_else(|| Fault::new(format!("“{text}” names no transport and port"), LIKE))?;
    let known = ["udp", "tcp", "tls"].contains(&protocol.to_ascii_lowercase().as_str());
    let protocol = protocol.parse().ok().filter(|_| known).ok_or_else(|| {
        let message = format!("the transport “{protocol}” is unknown");
        Fault::new(message, "use udp, tcp or tls; WebSockets are for [http]")
    })?;
    let address: SocketAddr = rest.parse().map_err(|_| {
        let message = match rest.parse::<IpAddr>() {
            Ok(ip) => format!("“{ip}” has no port"),
            Err(_) => format!("“{rest}” is not an address with a port"),
        };
        Fault::new(message, LIKE)
    })?;
    Ok(Listen { protocol, address })
}

/// The address of a name server; without a port the one of DNS is meant.
pub(crate) fn name_server(value: &Value) -> Result<SocketAddr, Fault> {
    let text = text(value)?;
    let bare = text.parse().map(|ip: IpAddr| SocketAddr::new(ip, 53));
    bare.or_else(|_| text.parse()).map_err(|_| {
        let message = format!("“{text}” is not an address");
        Fault::new(message, "write it like “192.0.2.53” or “127.0.0.1:5353”")
    })
}

/// A capture server such as `udp:192.0.2.1:9060`; the empty string is none.
pub(crate) fn capture_server(value: &Value) -> Result<Option<Listen>, Fault> {
    const LIKE: &str = "write it like “udp:192.0.2.1:9060”; names are not resolved";
    let text = text(value)?;
    if text.is_empty() {
        return Ok(None);
    }
    let server = text.split_once(':').and_then(|(protocol, address)| {
        let protocol = protocol.parse().ok()?;
        let address: SocketAddr = address.parse().ok()?;
        Some(Listen { protocol, address })
    });
    let carries =
        |listen: &Listen| [sip::Protocol::Udp, sip::Protocol::Tcp].contains(&listen.protocol);
    match server.filter(carries) {
        Some(server) if server.address.port() == 0 => Err(Fault::new("has no port", LIKE)),
        Some(server) => Ok(Some(server)),
        None => Err(Fault::new(
            format!("“{text}” is no address of udp or tcp"),
            LIKE,
        )),
    }
}

/// UDP ports: a range such as `10000-19999` with room for at least two calls, or, where calls share
/// them, any range or one port.
pub(crate) fn ports(shared: bool) -> impl Fn(&Value) -> Result<RangeInclusive<u16>, Fault> {
    move |value| {
        let (low, high) = match &value.kind {
            Kind::Integer(port) => bounds(&port.to_string(), shared)?,
            _ => bounds(text(value)?, shared)?,
        };
        if low < 1024 {
            let message = format!("{low} is a port of system services");
            return Err(Fault::new(message, "begin at 1024 or above"));
        }
        if high < low {
            let message = format!("{high} is below {low}");
            return Err(Fault::new(message, format!("write “{high}-{low}”")));
        }
        if !shared && high - low < 7 {
            let message = "is too small for two calls, which need four ports each";
            let remedy = "use a range of at least 8 ports, or let calls share them: shared = true";
            return Err(Fault::new(message, remedy));
        }
        Ok(low..=high)
    }
}

fn bounds(text: &str, single: bool) -> Result<(u16, u16), Fault> {
    let low_high = match text.split_once('-') {
        Some(bounds) => Some(bounds),
        None => single.then_some((text, text)),
    };
    let port = |text: &str| text.trim().parse().ok();
    let read = low_high.and_then(|(low, high)| Some((port(low)?, port(high)?)));
    read.ok_or_else(|| {
        let like = match single {
            true => "write it like “10000” or “10000-10009”",
            false => "write it like “10000-19999”",
        };
        Fault::new(format!("“{text}” is not a range of ports"), like)
    })
}

/// A list of at least `least` values.
pub(crate) fn list<T>(
    least: usize,
    item: impl Fn(&Value) -> Result<T, Fault>,
) -> impl Fn(&Value) -> Result<Vec<T>, Fault> {
    move |value| {
        let items = match &value.kind {
            Kind::List(items) => items.as_slice(),
            // One value stands for a list of one.
            Kind::Text(_) => std::slice::from_ref(value),
            other => return Err(expected("a list", other)),
        };
        if items.len() < least {
            return Err(Fault::new("is empty", "name at least one"));
        }
        let read = |value: &Value| item(value).map_err(|fault| fault.at(&value.origin));
        items.iter().map(read).collect()
    }
}

/// A count, or `"auto"` for `None`.
pub(crate) fn count_or_auto(
    range: RangeInclusive<u64>,
) -> impl Fn(&Value) -> Result<Option<usize>, Fault> {
    move |value| match &value.kind {
        Kind::Text(word) if word == "auto" => Ok(None),
        _ => number(range.clone())(value)
            .map(|number| Some(number as usize))
            .map_err(|fault| Fault {
                remedy: format!("{}, or “auto”", fault.remedy),
                ..fault
            }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_spans_in_all_forms() {
        for (text, expected) in [
            ("90", Some(90)),
            ("90s", Some(90)),
            ("5m", Some(300)),
            ("1h30m", Some(5400)),
            ("2d", Some(172_800)),
            ("", None),
            ("5", Some(5)),
            ("5x", None),
            ("m", None),
            ("1h30", None),
            ("-5s", None),
            ("99999999999999999999s", None),
            ("18446744073709551615h", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
        assert_eq!(show_seconds(0), "0s");
        assert_eq!(show_seconds(5400), "90m");
        assert_eq!(show_seconds(86_400), "1d");
    }
}
