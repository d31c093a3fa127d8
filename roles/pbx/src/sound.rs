//! What parties are offered where nobody says otherwise.

use std::sync::{Arc, LazyLock};

use media::agreement::{SUITES, TRANSCODABLE};
use sdp::bridge::{Add, Encryption, Events, Keying, Policy, Use};

use crate::config::Dtmf;

/// How a user or trunk is dealt with about which no file says anything: no encryption but what its own
/// offer has, and every codec.
#[must_use]
pub fn policy() -> Policy {
    Policy {
        keying: Keying::Both,
        suites: SUITES.to_vec(),
        transcode: &TRANSCODABLE,
        trickles: true,
        ..Policy::default()
    }
}

/// The same for somebody who may use these codecs only, named as in `a=rtpmap`, best first; none: any.
#[must_use]
pub fn with_codecs(codecs: Vec<Box<str>>) -> Arc<Policy> {
    with(codecs, Encryption::Follow, Keying::Both)
}

/// As [`with_codecs`], with a rule for encryption and how keys are agreed.
#[must_use]
pub fn with(codecs: Vec<Box<str>>, encryption: Encryption, keying: Keying) -> Arc<Policy> {
    if (codecs.is_empty(), encryption, keying) == (true, Encryption::Follow, Keying::Both) {
        return Arc::clone(&STRANGERS);
    }
    let policy = Policy {
        codecs,
        encryption,
        keying,
        ..policy()
    };
    Arc::new(match keying {
        Keying::Dtls => by_handshake(policy),
        _ => policy,
    })
}

/// The same for somebody who is told of keys in this way.
#[must_use]
pub fn telling(usual: Arc<Policy>, dtmf: Dtmf) -> Arc<Policy> {
    let events = match dtmf {
        Dtmf::Auto => Events::Follow,
        Dtmf::Rfc4733 => Events::Always,
        Dtmf::Info | Dtmf::Inband => Events::Never,
    };
    if usual.events == events {
        return usual;
    }
    Arc::new(Policy {
        events,
        ..(*usual).clone()
    })
}

/// How a browser is dealt with that is otherwise dealt with like this: it does not talk without a
/// handshake, checks and RTCP on the port of RTP, so whatever is offered has them.
///
/// # Source
/// RFC 8834 §4, RFC 8835 §3.4, §4; RFC 8827 §6.5
#[must_use]
pub fn browser(usual: &Policy) -> Policy {
    Policy {
        encryption: Encryption::Required,
        keying: Keying::Dtls,
        feedback: Use::Always,
        mux: Use::Always,
        ice: Use::Always,
        bundle: Use::Always,
        ..usual.clone()
    }
}

/// How a party is offered what one of the other kind says: a browser's header extensions, sources and
/// feedback mean nothing to a phone, and make an offer too long for a datagram.
pub(crate) fn across(ours: Arc<Policy>, theirs: &Policy) -> Arc<Policy> {
    if ours.ice == theirs.ice {
        return ours;
    }
    Arc::new(Policy {
        sources: false,
        extensions: false,
        feedback: match ours.feedback {
            Use::Always => Use::Always,
            _ => Use::Never,
        },
        ..(*ours).clone()
    })
}

/// What is offered to a party that has refused so many offers: every codec that we can convert, first with
/// SRTP, which some insist on, then without a word of it. The handshake comes before keys in the
/// description: baresip 1 accepts those too, and then has none.
pub(crate) fn otherwise(policy: Arc<Policy>, refusals: u8) -> Arc<Policy> {
    use Encryption::{Forbidden, Required};
    if refusals == 0 {
        return policy;
    }
    let handshake = policy.encryption != Forbidden && policy.keying == Keying::Both;
    let protected = match (refusals, policy.encryption) {
        (_, Forbidden) => false,
        (_, Required) => true,
        (refusals, _) => refusals <= 1 + u8::from(handshake),
    };
    let policy = Policy {
        encryption: if protected { Required } else { Forbidden },
        add: Add::Always,
        ..(*policy).clone()
    };
    Arc::new(match handshake && refusals == 1 {
        true => by_handshake(policy),
        false => policy,
    })
}

/// How often a party is asked again that refuses what it is offered.
pub(crate) fn most_refusals(policy: &Policy) -> u8 {
    let handshake = u8::from(policy.keying == Keying::Both);
    match policy.encryption {
        Encryption::Follow | Encryption::Optional => 2 + handshake,
        Encryption::Required => 1 + handshake,
        Encryption::Forbidden => 1,
    }
}

/// The same with keys by a handshake, offered in the profile of browsers: whoever does one knows it, and
/// not everybody knows the other.
fn by_handshake(policy: Policy) -> Policy {
    Policy {
        keying: Keying::Dtls,
        feedback: Use::Always,
        ..policy
    }
}

/// The same for whoever is neither user nor trunk.
pub(crate) static STRANGERS: LazyLock<Arc<Policy>> = LazyLock::new(|| Arc::new(policy()));

static BROWSERS: LazyLock<Arc<Policy>> = LazyLock::new(|| Arc::new(browser(&STRANGERS)));

/// As [`browser()`]; nothing is copied for those about whom no file says anything.
pub(crate) fn of_browser(usual: &Arc<Policy>) -> Arc<Policy> {
    match Arc::ptr_eq(usual, &STRANGERS) {
        true => Arc::clone(&BROWSERS),
        false => Arc::new(browser(usual)),
    }
}

/// Random bits for keys.
pub(crate) struct Minted<'a>(pub(crate) &'a mut base::Mint);

impl sdp::bridge::Random for Minted<'_> {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let bits = self.0.number64().to_le_bytes();
            chunk.copy_from_slice(&bits[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8827_6_5_a_browser_s_media_are_always_protected_by_a_handshake() {
        for encryption in [
            Encryption::Forbidden,
            Encryption::Follow,
            Encryption::Optional,
        ] {
            let usual = with(vec!["opus".into()], encryption, Keying::Both);
            let browser = of_browser(&usual);
            assert_eq!(browser.encryption, Encryption::Required);
            assert_eq!(browser.keying, Keying::Dtls);
            assert_eq!(browser.codecs, usual.codecs);
        }
    }

    #[test]
    fn who_refuses_is_offered_other_keys_but_never_against_the_rules() {
        use Encryption::{Follow, Forbidden, Optional, Required};
        use Keying::{Both, Dtls};
        let offers = |rule, keying| {
            let usual = with(Vec::new(), rule, keying);
            assert_eq!(otherwise(Arc::clone(&usual), 0), usual);
            let again = 1..=most_refusals(&usual);
            let again = again.map(|n| otherwise(Arc::clone(&usual), n));
            again.map(|p| (p.encryption, p.keying)).collect::<Vec<_>>()
        };
        let all = [(Required, Dtls), (Required, Both), (Forbidden, Both)];
        assert_eq!(offers(Follow, Both), all);
        assert_eq!(offers(Optional, Both), all);
        assert_eq!(offers(Required, Both), all[..2]);
        assert_eq!(offers(Required, Dtls), [(Required, Dtls)]);
        assert_eq!(offers(Forbidden, Both), all[2..]);
    }

    #[test]
    fn what_only_browsers_understand_does_not_cross_to_phones() {
        let (phone, browser) = (policy(), browser(&policy()));
        let crossed = across(Arc::new(phone.clone()), &browser);
        assert!(!crossed.sources && !crossed.extensions);
        assert_eq!(crossed.feedback, Use::Never);
        let back = across(Arc::new(browser.clone()), &phone);
        assert_eq!(back.feedback, Use::Always);
        for same in [phone, browser] {
            assert_eq!(*across(Arc::new(same.clone()), &same), same);
        }
    }
}
