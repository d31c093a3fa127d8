//! Names of header fields.

/// A header field's name. Names compare without case, and the compact forms are the same names
/// (RFC 3261 §7.3.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "each is the name of the header field")]
pub enum HeaderName {
    Accept,
    Allow,
    AllowEvents,
    AlertInfo,
    AuthenticationInfo,
    Authorization,
    CallId,
    CallInfo,
    Contact,
    ContentDisposition,
    ContentEncoding,
    ContentLength,
    ContentType,
    CSeq,
    Date,
    Diversion,
    Event,
    Expires,
    From,
    HistoryInfo,
    MaxForwards,
    MinExpires,
    MinSe,
    PAssertedIdentity,
    PPreferredIdentity,
    Path,
    Privacy,
    ProxyAuthenticate,
    ProxyAuthorization,
    ProxyRequire,
    RAck,
    Reason,
    RecordRoute,
    ReferTo,
    ReferredBy,
    Replaces,
    Require,
    RetryAfter,
    Route,
    RSeq,
    Server,
    ServiceRoute,
    SessionExpires,
    Subject,
    SubscriptionState,
    Supported,
    To,
    Unsupported,
    UserAgent,
    Via,
    Warning,
    WwwAuthenticate,
    /// Any other name; the text stands in the message.
    Other,
}

impl HeaderName {
    /// The name that `text` spells, in long or compact form and any case.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        if let [letter] = text {
            return Self::of_compact(letter.to_ascii_lowercase());
        }
        let (Some(names), Some(first)) = (BY_LENGTH.get(text.len()), text.first()) else {
            return Self::Other;
        };
        let initial = first | 0x20;
        let candidates = || names.iter().filter(|(letter, ..)| *letter == initial);
        // Most senders spell as the RFCs do.
        candidates()
            .find(|(_, name, _)| name.as_bytes() == text)
            .or_else(|| {
                candidates().find(|(_, name, _)| name.as_bytes().eq_ignore_ascii_case(text))
            })
            .map_or(Self::Other, |(_, _, known)| *known)
    }

    /// The canonical spelling; empty for [`Other`](Self::Other).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        SPELLINGS[self as usize]
    }

    /// How many names there are, not counting [`Other`](Self::Other), which is the last.
    pub(crate) const COUNT: usize = Self::Other as usize;

    fn of_compact(letter: u8) -> Self {
        match letter {
            b'c' => Self::ContentType,
            b'e' => Self::ContentEncoding,
            b'f' => Self::From,
            b'i' => Self::CallId,
            b'k' => Self::Supported,
            b'l' => Self::ContentLength,
            b'm' => Self::Contact,
            b'o' => Self::Event,
            b'r' => Self::ReferTo,
            b's' => Self::Subject,
            b't' => Self::To,
            b'u' => Self::AllowEvents,
            b'v' => Self::Via,
            b'x' => Self::SessionExpires,
            b'b' => Self::ReferredBy,
            _ => Self::Other,
        }
    }
}

type Entry = (u8, &'static str, HeaderName);

/// Long names by their length; the first field is the lower-case initial, which settles most misses.
const BY_LENGTH: [&[Entry]; 21] = {
    use HeaderName as N;
    [
        &[],
        &[],
        &[(b't', "To", N::To)],
        &[(b'v', "Via", N::Via)],
        &[
            (b'f', "From", N::From),
            (b'c', "CSeq", N::CSeq),
            (b'd', "Date", N::Date),
            (b'p', "Path", N::Path),
            (b'r', "RAck", N::RAck),
            (b'r', "RSeq", N::RSeq),
        ],
        &[
            (b'r', "Route", N::Route),
            (b'a', "Allow", N::Allow),
            (b'e', "Event", N::Event),
        ],
        &[
            (b'a', "Accept", N::Accept),
            (b'm', "Min-SE", N::MinSe),
            (b'r', "Reason", N::Reason),
            (b's', "Server", N::Server),
        ],
        &[
            (b'c', "Call-ID", N::CallId),
            (b'c', "Contact", N::Contact),
            (b'e', "Expires", N::Expires),
            (b'p', "Privacy", N::Privacy),
            (b'r', "Require", N::Require),
            (b's', "Subject", N::Subject),
            (b'w', "Warning", N::Warning),
        ],
        &[
            (b'r', "Refer-To", N::ReferTo),
            (b'r', "Replaces", N::Replaces),
        ],
        &[
            (b's', "Supported", N::Supported),
            (b'd', "Diversion", N::Diversion),
            (b'c', "Call-Info", N::CallInfo),
        ],
        &[
            (b'u', "User-Agent", N::UserAgent),
            (b'a', "Alert-Info", N::AlertInfo),
        ],
        &[
            (b'm', "Min-Expires", N::MinExpires),
            (b'r', "Referred-By", N::ReferredBy),
            (b'r', "Retry-After", N::RetryAfter),
            (b'u', "Unsupported", N::Unsupported),
        ],
        &[
            (b'm', "Max-Forwards", N::MaxForwards),
            (b'c', "Content-Type", N::ContentType),
            (b'r', "Record-Route", N::RecordRoute),
            (b'a', "Allow-Events", N::AllowEvents),
            (b'h', "History-Info", N::HistoryInfo),
        ],
        &[
            (b'a', "Authorization", N::Authorization),
            (b'p', "Proxy-Require", N::ProxyRequire),
            (b's', "Service-Route", N::ServiceRoute),
        ],
        &[(b'c', "Content-Length", N::ContentLength)],
        &[(b's', "Session-Expires", N::SessionExpires)],
        &[
            (b'w', "WWW-Authenticate", N::WwwAuthenticate),
            (b'c', "Content-Encoding", N::ContentEncoding),
        ],
        &[],
        &[
            (b'p', "Proxy-Authenticate", N::ProxyAuthenticate),
            (b's', "Subscription-State", N::SubscriptionState),
        ],
        &[
            (b'p', "Proxy-Authorization", N::ProxyAuthorization),
            (b'p', "P-Asserted-Identity", N::PAssertedIdentity),
            (b'c', "Content-Disposition", N::ContentDisposition),
            (b'a', "Authentication-Info", N::AuthenticationInfo),
        ],
        &[(b'p', "P-Preferred-Identity", N::PPreferredIdentity)],
    ]
};

/// Canonical spellings, by name.
const SPELLINGS: [&str; HeaderName::COUNT + 1] = {
    let mut spellings = [""; HeaderName::COUNT + 1];
    let mut length = 0;
    while length < BY_LENGTH.len() {
        let mut index = 0;
        while index < BY_LENGTH[length].len() {
            let (_, spelling, name) = BY_LENGTH[length][index];
            spellings[name as usize] = spelling;
            index += 1;
        }
        length += 1;
    }
    spellings
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_under_its_length_and_initial() {
        for (length, names) in BY_LENGTH.iter().enumerate() {
            for (initial, name, known) in *names {
                assert_eq!(name.len(), length, "{name}");
                assert_eq!(*initial, name.as_bytes()[0] | 0x20, "{name}");
                assert_eq!(HeaderName::parse(name.to_uppercase().as_bytes()), *known);
                assert_eq!(known.as_str(), *name);
            }
        }
    }

    /// RFC 3261 §7.3.3.
    #[test]
    fn every_name_has_a_spelling() {
        let missing = |spelling: &&&str| spelling.is_empty();
        let without = SPELLINGS.iter().filter(missing).count();
        // The one is that of any other name.
        assert_eq!(without, 1);
    }

    #[test]
    fn compact_and_unknown_names() {
        assert_eq!(HeaderName::parse(b"V"), HeaderName::Via);
        assert_eq!(HeaderName::parse(b"X-Anything"), HeaderName::Other);
        assert_eq!(HeaderName::parse(b""), HeaderName::Other);
    }
}
