//! Signed caller numbers: whom a trunk's calls are believed to be from, and what we vouch for.
//!
//! An INVITE from a trunk whose policy says so is compared with its Identity header field at once; then
//! its call waits until the certificate is there. Nobody else waits.
//!
//! # Source
//! RFC 8224 §6, RFC 8588, TS 24.229 §7.2A.20 (`verstat`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::{Mint, Token};
use engine::{Ask, Question};
use sip::{HeaderName, Message, NameAddr, Uri, Writer};
use stir::{Claim, Fault, Identity, Signer, date, number};

use crate::trunk::config::NumberPolicy;

/// What is done about signed numbers on a trunk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StirPolicy {
    /// Signs our calls to it; none: they are not signed.
    pub sign: Option<Arc<Signer>>,
    /// What becomes of its calls to us.
    pub verify: Verify,
}

/// What becomes of calls whose caller's number is not vouched for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Verify {
    /// Nobody looks.
    #[default]
    Off,
    /// They go through, and phones and call records are told.
    Mark,
    /// They are refused.
    Require,
}

/// What is known of a caller's number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verstat {
    /// Somebody whom we trust vouches for it.
    Passed,
    /// What vouches for it is wrong.
    Failed,
    /// Nobody vouches for it.
    Unsigned,
}

impl Verstat {
    /// The value of the parameter that tells others.
    ///
    /// # Source
    /// TS 24.229 §7.2A.20.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "TN-Validation-Passed",
            Self::Failed => "TN-Validation-Failed",
            Self::Unsigned => "No-TN-Validation",
        }
    }

    pub(crate) fn of<T>(judged: &Result<T, Fault>) -> Self {
        match judged {
            Ok(_) => Self::Passed,
            // Whether it is right nobody can say without the certificate.
            Err(Fault::Absent | Fault::Unreachable) => Self::Unsigned,
            Err(_) => Self::Failed,
        }
    }
}

/// Compares an INVITE with its Identity header field, at `now` in seconds since 1970.
///
/// # Errors
/// What is wrong with it. Of several header fields one that is right is enough; extensions that we don't
/// know are passed over (RFC 8224 §6.2 step 1).
pub(crate) fn examine(
    numbers: &NumberPolicy,
    request: &Message<'_>,
    now: u64,
) -> Result<Claim, Fault> {
    let call = call_of(numbers, request);
    let date = request.header(HeaderName::Date).and_then(date::parse);
    let values = request
        .fields()
        .iter()
        .filter(|field| field.spelling.eq_ignore_ascii_case(IDENTITY))
        .map(|field| field.value);
    let mut worst = Fault::Absent;
    for value in values.take(MOST_IDENTITIES) {
        let identity = Identity::parse(value);
        if identity.is_ok_and(|identity| !identity.is_known()) {
            continue;
        }
        let call = call.as_ref().ok_or(Fault::OtherCall);
        let claim = identity.and_then(|identity| identity.examine(call?, now, date));
        match claim {
            Ok(claim) => return Ok(claim),
            Err(fault) => worst = fault,
        }
    }
    Err(worst)
}

/// Vouches for a call.
///
/// # Source
/// RFC 8224 §6.1: Date and Identity.
pub(crate) fn put_signature(writer: &mut Writer<'_>, signer: &Signer, call: &stir::Call, now: u64) {
    writer.text(HeaderName::Date, &date::encode(now));
    writer.other_header(IDENTITY, format_args!("{}", signer.sign(call, now)));
}

/// The numbers of an INVITE from a trunk; none if it is not from a number to a number.
///
/// # Source
/// RFC 8224 §4.1, ATIS-1000074: who calls is in P-Asserted-Identity, or else in From.
fn call_of(numbers: &NumberPolicy, request: &Message<'_>) -> Option<stir::Call> {
    let canonical = |uri: &Uri<'_>| {
        let number = numbers.from_trunk(&uri.user_name());
        number::canonical(number.split(';').next()?)
    };
    let asserted = request
        .values(HeaderName::PAssertedIdentity)
        .filter_map(|value| NameAddr::parse(value).ok()?.parse_uri().ok())
        .find_map(|uri| canonical(&uri));
    let from = || canonical(&request.from().ok()?.parse_uri().ok()?);
    Some(stir::Call {
        orig: asserted.or_else(from)?,
        dest: canonical(&request.to().ok()?.parse_uri().ok()?)?,
    })
}

/// Calls that wait for a certificate.
#[derive(Debug, Default)]
pub(crate) struct Notary {
    /// By question: the call, and until when it waits.
    asked: BTreeMap<Token, (Token, Instant)>,
}

impl Notary {
    /// Asks for the certificate at `url`, for `call`. `false`: too many wait.
    pub(crate) fn ask(
        &mut self,
        now: Instant,
        mint: &mut Mint,
        ask: &mut Vec<Ask>,
        url: &str,
        call: Token,
    ) -> bool {
        if self.asked.len() >= MOST_ASKED {
            return false;
        }
        let id = mint.token();
        let question = Question::Certificate(url.into());
        ask.push(Ask { id, question });
        self.asked.insert(id, (call, now + PATIENCE));
        true
    }

    /// The call that an answer is for.
    pub(crate) fn answered(&mut self, id: &Token) -> Option<Token> {
        self.asked.remove(id).map(|(call, _)| call)
    }

    /// Takes the calls that have waited long enough.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Token> {
        let mut late = Vec::new();
        self.asked.retain(|_, (call, until)| {
            let due = *until <= now;
            if due {
                late.push(*call);
            }
            !due
        });
        late
    }

    /// When to call [`expire`](Self::expire).
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.asked.values().map(|(_, until)| *until).min()
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.asked.len()
    }
}

const IDENTITY: &str = "Identity";

/// Most Identity header fields of one request that are looked at.
const MOST_IDENTITIES: usize = 4;

/// Most calls of a slot that wait for certificates; further ones count as if theirs could not be had.
const MOST_ASKED: usize = 256;

/// How long a call waits for a certificate: longer than a resolver that does its work.
const PATIENCE: Duration = Duration::from_secs(5);
