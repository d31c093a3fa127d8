//! Which messages a viewer wants.

use std::net::IpAddr;
use std::sync::Arc;

use base::Token;
use sip::{HeaderName, Message, NameAddr, Uri};
use store::Bindings;

use super::message::Traced;

/// All that is named must fit.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    pub(super) call: Option<Token>,
    pub(super) phone: Option<Phone>,
    pub(super) peer: Option<IpAddr>,
}

/// Everything that concerns one user.
#[derive(Clone, Debug)]
pub(super) struct Phone {
    /// The user's name and number.
    names: Vec<String>,
    bindings: Arc<Bindings>,
}

impl Filter {
    /// Whether a viewer wants `traced`, whose text was parsed to `message`.
    pub(super) fn wants(&self, traced: &Traced, message: &Message<'_>) -> bool {
        self.call.is_none_or(|call| traced.call == Some(call))
            && self.peer.is_none_or(|ip| traced.flow.remote.ip() == ip)
            && self.phone.as_ref().is_none_or(|p| p.fits(traced, message))
    }
}

impl Phone {
    /// What concerns the user whom `wanted` names, by name or number; or whoever else has this name.
    pub(super) fn new(wanted: &str, users: &[pbx::User], bindings: Arc<Bindings>) -> Self {
        let user = users
            .iter()
            .find(|user| user.name == wanted || user.number == wanted);
        let mut names = vec![wanted.to_owned()];
        names.extend(
            user.into_iter()
                .flat_map(|user| [user.name.clone(), user.number.clone()]),
        );
        names.sort();
        names.dedup();
        Self { names, bindings }
    }

    fn fits(&self, traced: &Traced, message: &Message<'_>) -> bool {
        let request_uri = message.method().map(|_| message.request_uri());
        let parties = [HeaderName::From, HeaderName::To].map(|name| message.header(name));
        let contacts = message.contacts().flatten().map(|contact| contact.uri);
        let parties = parties.into_iter().flatten();
        let parties = parties.filter_map(|value| Some(NameAddr::parse(value).ok()?.uri));
        request_uri
            .into_iter()
            .chain(parties)
            .chain(contacts)
            .any(|uri| self.is_named(uri))
            || self.is_reached(traced)
    }

    fn is_named(&self, uri: &str) -> bool {
        Uri::parse(uri).is_ok_and(|uri| {
            let user = uri.user_name();
            self.names.iter().any(|name| *name == *user)
        })
    }

    /// Whether one of the user's registered phones is at the other end.
    fn is_reached(&self, traced: &Traced) -> bool {
        let contacts = self
            .names
            .iter()
            .filter_map(|name| self.bindings.lookup(name));
        contacts.into_iter().any(|contacts| {
            let mut contacts = contacts.iter();
            contacts.any(|contact| contact.flow.same_peer(&traced.flow))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use base::{Mint, Slot};
    use sip::{Flow, Protocol};

    use super::*;

    fn traced(call: Option<Token>) -> Traced {
        Traced {
            at: Instant::now(),
            direction: engine::Direction::Received,
            flow: Flow {
                protocol: Protocol::Udp,
                local: "192.0.2.1:5060".parse().unwrap(),
                remote: "198.51.100.7:40000".parse().unwrap(),
                connection: None,
                tls: sip::TlsPeer::ANY,
            },
            bytes: TEXT.as_bytes().into(),
            call,
        }
    }

    fn wants(filter: &Filter, traced: &Traced) -> bool {
        filter.wants(traced, &Message::parse(TEXT.as_bytes()).unwrap())
    }

    fn phone(name: &str) -> Filter {
        let phone = Phone::new(name, &[], Arc::new(Bindings::new()));
        Filter {
            phone: Some(phone),
            ..Filter::default()
        }
    }

    #[test]
    fn all_that_is_named_must_fit() {
        let call = Mint::new(Slot::new(1), [0; 32]).token();
        let everything = Filter::default();
        assert!(wants(&everything, &traced(None)));
        let of_call = Filter {
            call: Some(call),
            ..Filter::default()
        };
        assert!(wants(&of_call, &traced(Some(call))));
        assert!(!wants(&of_call, &traced(None)));
        let from = |ip: &str| Filter {
            peer: ip.parse().ok(),
            ..of_call.clone()
        };
        assert!(wants(&from("198.51.100.7"), &traced(Some(call))));
        assert!(!wants(&from("198.51.100.8"), &traced(Some(call))));
    }

    #[test]
    fn a_phone_is_found_wherever_it_is_named() {
        for name in ["1001", "1002", "al ice", "desk"] {
            assert!(wants(&phone(name), &traced(None)), "{name}");
        }
        for name in ["100", "10011", "example.com", ""] {
            assert!(!wants(&phone(name), &traced(None)), "{name}");
        }
    }

    const TEXT: &str = "INVITE sip:1002@example.com SIP/2.0\r\n\
        Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\n\
        From: \"A\" <sip:1001@example.com>;tag=1\r\n\
        To: <sip:al%20ice@example.com>\r\n\
        Call-ID: 1\r\nCSeq: 1 INVITE\r\n\
        Contact: <sip:desk@198.51.100.7>\r\n\r\n";
}
