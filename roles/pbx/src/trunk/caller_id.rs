//! Who calls, and who may know.

use sip::{HeaderName, Message, NameAddr, Uri};

use super::{Trunk, config::IdentityPolicy};
use crate::User;

/// A caller as others are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallerId {
    /// The number; empty if it is not known.
    pub number: String,
    /// The name; empty if there is none.
    pub display: String,
    /// The caller wants to stay unknown to the callee (RFC 3323).
    pub private: bool,
}

impl CallerId {
    /// A user of ours, whatever From says.
    pub(crate) fn of_user(user: &User, request: &Message<'_>) -> Self {
        Self {
            number: user.number.clone(),
            display: user.display_name.clone(),
            private: asks_for_privacy(request),
        }
    }

    /// The caller of a call from a trunk: as asserted if the trunk is trusted, else as in From.
    ///
    /// # Source
    /// RFC 3325 §5, §8
    pub(crate) fn of_trunk(trunk: &Trunk, request: &Message<'_>) -> Self {
        let asserted = trunk.identity.trusted.then(|| asserted(request)).flatten();
        let (address, private) = match asserted {
            Some((address, private)) => (Some(address), private),
            None => (request.from().ok(), false),
        };
        let number = address
            .and_then(|address| address.parse_uri().ok().map(|uri| number_of(&uri)))
            .filter(|number| number != ANONYMOUS)
            .unwrap_or_default();
        let display = address.map_or_else(String::new, |address| address.display_name());
        Self {
            number: trunk.numbers.from_trunk(&number),
            display: visible(&display),
            private: private || asks_for_privacy(request),
        }
    }

    /// The value of From for a phone of ours.
    #[must_use]
    pub fn address(&self, host: &str) -> String {
        if self.private || self.number.is_empty() {
            return ANONYMOUS_ADDRESS.to_owned();
        }
        address(&self.display, &self.number, host)
    }
}

impl IdentityPolicy {
    /// The number that a caller is shown with, before it gets its form.
    pub(crate) fn shown(&self, number: &str) -> String {
        let own = self.numbers.iter().find(|(user, _)| **user == *number);
        match own {
            Some((_, shown)) => shown.to_string(),
            None if self.number.is_empty() => number.to_owned(),
            None => self.number.replace("{number}", number),
        }
    }
}

/// A name-addr.
pub(crate) fn address(display: &str, user: &str, host: &str) -> String {
    let user = sip::uri::escape_user(user);
    if display.is_empty() {
        format!("<sip:{user}@{host}>")
    } else {
        format!("\"{}\" <sip:{user}@{host}>", visible(display))
    }
}

/// Whether a request asks that its sender stay unknown to the callee.
///
/// # Source
/// RFC 3323 §4.1.1.3, §4.2; RFC 3325 §9.3
fn asks_for_privacy(request: &Message<'_>) -> bool {
    let asked = request.header(HeaderName::Privacy).is_some_and(|value| {
        let mut wishes = value.split([';', ',']).map(str::trim);
        wishes.any(|wish| {
            ["id", "user", "header"]
                .iter()
                .any(|known| wish.eq_ignore_ascii_case(known))
        })
    });
    let hides = request
        .from()
        .ok()
        .and_then(|from| from.parse_uri().ok())
        .is_some_and(|uri| uri.host.eq_ignore_ascii_case("anonymous.invalid"));
    asked || hides
}

/// The asserted caller, and whether Remote-Party-ID says that it is to be kept from the callee.
fn asserted<'a>(request: &Message<'a>) -> Option<(NameAddr<'a>, bool)> {
    let parse = |value| NameAddr::parse(value).ok();
    let known = |address: &NameAddr<'_>| address.parse_uri().is_ok();
    let asserted = request
        .values(HeaderName::PAssertedIdentity)
        .filter_map(parse)
        .find(known);
    if let Some(address) = asserted {
        return Some((address, false));
    }
    let address = request
        .other_header(REMOTE_PARTY_ID)
        .and_then(parse)
        .filter(known)
        .filter(|address| address.params.find("party").is_none_or(|p| p == "calling"))?;
    let private = address
        .params
        .find("privacy")
        .is_some_and(|privacy| privacy != "off");
    Some((address, private))
}

fn number_of(uri: &Uri<'_>) -> String {
    let user = uri.user_name();
    let legal = |c: &char| !c.is_control() && !matches!(c, '<' | '>' | '"' | '@' | ';' | ' ');
    let separator = |c: &char| matches!(c, '-' | '.' | '(' | ')');
    let global = user.starts_with('+');
    user.chars()
        .filter(legal)
        .filter(|c| !(global && separator(c)))
        .take(64)
        .collect()
}

/// A name without what would end its quotes.
fn visible(name: &str) -> String {
    name.chars()
        .filter(|c| !c.is_control() && !matches!(c, '"' | '\\'))
        .take(128)
        .collect()
}

pub(crate) const REMOTE_PARTY_ID: &str = "Remote-Party-ID";

const ANONYMOUS: &str = "anonymous";

/// RFC 3323 §4.1.1.3.
pub(crate) const ANONYMOUS_ADDRESS: &str = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::trunk::{TrunkSettings, Trunks};

    fn trunk(trusted: bool) -> Arc<Trunk> {
        let mut settings = TrunkSettings::new("t", "t.example", Vec::new());
        settings.identity.trusted = trusted;
        settings.numbers.country = crate::trunk::countries::Country::named("DE");
        Arc::clone(
            Trunks::new(vec![settings], &Trunks::default())
                .named("t")
                .unwrap(),
        )
    }

    fn caller(trusted: bool, lines: &str) -> CallerId {
        let text = format!(
            "INVITE sip:a@b SIP/2.0\r\nFrom: \"Net\" <sip:030111111@x>;tag=1\r\n{lines}\r\n\r\n"
        );
        CallerId::of_trunk(&trunk(trusted), &Message::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn rfc3325_8_an_assertion_counts_from_whom_we_trust_only() {
        let line = "P-Asserted-Identity: \"Ann\" <sip:+4930222222@x>, <tel:+4930222222>";
        let trusted = caller(true, line);
        assert_eq!(
            (&*trusted.number, &*trusted.display),
            ("+4930222222", "Ann")
        );
        let stranger = caller(false, line);
        assert_eq!(
            (&*stranger.number, &*stranger.display),
            ("+4930111111", "Net")
        );
    }

    #[test]
    fn rfc3325_9_1_a_tel_uri_is_an_identity_too() {
        assert_eq!(
            caller(true, "P-Asserted-Identity: <tel:+49-30-222.222>").number,
            "+4930222222"
        );
    }

    #[test]
    fn rfc3325_9_3_privacy_id_keeps_the_caller_from_phones() {
        let line = "Privacy: id;critical\r\nP-Asserted-Identity: <sip:+4930222222@x>";
        let caller = caller(true, line);
        assert!(caller.private);
        assert_eq!(caller.number, "+4930222222");
        assert_eq!(
            caller.address("pbx"),
            "\"Anonymous\" <sip:anonymous@anonymous.invalid>"
        );
        let open = self::caller(true, "Privacy: none");
        assert!(!open.private);
        assert_eq!(open.address("pbx"), "\"Net\" <sip:+4930111111@pbx>");
    }

    #[test]
    fn rfc3323_4_1_1_3_an_anonymous_from_has_no_number() {
        let text = "INVITE sip:a@b SIP/2.0\r\nFrom: \"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=1\r\n\r\n";
        let caller = CallerId::of_trunk(&trunk(true), &Message::parse(text.as_bytes()).unwrap());
        assert!(caller.private && caller.number.is_empty());
    }

    #[test]
    fn remote_party_id_is_understood() {
        let line =
            "Remote-Party-ID: \"Bo\" <sip:030333333@x>;party=calling;screen=yes;privacy=full";
        let caller = caller(true, line);
        assert_eq!(&*caller.number, "+4930333333");
        assert!(caller.private);
        let called = "Remote-Party-ID: <sip:030333333@x>;party=called";
        assert_eq!(self::caller(true, called).number, "+4930111111");
    }

    #[test]
    fn a_number_is_shown_as_the_policy_says() {
        let policy = IdentityPolicy {
            number: "+493012345{number}".into(),
            numbers: vec![("1002".into(), "+49305550".into())],
            ..IdentityPolicy::default()
        };
        assert_eq!(policy.shown("1001"), "+4930123451001");
        assert_eq!(policy.shown("1002"), "+49305550");
    }

    #[test]
    fn a_name_can_not_break_out_of_its_quotes() {
        let caller = CallerId {
            number: "1".into(),
            display: "a\" <sip:x@y>\r\nX: \\".into(),
            private: false,
        };
        assert_eq!(caller.address("h"), "\"a <sip:x@y>X: \" <sip:1@h>");
    }
}
