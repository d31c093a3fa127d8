//! Calls that end at us: the other side is our own.

use super::endpoint::{Endpoint, Ours, Refusal};
use super::keys::Random;
use super::negotiate::Said;
use super::plan::Security;
use super::policy::{Policy, Terms};
use crate::Anchor;
use crate::local::{self, Agreed, Local};
use crate::media::Direction;
use crate::payload::Codec;
use crate::session::Sdp;

impl Endpoint {
    /// Finds what we can do for a party of which this is the offer or answer: the first stream of
    /// sound that is not refused and has a codec of `supported`.
    ///
    /// # Source
    /// RFC 3264 §6.1
    #[must_use]
    pub fn agree(&self, party: &Sdp<'_>, supported: &[Codec]) -> Option<Agreed> {
        let usable = |index| {
            let agreed = self.agreed(index);
            agreed.is_some_and(|agreed| agreed.security != Security::EndToEnd)
        };
        local::agree_where(party, supported, usable)
    }

    /// Appends our answer to the party's offer: the agreed stream is taken, all others are refused.
    ///
    /// # Errors
    /// The stream is not one that the side may have.
    ///
    /// # Source
    /// RFC 3264 §6
    pub fn serve(
        &mut self,
        offer: &Sdp<'_>,
        agreed: &Agreed,
        ours: &Ours<'_>,
        terms: &Terms<'_>,
        out: &mut String,
    ) -> Result<(), Refusal> {
        let Some(rtp) = ours.at(agreed.stream) else {
            return Err(Refusal::Codecs);
        };
        let local = Local {
            origin: ours.origin,
            rtp,
        };
        let mut text = String::with_capacity(512);
        local::answer(offer, agreed, &local, &mut text);
        let answer = Sdp::parse(&text).map_err(|_| Refusal::Codecs)?;
        let mut own = Self::plain(offer.media_count());
        self.answer(offer, &answer, &mut own, ours, terms, out)
    }

    /// Appends an offer of one stream of sound that we make on our own, to a party that asked for one
    /// or is being fetched.
    ///
    /// # Errors
    /// The side must be protected, and we have no keys.
    ///
    /// # Source
    /// RFC 3264 §5
    pub fn invite(
        &mut self,
        codecs: &[Codec],
        ours: &Ours<'_>,
        terms: &Terms<'_>,
        random: &mut dyn Random,
        out: &mut String,
    ) -> Result<(), Refusal> {
        let Some(Anchor::At(rtp)) = ours.media.first().copied() else {
            return Err(Refusal::Codecs);
        };
        let local = Local {
            origin: ours.origin,
            rtp,
        };
        let mut text = String::with_capacity(512);
        local::offer(codecs, Direction::SendRecv, &local, &mut text);
        let sdp = Sdp::parse(&text).map_err(|_| Refusal::Codecs)?;
        let said = Said {
            sdp: &sdp,
            by: &Self::plain(1),
            policy: &Policy::default(),
        };
        self.offer(&said, "", ours, terms, random, out)
    }
}
