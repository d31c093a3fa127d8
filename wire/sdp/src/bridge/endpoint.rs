//! One side: what it has said, what we have said to it, and what came of it.

use std::net::SocketAddr;

use super::dtls::{Fingerprint, Setup};
use super::formats::{Choice, Payload};
use super::ice::{Credentials, Ice, Mode};
use super::keys::{Crypto, Key, Random, Suite};
use super::plan::{NOWHERE, Plan, Sdes, Security};
use super::policy::{Encryption, Terms};
use super::profile::Profile;
use crate::levels::Levels;
use crate::media::Media;
use crate::session::{Line as Text, Sdp, attributes};

/// One side of us, towards one party; lives as long as the dialog with it.
///
/// It remembers keys, roles and payload types, so that they stay when an offer is made again; the
/// descriptions themselves are its owner's to keep.
#[derive(Clone, Debug, Default)]
pub struct Endpoint {
    pub(super) lines: Vec<Line>,
    /// An offer of the party waits for our answer: what would be agreed is in `next`.
    pub(super) open: bool,
    pub(super) ice: Option<Checks>,
    pub(super) next_ice: Option<Checks>,
    /// We show the second one of our certificates.
    second: bool,
}

/// A stream of a side. There are at most [`Sdp::MAX_MEDIA`].
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    /// The transport that the last offer of either of us had.
    pub(super) profile: Profile,
    /// In force; none: the stream is refused.
    pub(super) now: Option<Agreed>,
    /// In force once the party's offer is answered.
    pub(super) next: Option<Agreed>,
    /// What we have offered.
    pub(super) offer: Option<Offer>,
    /// Payload types that we have offered, if they are not the other side's own.
    pub(super) formats: Vec<Choice>,
    /// Payload types in force, if they are not the other side's own.
    pub(super) payloads: Vec<Payload>,
}

/// What both of us want of a stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Agreed {
    pub(super) security: Security,
    pub(super) mux: bool,
    pub(super) ice: bool,
    pub(super) bundled: Option<usize>,
    /// Of a call that ends at us.
    pub(super) levels: Levels,
}

/// What we have offered of a stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Offer {
    pub(super) crypto: Vec<Crypto>,
    pub(super) dtls: bool,
    /// An answer without keys is none.
    pub(super) must: bool,
    pub(super) mux: bool,
    pub(super) ice: bool,
    pub(super) bundle: bool,
    pub(super) end_to_end: bool,
    /// Of a call that ends at us.
    pub(super) levels: Levels,
}

/// The credentials of connectivity checks.
#[derive(Clone, Debug)]
pub(super) struct Checks {
    /// What we have told the party: it holds as long as the credentials do.
    pub(super) mode: Mode,
    /// We have made the offer with which they began.
    pub(super) controlling: bool,
    pub(super) local: Credentials,
    /// The party's user name fragment: another one is a restart.
    pub(super) remote: Option<Box<str>>,
}

/// Why an offer or answer is refused: 488 says so to whoever made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The party insists on protected media, which its side must not have.
    #[error("media are protected, and must not be")]
    Protected,
    /// The party's media are not protected, and have to be.
    #[error("media are not protected")]
    Unprotected,
    /// The keys are none that we can use.
    #[error("no usable keys")]
    Keys,
    /// The sides have no codec in common, nor one that can be converted.
    #[error("no codec in common")]
    Codecs,
}

impl Endpoint {
    /// A side of our own making: a party that takes everything, without encryption.
    #[must_use]
    pub fn plain(streams: usize) -> Self {
        let line = Line {
            now: Some(Agreed::default()),
            ..Line::default()
        };
        Self {
            lines: vec![line; streams.min(Sdp::MAX_MEDIA)],
            ..Self::default()
        }
    }

    /// Takes an offer of the party. Nothing changes until it is answered.
    ///
    /// # Errors
    /// None of its streams is one that the side may have.
    ///
    /// # Source
    /// RFC 3264 §6, RFC 4568 §7.1.2, RFC 5763 §5, RFC 8839 §4.2.1, RFC 5761 §5.1.1
    pub fn hear_offer(
        &mut self,
        offer: &Sdp<'_>,
        terms: &Terms<'_>,
        random: &mut dyn Random,
    ) -> Result<(), Refusal> {
        self.reach(offer.media_count());
        self.open = true;
        self.next_ice = self.hear_ice(offer, terms, random);
        let (mut live, mut refusal) = (false, None);
        for (index, media) in offer.media().enumerate() {
            let ice = self.next_ice.is_some();
            let line = &mut self.lines[index];
            line.next = match line.take(&media, offer, terms, random) {
                Ok(next) => next.map(|next| Agreed {
                    ice: ice && has_ice(&media),
                    ..next
                }),
                Err(why) => {
                    refusal.get_or_insert(why);
                    None
                }
            };
            live |= line.next.is_some();
        }
        match refusal.filter(|_| !live) {
            Some(refusal) => Err(refusal),
            None => Ok(()),
        }
    }

    /// Takes the party's answer to our offer.
    ///
    /// # Errors
    /// A stream's keys are missing or unusable.
    ///
    /// # Source
    /// RFC 4568 §7.1.3, RFC 5763 §5, RFC 8839 §4.2.2, RFC 9143 §7.3
    pub fn hear_answer(&mut self, answer: &Sdp<'_>) -> Result<(), Refusal> {
        self.open = false;
        let bundle = self.answered_bundle(answer);
        for index in 0..self.lines.len() {
            let media = answer.media_at(index).filter(|media| media.port() != 0);
            let line = &mut self.lines[index];
            let Some((media, offer)) = media.zip(line.offer.as_ref()) else {
                line.now = None;
                continue;
            };
            let bundled = bundle
                .filter(|(tagged, members)| {
                    *tagged != index && offer.bundle && members & 1 << index != 0
                })
                .map(|(tagged, _)| tagged);
            // RFC 9143 §7.3.2: the tagged section speaks for the transport of all.
            let tagged = bundled.and_then(|tagged| answer.media_at(tagged));
            let transport = tagged.as_ref().unwrap_or(&media);
            line.now = Some(Agreed {
                levels: offer.levels.kept_by(&media),
                security: line.answered(transport, offer)?,
                mux: offer.mux && transport.mux(),
                ice: offer.ice && has_ice(transport),
                bundled,
            });
            if let Some(checks) = self.ice.as_mut().filter(|_| offer.ice) {
                checks.remote = transport.inherited("ice-ufrag").map(Into::into);
            }
        }
        Ok(())
    }

    /// The last description that we gave the party is offered to it again, as when a session is
    /// refreshed: its answer is to be heard.
    pub fn offer_again(&mut self) {
        for line in &mut self.lines {
            let Some(now) = &line.now else { continue };
            let crypto = match &now.security {
                Security::Sdes(sdes) => vec![sdes.ours()],
                _ => Vec::new(),
            };
            line.offer = Some(Offer {
                must: line.profile.secure,
                dtls: matches!(now.security, Security::Dtls { .. }),
                end_to_end: now.security == Security::EndToEnd,
                crypto,
                mux: now.mux,
                ice: now.ice,
                bundle: now.bundled.is_some(),
                levels: now.levels,
            });
        }
    }

    /// By our next offer the party is led to other ports: connectivity checks begin afresh there.
    ///
    /// # Source
    /// RFC 8839 §4.4.1.1.1
    pub fn restart_checks(&mut self) {
        self.ice = None;
    }

    /// From our next description on we show the other one of our two certificates, so that the party takes part in
    /// another handshake.
    ///
    /// # Source
    /// RFC 8842 §4
    pub fn change_certificate(&mut self) {
        self.second = !self.second;
    }

    /// Whether we show the second one of our two certificates: [`Terms::fingerprint`] is to be its.
    #[must_use]
    pub const fn shows_second(&self) -> bool {
        self.second
    }

    /// What holds for a stream of which the party's last description is `heard`. None: it is
    /// refused, or nobody knows yet where it goes.
    #[must_use]
    pub fn plan<'a>(&'a self, index: usize, heard: &Sdp<'_>) -> Option<Plan<'a>> {
        let line = self.lines.get(index)?;
        let agreed = line.now.as_ref().or(line.next.as_ref())?;
        let media = heard.media_at(index)?;
        let checks = self.ice.as_ref().or(self.next_ice.as_ref());
        let checks = checks.filter(|_| agreed.ice);
        let ice = checks.and_then(|checks| Ice::new(checks, &media));
        let (rtp, rtcp) = match media.transport() {
            Some(there) if agreed.mux => (there.rtp, there.rtp),
            Some(there) => (there.rtp, there.rtcp),
            None if ice.is_some() || agreed.bundled.is_some() => (NOWHERE, NOWHERE),
            None => return None,
        };
        Some(Plan {
            rtp,
            rtcp,
            mux: agreed.mux,
            security: &agreed.security,
            ice,
            payloads: &line.payloads,
            direction: media.direction(),
            bundled: agreed.bundled,
            levels: agreed.levels,
            second: self.second,
        })
    }

    /// Has room for as many streams.
    pub(super) fn reach(&mut self, streams: usize) {
        if self.lines.len() < streams {
            self.lines.resize_with(streams, Line::default);
        }
    }

    /// What holds for a stream, or will once the party's offer is answered.
    pub(super) fn agreed(&self, index: usize) -> Option<&Agreed> {
        let line = self.lines.get(index)?;
        if self.open {
            line.next.as_ref()
        } else {
            line.now.as_ref()
        }
    }

    /// The party's offer is answered.
    pub(super) fn close(&mut self) {
        if std::mem::take(&mut self.open) {
            for line in &mut self.lines {
                line.now = line.next.take();
            }
            self.ice = self.next_ice.take();
        }
    }

    /// Our credentials in answer to an offer: new ones if the party begins ICE afresh.
    fn hear_ice(
        &self,
        offer: &Sdp<'_>,
        terms: &Terms<'_>,
        random: &mut dyn Random,
    ) -> Option<Checks> {
        let mode = terms.ice.filter(|_| terms.policy.ice.accepts())?;
        let mut live = offer.media().filter(|media| media.is_rtp());
        let remote: Box<str> = live.find_map(|m| m.inherited("ice-ufrag"))?.into();
        let known = self.ice.as_ref().or(self.next_ice.as_ref());
        let same = |checks: &&Checks| checks.remote.as_ref().is_none_or(|r| *r == remote);
        Some(match known.filter(same) {
            Some(checks) => Checks {
                remote: Some(remote),
                ..checks.clone()
            },
            None => Checks {
                mode,
                controlling: false,
                local: Credentials::generate(random),
                remote: Some(remote),
            },
        })
    }

    /// The tagged stream of the party's answering BUNDLE group, and its members as bits.
    fn answered_bundle(&self, answer: &Sdp<'_>) -> Option<(usize, u32)> {
        let offered = |line: &Line| line.offer.as_ref().is_some_and(|offer| offer.bundle);
        if !self.lines.iter().any(offered) {
            return None;
        }
        let mids = bundle_group(answer)?;
        let index_of = |mid: &str| {
            let mut media = answer.media();
            media.position(|media| media.port() != 0 && media.attribute("mid") == Some(mid))
        };
        let mut members = mids.split_ascii_whitespace().filter_map(index_of);
        let tagged = members.next()?;
        Some((
            tagged,
            members.fold(1 << tagged, |bits, index| bits | 1 << index),
        ))
    }
}

/// The members of a description's first BUNDLE group.
pub(super) fn bundle_group<'a>(sdp: &Sdp<'a>) -> Option<&'a str> {
    attributes(sdp.session_lines(), "group").find_map(|group| group.strip_prefix("BUNDLE"))
}

/// The section whose transport all of a BUNDLE group are to use.
fn tagged<'s, 'a>(sdp: &'s Sdp<'a>) -> Option<Media<'s, 'a>> {
    let mid = bundle_group(sdp)?.split_ascii_whitespace().next()?;
    sdp.media()
        .find(|media| media.attribute("mid") == Some(mid))
}

/// Whether the party does ICE.
fn has_ice(media: &Media<'_, '_>) -> bool {
    Credentials::read(media).is_some()
}

/// What the lines of a section say about keys.
#[derive(Default)]
struct Traits<'a> {
    crypto: bool,
    foreign: bool,
    fingerprint: Option<&'a str>,
    setup: Option<&'a str>,
    bundle_only: bool,
}

impl<'a> Traits<'a> {
    fn read(media: &Media<'_, 'a>) -> Self {
        let mut traits = Self::default();
        for (name, value) in media.lines().iter().filter_map(Text::attribute) {
            match name {
                "crypto" => traits.crypto = true,
                "key-mgmt" => traits.foreign = true,
                // Of several the first with a digest that we know.
                "fingerprint" if Fingerprint::parse(value).is_some() => {
                    traits.fingerprint.get_or_insert(value);
                }
                "setup" => traits.setup = Some(value),
                "bundle-only" => traits.bundle_only = true,
                _ => {}
            }
        }
        traits
    }

    /// Takes what the session says for all of its streams.
    fn inherit(&mut self, media: &Media<'_, 'a>) {
        self.fingerprint = self.fingerprint.or_else(|| media.inherited("fingerprint"));
        self.setup = self.setup.or_else(|| media.inherited("setup"));
        self.foreign |= media.inherited("key-mgmt").is_some();
    }
}

impl Line {
    /// What we make of an offered stream; none: its port is 0.
    fn take(
        &mut self,
        media: &Media<'_, '_>,
        offer: &Sdp<'_>,
        terms: &Terms<'_>,
        random: &mut dyn Random,
    ) -> Result<Option<Agreed>, Refusal> {
        let mut traits = Traits::read(media);
        let bundled =
            traits.bundle_only && terms.policy.bundle.accepts() && bundle_group(offer).is_some();
        if media.port() == 0 && !bundled {
            return Ok(None);
        }
        // RFC 9143 §7.2.1: the tagged section speaks for the transport of all.
        let tagged = tagged(offer).filter(|_| bundled);
        if let Some(tagged) = &tagged {
            let transport = Traits::read(tagged);
            traits.fingerprint = traits.fingerprint.or(transport.fingerprint);
            traits.setup = traits.setup.or(transport.setup);
        }
        let Some(profile) = Profile::parse(media.proto()) else {
            let security = Security::EndToEnd;
            return Ok(Some(Agreed {
                security,
                ..Agreed::default()
            }));
        };
        if profile.secure {
            traits.inherit(media);
        }
        let security = self.secured(media, profile, &traits, terms, random)?;
        self.profile = profile;
        Ok(Some(Agreed {
            security,
            mux: terms.policy.mux.accepts() && tagged.as_ref().unwrap_or(media).mux(),
            ..Agreed::default()
        }))
    }

    fn secured(
        &self,
        media: &Media<'_, '_>,
        profile: Profile,
        traits: &Traits<'_>,
        terms: &Terms<'_>,
        random: &mut dyn Random,
    ) -> Result<Security, Refusal> {
        let encryption = terms.policy.encryption;
        if encryption == Encryption::Forbidden {
            return if profile.secure {
                Err(Refusal::Protected)
            } else {
                Ok(Security::Plain)
            };
        }
        let mut sdes = || self.sdes(media, traits, terms, random);
        let keyed = if profile.dtls {
            self.dtls(traits, terms)
        } else {
            sdes().or_else(|| self.dtls(traits, terms))
        };
        let foreign = traits.crypto || traits.foreign || traits.fingerprint.is_some();
        match keyed {
            Some(keyed) => Ok(keyed),
            None if profile.secure && foreign => Ok(Security::EndToEnd),
            None if profile.secure => Err(Refusal::Keys),
            None if encryption == Encryption::Required => Err(Refusal::Unprotected),
            None => Ok(Security::Plain),
        }
    }

    /// The first offered line whose suite we may use; our own key stays as long as the suite does.
    fn sdes(
        &self,
        media: &Media<'_, '_>,
        traits: &Traits<'_>,
        terms: &Terms<'_>,
        random: &mut dyn Random,
    ) -> Option<Security> {
        if !traits.crypto || !terms.policy.keying.has_sdes() {
            return None;
        }
        let first = |suites: &[Suite]| {
            let mut lines = attributes(media.lines(), "crypto").filter_map(Crypto::parse);
            lines.find(|line| suites.contains(&line.suite))
        };
        let line = first(&terms.policy.prefers).or_else(|| first(&terms.policy.suites))?;
        let mut known = [&self.now, &self.next].into_iter().flatten();
        let known = known.find_map(|agreed| match &agreed.security {
            Security::Sdes(sdes) if sdes.suite == line.suite => Some(sdes.local.clone()),
            _ => None,
        });
        Some(Security::Sdes(Sdes {
            tag: line.tag,
            suite: line.suite,
            local: known.unwrap_or_else(|| Key::generate(line.suite, random)),
            remote: line.key,
        }))
    }

    fn dtls(&self, traits: &Traits<'_>, terms: &Terms<'_>) -> Option<Security> {
        terms.fingerprint?;
        let fingerprint = Fingerprint::parse(traits.fingerprint?)?;
        if !terms.policy.keying.has_dtls() {
            return None;
        }
        let now = match self.now.as_ref().map(|agreed| &agreed.security) {
            Some(Security::Dtls {
                fingerprint: f,
                setup,
            }) if *f == fingerprint => Some(*setup),
            _ => None,
        };
        let offered = traits
            .setup
            .and_then(Setup::parse)
            .unwrap_or(Setup::ActPass);
        let fresh = now.is_none() && offered == Setup::ActPass;
        Some(Security::Dtls {
            fingerprint,
            setup: match fresh && terms.policy.begins {
                true => Setup::Active,
                false => offered.answered(now),
            },
        })
    }

    /// How a stream is protected after the party has answered our offer.
    fn answered(&self, media: &Media<'_, '_>, offer: &Offer) -> Result<Security, Refusal> {
        let insists = Profile::parse(media.proto()).is_some_and(|profile| profile.secure);
        if offer.end_to_end {
            return match offer.must && !insists {
                true => Err(Refusal::Unprotected),
                false => Ok(Security::EndToEnd),
            };
        }
        let mut traits = Traits::read(media);
        if offer.dtls {
            traits.inherit(media);
        }
        if let Some(print) = traits.fingerprint.filter(|_| offer.dtls) {
            let fingerprint = Fingerprint::parse(print).ok_or(Refusal::Keys)?;
            let setup = Setup::settled(traits.setup.and_then(Setup::parse));
            return Ok(Security::Dtls { fingerprint, setup });
        }
        if traits.crypto && !offer.crypto.is_empty() {
            return offer.matched(media).map(Security::Sdes);
        }
        match offer.must || insists {
            true => Err(Refusal::Unprotected),
            false => Ok(Security::Plain),
        }
    }
}

impl Offer {
    /// The line of ours that the party has taken. A wrong tag is forgiven, another suite is not.
    fn matched(&self, media: &Media<'_, '_>) -> Result<Sdes, Refusal> {
        let mut lines = attributes(media.lines(), "crypto").filter_map(Crypto::parse);
        let answer = lines.next().ok_or(Refusal::Keys)?;
        let suited = || self.crypto.iter().filter(|c| c.suite == answer.suite);
        let ours = suited()
            .find(|c| c.tag == answer.tag)
            .or_else(|| suited().next());
        let ours = ours.ok_or(Refusal::Keys)?;
        Ok(Sdes {
            tag: ours.tag,
            suite: ours.suite,
            local: ours.key.clone(),
            remote: answer.key.clone(),
        })
    }
}

/// Whose a description of ours is, and where its streams go.
#[derive(Clone, Copy, Debug)]
pub struct Ours<'a> {
    /// The new `o=` line; its address also becomes the session's `c=`.
    pub origin: crate::Origin,
    /// What happens to each media section; sections beyond the slice are refused.
    pub media: &'a [crate::Anchor],
    /// Values of `a=candidate` for a stream, by its index; a stream without any has its own address
    /// as its candidate. Those of the second component are left out where RTCP shares the port.
    pub candidates: &'a [(usize, Box<str>)],
}

impl Ours<'_> {
    pub(super) fn anchor(&self, index: usize) -> crate::Anchor {
        let anchor = self.media.get(index).copied();
        anchor.unwrap_or(crate::Anchor::Refuse)
    }

    pub(super) fn at(&self, index: usize) -> Option<SocketAddr> {
        self.anchor(index).address()
    }
}
