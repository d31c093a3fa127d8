//! What a trunk is told of a call: addresses, caller, privacy.

use std::sync::Arc;

use sip::digest::{Answers, Learned};
use sip::{HeaderName, Message, Writer};
use stir::{Signer, number};

use super::caller_id::{ANONYMOUS_ADDRESS, CallerId, REMOTE_PARTY_ID, address};
use super::config::{From, IdentityHeader};
use super::state::View;
use super::{Channel, Trunk};
use crate::stir::put_signature;

/// The parts of an INVITE that are the trunk's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    /// Value of From, without tag.
    pub(crate) local: String,
    /// Value of To.
    pub(crate) remote: String,
    /// Request-URI.
    pub(crate) target: String,
    /// Values of Route (RFC 3608 §6.1).
    pub(crate) routes: Vec<Box<str>>,
    /// Value of P-Asserted-Identity, P-Preferred-Identity or Remote-Party-ID.
    identity: Option<(IdentityHeader, String)>,
    /// The caller wants to stay unknown.
    private: bool,
    /// Whom and how we vouch for.
    signed: Option<(Arc<Signer>, stir::Call)>,
}

impl Outgoing {
    /// A call of `caller` to `number` by this trunk. `host` is our own address towards it.
    pub(crate) fn new(
        trunk: &Trunk,
        view: &View,
        caller: &CallerId,
        number: &str,
        host: &str,
    ) -> Self {
        let policy = &trunk.identity;
        let number = trunk.numbers.to_trunk(number);
        let called = number.clone();
        let number = sip::uri::escape_user(&number);
        let target = format!("sip:{number}@{}", trunk.domain);
        let host = if trunk.account.is_some() {
            &*trunk.domain
        } else {
            host
        };
        let private = policy.anonymous || caller.private;
        let shown = policy.shown(&caller.number);
        let own = match policy.from {
            From::Number if !shown.is_empty() => trunk.numbers.to_trunk(&shown),
            From::Number | From::Account => trunk.user.to_string(),
        };
        let local = if private {
            ANONYMOUS_ADDRESS.to_owned()
        } else {
            address(&caller.display, &own, host)
        };
        let asserted = if shown.is_empty() {
            own
        } else {
            trunk.numbers.to_trunk(&shown)
        };
        let hidden = private && !policy.trusted;
        let signed = signed(trunk, &asserted, &called).filter(|_| !hidden);
        Self {
            local,
            remote: format!("<{target}>"),
            target,
            routes: view.service_route.clone(),
            identity: header(trunk, private)
                .map(|header| (header, address(&caller.display, &asserted, host))),
            private,
            signed,
        }
    }

    /// The same call to a trunk that has registered here: its Contact takes the place of the domain.
    pub(crate) fn at_contact(mut self, contact: &str, path: &[Box<str>]) -> Self {
        let number = self.target.split_once('@').map_or("", |(user, _)| user);
        let place = contact
            .split_once('@')
            .or_else(|| contact.split_once(':'))
            .map_or("", |(_, place)| place);
        let host = place.split(';').next().unwrap_or("");
        self.remote = format!("<{number}@{host}>");
        self.target = format!("{number}@{place}");
        self.routes = path.to_vec();
        self
    }

    /// Adds what tells the trunk who calls, at `now` in seconds since 1970.
    ///
    /// # Source
    /// RFC 3325 §9.1–9.3, RFC 3323 §4.2
    pub(crate) fn put(&self, writer: &mut Writer<'_>, now: u64) {
        if let Some((signer, call)) = &self.signed {
            put_signature(writer, signer, call, now);
        }
        match &self.identity {
            Some((IdentityHeader::Asserted, identity)) => {
                writer.text(HeaderName::PAssertedIdentity, identity);
            }
            Some((IdentityHeader::Preferred, identity)) => {
                writer.text(HeaderName::PPreferredIdentity, identity);
            }
            Some((IdentityHeader::RemoteParty, identity)) => {
                let privacy = if self.private { "full" } else { "off" };
                writer.other_header(
                    REMOTE_PARTY_ID,
                    format_args!("{identity};party=calling;screen=yes;privacy={privacy}"),
                );
            }
            Some((IdentityHeader::None, _)) | None => {}
        }
        if self.private {
            writer.text(HeaderName::Privacy, "id");
        }
    }
}

/// Whom we vouch for, in international form whatever the trunk wants to see; nobody who has no number.
fn signed(trunk: &Trunk, asserted: &str, called: &str) -> Option<(Arc<Signer>, stir::Call)> {
    let signer = trunk.stir.sign.as_ref()?;
    let canonical = |number: &str| number::canonical(&trunk.numbers.from_trunk(number));
    let call = stir::Call {
        orig: canonical(asserted)?,
        dest: canonical(called)?,
    };
    Some((Arc::clone(signer), call))
}

/// How the caller is asserted, if at all: outside our trust domain nobody learns who wants to stay
/// unknown (RFC 3325 §7).
fn header(trunk: &Trunk, private: bool) -> Option<IdentityHeader> {
    let trusted = trunk.identity.trusted;
    match trunk.identity.header {
        IdentityHeader::None => None,
        _ if private && !trusted => None,
        IdentityHeader::Asserted if !trusted => Some(IdentityHeader::Preferred),
        header => Some(header),
    }
}

/// What a leg towards a trunk has besides its dialog.
#[derive(Debug)]
pub(crate) struct TrunkLeg {
    pub(crate) trunk: Arc<Trunk>,
    pub(crate) answers: Answers,
    /// Given back with the leg.
    _channel: Channel,
}

impl TrunkLeg {
    pub(crate) fn new(trunk: Arc<Trunk>, channel: Channel) -> Self {
        Self {
            trunk,
            answers: Answers::default(),
            _channel: channel,
        }
    }

    /// Adds the proof of who we are, once it has been asked for.
    pub(crate) fn prove(
        &mut self,
        writer: &mut Writer<'_>,
        method: sip::Method<'_>,
        uri: &str,
        body: &[u8],
        cnonce: base::Token,
    ) {
        if let Some(account) = &self.trunk.account {
            let cnonce = cnonce.as_str();
            self.answers.put(writer, account, method, uri, body, cnonce);
        }
    }
}

impl TrunkLeg {
    /// What is needed to prove who we are when the leg is gone; none: we have no account there.
    pub(crate) fn proof(&self) -> Option<Box<Proof>> {
        self.trunk.account.as_ref()?;
        Some(Box::new(Proof {
            trunk: Arc::clone(&self.trunk),
            answers: self.answers.clone(),
        }))
    }

    /// Takes the challenge of a 401 or 407. `false`: it can't be answered, or has just been.
    ///
    /// # Source
    /// RFC 3261 §22.2
    pub(crate) fn learn(&mut self, response: &Message<'_>) -> bool {
        self.trunk.account.is_some() && self.answers.learn(response) == Learned::TryAgain
    }
}

/// Who we are to a trunk, beside a dialog whose leg is gone.
#[derive(Clone, Debug)]
pub(crate) struct Proof {
    trunk: Arc<Trunk>,
    answers: Answers,
}

impl Proof {
    /// Adds the proof, once it has been asked for.
    pub(crate) fn put(
        &mut self,
        writer: &mut Writer<'_>,
        method: sip::Method<'_>,
        uri: &str,
        cnonce: base::Token,
    ) {
        if let Some(account) = &self.trunk.account {
            let cnonce = cnonce.as_str();
            self.answers.put(writer, account, method, uri, b"", cnonce);
        }
    }

    /// Takes the challenge of a 401 or 407. `false`: it can't be answered, or has just been.
    pub(crate) fn learn(&mut self, response: &Message<'_>) -> bool {
        self.answers.learn(response) == Learned::TryAgain
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sip::Method;
    use sip::digest::Account;

    use super::*;
    use crate::trunk::numbers::Format;
    use crate::trunk::{TrunkSettings, Trunks, countries::Country};

    fn trunk(change: impl FnOnce(&mut TrunkSettings)) -> Arc<Trunk> {
        let mut settings = TrunkSettings::new("t", "provider.example", Vec::new());
        settings.identity.trusted = true;
        settings.identity.number = "+493012345{number}".into();
        settings.numbers.country = Country::named("DE");
        settings.user = "acct".into();
        change(&mut settings);
        Arc::clone(
            Trunks::new(vec![settings], &Trunks::default())
                .named("t")
                .unwrap(),
        )
    }

    fn ann(private: bool) -> CallerId {
        CallerId {
            number: "67".into(),
            display: "Ann".into(),
            private,
        }
    }

    fn headers(outgoing: &Outgoing) -> String {
        let mut bytes = Vec::new();
        let mut writer = Writer::request(&mut bytes, Method::Invite, &outgoing.target);
        outgoing.put(&mut writer, 0);
        writer.finish();
        String::from_utf8(bytes).unwrap()
    }

    fn outgoing(trunk: &Trunk, caller: &CallerId) -> Outgoing {
        Outgoing::new(trunk, &View::default(), caller, "0301", "192.0.2.1")
    }

    #[test]
    fn rfc3325_9_1_a_trusted_trunk_learns_who_calls() {
        let trunk = trunk(|_| {});
        let open = outgoing(&trunk, &ann(false));
        assert_eq!(open.local, "\"Ann\" <sip:+49301234567@192.0.2.1>");
        assert_eq!(open.target, "sip:0301@provider.example");
        let text = headers(&open);
        let line = "P-Asserted-Identity: \"Ann\" <sip:+49301234567@192.0.2.1>\r\n";
        assert!(text.contains(line) && !text.contains("Privacy"), "{text}");
    }

    #[test]
    fn rfc3325_9_3_a_private_caller_is_asserted_to_a_trusted_trunk_alone() {
        let anonymous = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";
        let trusted = outgoing(&trunk(|_| {}), &ann(true));
        assert_eq!(trusted.local, anonymous);
        let text = headers(&trusted);
        assert!(text.contains("P-Asserted-Identity") && text.contains("Privacy: id\r\n"));
        let stranger = outgoing(&trunk(|t| t.identity.trusted = false), &ann(true));
        let text = headers(&stranger);
        assert_eq!(stranger.local, anonymous);
        assert!(
            !text.contains("49301234567") && text.contains("Privacy: id\r\n"),
            "{text}"
        );
    }

    #[test]
    fn rfc3325_9_2_an_identity_is_preferred_where_it_can_not_be_asserted() {
        let text = headers(&outgoing(
            &trunk(|t| t.identity.trusted = false),
            &ann(false),
        ));
        assert!(text.contains("P-Preferred-Identity: \"Ann\" <sip:+49301234567@"));
    }

    #[test]
    fn remote_party_id_for_who_knows_nothing_else() {
        let trunk = trunk(|t| t.identity.header = IdentityHeader::RemoteParty);
        let text = headers(&outgoing(&trunk, &ann(true)));
        let line = "Remote-Party-ID: \"Ann\" <sip:+49301234567@192.0.2.1>;party=calling;screen=yes;privacy=full";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn a_trunk_that_registers_here_is_called_at_its_contact() {
        let call = outgoing(&trunk(|_| {}), &ann(false));
        let call = call.at_contact("sip:hq@192.0.2.9:5080;transport=tcp;line=7", &[]);
        assert_eq!(call.target, "sip:0301@192.0.2.9:5080;transport=tcp;line=7");
        assert_eq!(call.remote, "<sip:0301@192.0.2.9:5080>");
    }

    #[test]
    fn an_account_is_shown_where_the_provider_insists() {
        let trunk = trunk(|t| {
            t.identity.from = From::Account;
            t.numbers.format = Format::Digits;
            t.account = Some(Account {
                user: "a".into(),
                password: "p".into(),
            });
        });
        let call = outgoing(&trunk, &ann(false));
        assert_eq!(call.local, "\"Ann\" <sip:acct@provider.example>");
        let text = headers(&call);
        assert!(
            text.contains("<sip:49301234567@provider.example>"),
            "{text}"
        );
    }
}
