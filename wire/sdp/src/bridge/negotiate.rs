//! What one side said becomes what the other side is told.

use std::fmt::Write as _;

use super::dtls::Setup;
use super::endpoint::{Agreed, Endpoint, Offer, Ours, Refusal, bundle_group};
use super::formats::{self, Bound, Chosen, Paired};
use super::ice::Credentials;
use super::keys::{Crypto, Key, Random};
use super::plan::{Sdes, Security};
use super::policy::{Encryption, Policy, Terms};
use super::profile::Profile;
use super::write::{Edit, Letter, Section};
use crate::Anchor;
use crate::media::Media;
use crate::session::Sdp;

/// What one side has said.
#[derive(Clone, Copy, Debug)]
pub struct Said<'s, 'a> {
    /// Its offer, or any later description of it that is to be offered to somebody.
    pub sdp: &'s Sdp<'a>,
    /// The side.
    pub by: &'s Endpoint,
    /// Its policy.
    pub policy: &'s Policy,
}

impl Endpoint {
    /// Appends the offer to this side that says what the other side has said. `heard` is the last
    /// description of this side's party; empty before it has given one.
    ///
    /// # Errors
    /// No stream is left that this side may have.
    ///
    /// # Source
    /// RFC 3264 §5, §8; RFC 4568 §7.1.1, §7.1.4; RFC 5763 §5; RFC 9143 §7.2
    pub fn offer(
        &mut self,
        said: &Said<'_, '_>,
        heard: &str,
        ours: &Ours<'_>,
        terms: &Terms<'_>,
        random: &mut dyn Random,
        out: &mut String,
    ) -> Result<(), Refusal> {
        self.open = false;
        self.reach(said.sdp.media_count());
        let mut refusal = None;
        let mut live = false;
        for (index, media) in said.sdp.media().enumerate() {
            let offer = self.plan_offer(index, &media, said, ours, terms, random);
            live |= matches!(offer, Ok(Some(_)));
            self.lines[index].offer = offer.unwrap_or_else(|why| {
                refusal.get_or_insert(why);
                None
            });
        }
        self.begin_ice(terms, random);
        let bundle = self.offered_bundle(said.sdp);
        let named = Sdp::parse(heard).ok();
        let heard = named.as_ref().filter(|_| self.touches(said, terms));
        let chosen = self.choose_all(said, terms, heard);
        if chosen.iter().any(Option::is_none) {
            refusal.get_or_insert(Refusal::Codecs);
        }
        live &= self.lines.iter().any(|line| line.offer.is_some());
        if let Some(refusal) = refusal.filter(|_| !live) {
            return Err(refusal);
        }
        let sections: Vec<_> = (said.sdp.media().zip(chosen).enumerate())
            .map(|(index, (media, chosen))| match chosen {
                Some(chosen) => {
                    // RFC 8829 §5.2.2: a section that has had a name keeps it.
                    let own = named.as_ref().and_then(|named| named.media_at(index));
                    let mid = own.and_then(|media| media.attribute("mid").map(Into::into));
                    self.offered_section(index, &media, chosen, (&bundle, mid), ours, terms)
                }
                None => Section::Refused,
            })
            .collect();
        Letter {
            source: said.sdp,
            answered: None,
            policy: terms.policy,
            sources: terms.policy.sources,
            ours,
            sections: &sections,
            bundle: &bundle.group,
            ice: self.ice.as_ref().map(|checks| checks.mode),
        }
        .encode(out);
        Ok(())
    }

    /// Appends our answer to this side's `offer`, from the answer that the other side gave.
    ///
    /// # Errors
    /// No stream has a codec that suits both sides.
    ///
    /// # Source
    /// RFC 3264 §6, RFC 4568 §7.1.2, RFC 5763 §5, RFC 9143 §7.3
    pub fn answer(
        &mut self,
        offer: &Sdp<'_>,
        answer: &Sdp<'_>,
        by: &mut Endpoint,
        ours: &Ours<'_>,
        terms: &Terms<'_>,
        out: &mut String,
    ) -> Result<(), Refusal> {
        self.reach(offer.media_count());
        let pairs = self.pair(offer, answer, by, ours, terms)?;
        self.close();
        let bundle = self.answered_group(offer, &pairs, terms);
        let mut chosen = Vec::with_capacity(pairs.len());
        for (index, pair) in pairs.into_iter().enumerate() {
            chosen.push(self.settle(index, pair, by));
        }
        let sections: Vec<_> = offer
            .media()
            .zip(chosen)
            .enumerate()
            .map(|(index, (offered, chosen))| {
                let answered = chosen.zip(answer.media_at(index));
                let Some((chosen, answered)) = answered else {
                    return Section::Refused;
                };
                self.answered_section(index, (&offered, &answered), chosen, ours, terms)
            })
            .collect();
        Letter {
            source: answer,
            answered: Some(offer),
            policy: terms.policy,
            // A browser takes the sources that a phone names for all that there are, and we have others.
            sources: terms.policy.sources && self.ice.is_some() == by.ice.is_some(),
            ours,
            sections: &sections,
            bundle: &bundle,
            ice: self.ice.as_ref().map(|checks| checks.mode),
        }
        .encode(out);
        Ok(())
    }

    /// What we offer of a stream. None: it is refused, or passes as it is.
    fn plan_offer(
        &mut self,
        index: usize,
        media: &Media<'_, '_>,
        said: &Said<'_, '_>,
        ours: &Ours<'_>,
        terms: &Terms<'_>,
        random: &mut dyn Random,
    ) -> Result<Option<Offer>, Refusal> {
        let Some(theirs) = said
            .by
            .agreed(index)
            .filter(|_| ours.anchor(index) != Anchor::Refuse)
        else {
            return Ok(None);
        };
        let policy = terms.policy;
        let Some(source) = Profile::parse(media.proto()) else {
            return Ok(Some(Offer::default().end_to_end()));
        };
        if theirs.security == Security::EndToEnd {
            if policy.encryption == Encryption::Forbidden {
                return Err(Refusal::Protected);
            }
            let offer = Offer {
                must: source.secure,
                mux: policy.mux.offers(media.mux()),
                ..Offer::default()
            };
            return Ok(Some(offer.end_to_end()));
        }
        let protected = theirs.security.is_keyed();
        let mut offer = self.secure(index, source, protected, terms, random)?;
        offer.mux = policy.mux.offers(media.mux());
        let has_ice = theirs.ice || media.inherited("ice-ufrag").is_some();
        offer.ice = terms.ice.is_some() && policy.ice.offers(has_ice);
        offer.bundle = policy.bundle.offers(theirs.bundled.is_some());
        Ok(Some(offer))
    }

    /// The transport and the keys of an offer: what is in force stays, whatever else would be wished.
    fn secure(
        &mut self,
        index: usize,
        source: Profile,
        protected: bool,
        terms: &Terms<'_>,
        random: &mut dyn Random,
    ) -> Result<Offer, Refusal> {
        let policy = terms.policy;
        let line = &mut self.lines[index];
        let mut offer = Offer::default();
        match line.now.as_ref().map(|agreed| &agreed.security) {
            Some(Security::Sdes(sdes)) => {
                offer.must = line.profile.secure;
                offer.crypto.push(sdes.ours());
                return Ok(offer);
            }
            Some(Security::Dtls { .. }) => {
                offer.must = line.profile.secure;
                offer.dtls = true;
                return Ok(offer);
            }
            Some(Security::Plain) if policy.encryption != Encryption::Required => {
                return Ok(offer);
            }
            _ => {}
        }
        let wanted = match policy.encryption {
            Encryption::Forbidden => false,
            Encryption::Follow => protected,
            Encryption::Optional | Encryption::Required => true,
        };
        let must = policy.encryption == Encryption::Required;
        let sdes = wanted && policy.keying.has_sdes() && !policy.suites.is_empty();
        if sdes {
            offer.crypto = line.keys(policy, random);
        } else if must {
            terms
                .fingerprint
                .filter(|_| policy.keying.has_dtls())
                .ok_or(Refusal::Keys)?;
            offer.dtls = true;
        }
        offer.must = must;
        line.profile = Profile {
            secure: must,
            dtls: offer.dtls,
            // Who has it beside a handshake is a browser or its like; a phone without one may not know it.
            feedback: policy
                .feedback
                .offers(source.feedback && source.dtls == offer.dtls),
        };
        Ok(offer)
    }

    /// Credentials for offers, if there are none yet.
    fn begin_ice(&mut self, terms: &Terms<'_>, random: &mut dyn Random) {
        let offered = |line: &super::endpoint::Line| line.offer.as_ref().is_some_and(|o| o.ice);
        if let Some(mode) = terms.ice
            && self.ice.is_none()
            && self.lines.iter().any(offered)
        {
            self.ice = Some(super::endpoint::Checks {
                mode,
                controlling: true,
                local: Credentials::generate(random),
                remote: None,
            });
        }
    }

    /// Whether codecs may have to change, so that the party's payload numbers matter.
    fn touches(&self, said: &Said<'_, '_>, terms: &Terms<'_>) -> bool {
        let any = said.policy.codecs.is_empty() && terms.policy.codecs.is_empty();
        !any || !terms.policy.transcode.is_empty()
    }

    /// The formats of all streams. One that is left with none is not offered.
    fn choose_all(
        &mut self,
        said: &Said<'_, '_>,
        terms: &Terms<'_>,
        heard: Option<&Sdp<'_>>,
    ) -> Vec<Option<Chosen>> {
        let media = said.sdp.media().enumerate();
        media
            .map(|(index, media)| {
                let heard = heard.and_then(|heard| heard.media_at(index));
                let chosen = self.choose(index, &media, said.policy, terms, heard);
                if chosen.is_none() {
                    self.lines[index].offer = None;
                }
                chosen
            })
            .collect()
    }

    /// The formats of an offered stream.
    fn choose(
        &mut self,
        index: usize,
        media: &Media<'_, '_>,
        from: &Policy,
        terms: &Terms<'_>,
        heard: Option<Media<'_, '_>>,
    ) -> Option<Chosen> {
        let line = &mut self.lines[index];
        if line.offer.as_ref().is_none_or(|offer| offer.end_to_end) {
            return Some(Chosen::AsIs);
        }
        let bound = Bound {
            heard,
            offered: &line.formats,
        };
        let chosen = formats::offered(media, from, terms.policy, bound)?;
        match &chosen {
            Chosen::These(choices) => line.formats.clone_from(choices),
            Chosen::AsIs => line.formats.clear(),
        }
        Some(chosen)
    }

    fn offered_section<'e>(
        &'e self,
        index: usize,
        media: &Media<'_, 'e>,
        chosen: Chosen,
        (bundle, mid): (&Bundle, Option<Box<str>>),
        ours: &Ours<'_>,
        terms: &Terms<'e>,
    ) -> Section<'e> {
        let line = &self.lines[index];
        // RFC 9143 §7.4.1: what goes over another stream's port goes on doing so.
        let now = line.now.as_ref().and_then(|now| now.bundled);
        let now = now.filter(|_| line.offer.as_ref().is_some_and(|offer| offer.bundle));
        let anchor = ours.anchor(now.unwrap_or(index));
        let (Some(at), Some(offer)) = (anchor.address(), &line.offer) else {
            return match anchor {
                Anchor::Keep => Section::Kept,
                _ => Section::Refused,
            };
        };
        let proto = match offer.end_to_end {
            true => media.proto(),
            false => line.profile.as_str(),
        };
        let held = media.is_held_by_address();
        Section::Edited(Box::new(Edit {
            kind: media.kind(),
            at,
            shared: anchor.is_shared(),
            proto,
            foreign: offer.end_to_end,
            chosen,
            crypto: offer.crypto.clone(),
            dtls: terms
                .fingerprint
                .filter(|_| offer.dtls)
                .map(|print| (print, Setup::ActPass)),
            mux: offer.mux,
            ice: self
                .ice
                .as_ref()
                .filter(|_| offer.ice)
                .map(|checks| &checks.local),
            mid: bundle.mids.get(index).cloned().flatten().or(mid),
            feedback: line.profile.feedback || terms.policy.feedback.accepts(),
            direction: held.then(|| media.direction()),
        }))
    }

    /// Our own BUNDLE group: all streams that may be in it, under the party's mids or our own.
    fn offered_bundle(&self, source: &Sdp<'_>) -> Bundle {
        let mut bundle = Bundle::default();
        let offered = |line: &super::endpoint::Line| line.offer.as_ref().is_some_and(|o| o.bundle);
        if !self.lines.iter().any(offered) {
            return bundle;
        }
        let named = source.media().all(|media| media.attribute("mid").is_some());
        for (index, (media, line)) in source.media().zip(&self.lines).enumerate() {
            let mid = match media.attribute("mid").filter(|_| named) {
                Some(mid) => mid.to_owned(),
                None => index.to_string(),
            };
            if offered(line) {
                let _ = write!(bundle.group, " {mid}");
            }
            bundle.mids.push(Some(mid.into()));
        }
        bundle
    }

    /// Brings each answered stream together with its offer. None: the stream is refused.
    fn pair(
        &self,
        offer: &Sdp<'_>,
        answer: &Sdp<'_>,
        by: &Endpoint,
        ours: &Ours<'_>,
        terms: &Terms<'_>,
    ) -> Result<Vec<Option<Paired>>, Refusal> {
        let mut unpaired = false;
        let pairs: Vec<_> = offer
            .media()
            .enumerate()
            .map(|(index, offered)| {
                let same = |media: &Media<'_, '_>| {
                    media.kind().eq_ignore_ascii_case(offered.kind()) && media.port() != 0
                };
                let answered = answer.media_at(index).filter(same)?;
                let readable = |agreed: &Agreed| agreed.security != Security::EndToEnd;
                let ours_is = readable(self.agreed(index)?);
                let theirs = by.agreed(index);
                let theirs = theirs.filter(|_| ours.anchor(index) != Anchor::Refuse)?;
                let how = (terms.policy, ours_is && readable(theirs));
                let line = &by.lines[index];
                let pair = formats::pair(&offered, &answered, &line.formats, how);
                unpaired |= pair.is_none();
                pair
            })
            .collect();
        if unpaired && pairs.iter().all(Option::is_none) {
            return Err(Refusal::Codecs);
        }
        Ok(pairs)
    }

    /// Takes what a stream came to on both sides.
    fn settle(&mut self, index: usize, pair: Option<Paired>, by: &mut Endpoint) -> Option<Chosen> {
        let ours = &mut self.lines[index];
        let theirs = by.lines.get_mut(index);
        let Some(pair) = pair else {
            ours.now = None;
            if let Some(theirs) = theirs {
                theirs.now = None;
            }
            return None;
        };
        ours.payloads = pair.offerer;
        if let Some(theirs) = theirs {
            theirs.payloads = pair.answerer;
        }
        Some(pair.chosen)
    }

    fn answered_section<'e>(
        &'e self,
        index: usize,
        (offered, answered): (&Media<'_, 'e>, &Media<'_, '_>),
        chosen: Chosen,
        ours: &Ours<'_>,
        terms: &Terms<'e>,
    ) -> Section<'e> {
        let Some(agreed) = &self.lines[index].now else {
            return Section::Refused;
        };
        let anchor = ours.anchor(agreed.bundled.unwrap_or(index));
        let at = match anchor {
            Anchor::At(at) | Anchor::Shared(at) => at,
            Anchor::Keep => return Section::Kept,
            Anchor::Refuse => return Section::Refused,
        };
        let (crypto, dtls) = match &agreed.security {
            Security::Plain | Security::EndToEnd => (Vec::new(), None),
            Security::Sdes(sdes) => (vec![sdes.ours()], None),
            Security::Dtls { setup, .. } => {
                (Vec::new(), terms.fingerprint.map(|print| (print, *setup)))
            }
        };
        let said = answered.direction();
        let direction = said.within(offered.direction().mirrored());
        let changed = direction != said || answered.is_held_by_address();
        Section::Edited(Box::new(Edit {
            kind: offered.kind(),
            at,
            shared: anchor.is_shared(),
            proto: offered.proto(),
            foreign: agreed.security == Security::EndToEnd,
            chosen,
            crypto,
            dtls,
            mux: agreed.mux,
            ice: self
                .ice
                .as_ref()
                .filter(|_| agreed.ice)
                .map(|checks| &checks.local),
            mid: offered.attribute("mid").map(Into::into),
            feedback: terms.policy.feedback.accepts(),
            direction: changed.then_some(direction),
        }))
    }

    /// The members of our answering BUNDLE group; the streams in it share the first one's port.
    fn answered_group(
        &mut self,
        offer: &Sdp<'_>,
        pairs: &[Option<Paired>],
        terms: &Terms<'_>,
    ) -> String {
        let mut group = String::new();
        let Some(offered) = bundle_group(offer).filter(|_| terms.policy.bundle.accepts()) else {
            return group;
        };
        let mut tagged = None;
        for mid in offered.split_ascii_whitespace() {
            let mut media = offer.media();
            let index = media.position(|media| media.attribute("mid") == Some(mid));
            let Some(index) = index.filter(|&i| pairs.get(i).is_some_and(Option::is_some)) else {
                continue;
            };
            let Some(agreed) = &mut self.lines[index].now else {
                continue;
            };
            agreed.bundled = tagged.filter(|&tagged| tagged != index);
            tagged.get_or_insert(index);
            let _ = write!(group, " {mid}");
        }
        group
    }
}

/// A BUNDLE group of ours.
#[derive(Default)]
struct Bundle {
    /// Its members, a blank before each.
    group: String,
    /// The mid of each section.
    mids: Vec<Option<Box<str>>>,
}

impl Offer {
    /// What the parties say passes from one to the other.
    fn end_to_end(self) -> Self {
        Self {
            end_to_end: true,
            ..self
        }
    }
}

impl Sdes {
    /// Our line.
    pub(super) fn ours(&self) -> Crypto {
        Crypto {
            tag: self.tag,
            suite: self.suite,
            key: self.local.clone(),
        }
    }
}

impl super::endpoint::Line {
    /// Keys for an offer; what was offered once is offered again.
    fn keys(&self, policy: &Policy, random: &mut dyn Random) -> Vec<Crypto> {
        let before = self.offer.as_ref().map(|offer| &offer.crypto);
        let same = |crypto: &&Vec<Crypto>| {
            let suites = crypto.iter().map(|crypto| crypto.suite);
            suites.eq(policy.suites.iter().copied())
        };
        if let Some(before) = before.filter(same) {
            return before.clone();
        }
        let keys = policy.suites.iter().zip(1..);
        keys.map(|(&suite, tag)| Crypto {
            tag,
            suite,
            key: Key::generate(suite, random),
        })
        .collect()
    }
}
