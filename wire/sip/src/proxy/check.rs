//! Whether a request may be forwarded (RFC 3261 §16.3, RFC 5393).

use crate::header::HeaderName;
use crate::transaction::minted_part;
use crate::{Message, ParseError, StatusCode, Transactions, Via, Writer};

/// Why a request is not forwarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// Its Max-Forwards is no number.
    Malformed(ParseError),
    /// It has come too far: Max-Forwards is 0.
    TooManyHops,
    /// It has been here before, and nothing has changed since.
    Loop,
    /// It may not be forwarded to anybody: Max-Breadth is 0.
    TooBroad,
    /// It demands of proxies what this one does not do.
    Extension,
}

impl Refusal {
    /// How the request is answered.
    ///
    /// # Source
    /// RFC 3261 §16.3, RFC 5393 §5.3.3.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Malformed(fault) => fault.status(),
            Self::TooManyHops => StatusCode(483),
            Self::Loop => StatusCode(482),
            Self::TooBroad => StatusCode(440),
            Self::Extension => StatusCode(420),
        }
    }

    /// Adds what the answer must tell: in Unsupported which extensions are missing (RFC 3261 §16.3
    /// step 5). `supported` is what [`check`] was told.
    pub fn explain(self, request: &Message<'_>, supported: &[&str], writer: &mut Writer<'_>) {
        if self == Self::Extension {
            let missing = request.values(HeaderName::ProxyRequire);
            for token in missing.filter(|token| !is_supported(token, supported)) {
                writer.text(HeaderName::Unsupported, token);
            }
        }
    }
}

/// Whether a request may be forwarded for which [`Message::check`] holds: one with a fault is answered
/// with [`ParseError::status`] before anybody thinks of forwarding it (§16.3 steps 1 and 2). `supported` are the
/// option tags that a Proxy-Require may name.
///
/// # Errors
/// Why not.
///
/// # Source
/// RFC 3261 §16.3, RFC 5393 §4.2 and §5.3.
pub fn check<C, S: Clone>(
    request: &Message<'_>,
    supported: &[&str],
    transactions: &Transactions<C, S>,
) -> Result<(), Refusal> {
    match request.number(HeaderName::MaxForwards) {
        Ok(Some(0)) => return Err(Refusal::TooManyHops),
        Ok(_) => {}
        Err(fault) => return Err(Refusal::Malformed(fault)),
    }
    if is_looping(request, transactions) {
        return Err(Refusal::Loop);
    }
    if breadth(request) == 0 {
        return Err(Refusal::TooBroad);
    }
    let mut demanded = request.values(HeaderName::ProxyRequire);
    if demanded.any(|token| !is_supported(token, supported)) {
        return Err(Refusal::Extension);
    }
    Ok(())
}

fn is_supported(token: &str, supported: &[&str]) -> bool {
    supported
        .iter()
        .any(|known| known.eq_ignore_ascii_case(token))
}

/// A request that comes back with nothing changed would go the same way again; one whose target has
/// changed since is a spiral, which is legal. A mark is ours if we make the same one, since the hash is
/// keyed.
fn is_looping<C, S: Clone>(request: &Message<'_>, transactions: &Transactions<C, S>) -> bool {
    let mut marks = request
        .values(HeaderName::Via)
        .filter_map(mark_in)
        .peekable();
    if marks.peek().is_none() {
        return false;
    }
    let ours = loop_mark(request, transactions);
    marks.any(|mark| mark == ours)
}

/// The mark in a Via that we, or one like us, have made.
fn mark_in(via: &str) -> Option<u64> {
    let branch = Via::parse(via).ok()?.branch_token()?;
    minted_part(branch)?;
    let (_, mark) = branch.split_once('.')?;
    u64::from_str_radix(mark, 16).ok()
}

/// What stands in our branch behind the token: a hash of all that routing depends on. Via is not in it,
/// or no loop would ever be found (RFC 5393 §4.2.2).
pub(super) fn loop_mark<C, S: Clone>(
    request: &Message<'_>,
    transactions: &Transactions<C, S>,
) -> u64 {
    use HeaderName as N;
    let (from, to) = (request.from().ok(), request.to().ok());
    let cseq = request.header(N::CSeq).unwrap_or("");
    let number = cseq.split_ascii_whitespace().next().unwrap_or("");
    let fixed = [
        request.request_uri(),
        from.and_then(|from| from.tag()).unwrap_or(""),
        to.and_then(|to| to.tag()).unwrap_or(""),
        request.call_id(),
        number,
    ];
    let lists = [N::Route, N::ProxyRequire, N::ProxyAuthorization];
    let listed = lists.into_iter().flat_map(|name| request.values(name));
    transactions.mark(fixed.into_iter().chain(listed))
}

/// Over how many branches the request may still spread (RFC 5393 §5.3).
pub(super) fn breadth(request: &Message<'_>) -> u32 {
    let given = request.other_header(MAX_BREADTH);
    given
        .and_then(|value| value.trim_ascii().parse().ok())
        .unwrap_or(DEFAULT_BREADTH)
}

/// Header field of RFC 5393 §5.
pub(super) const MAX_BREADTH: &str = "Max-Breadth";

/// Where a request has no Max-Breadth (RFC 5393 §5.3.1).
const DEFAULT_BREADTH: u32 = 60;
