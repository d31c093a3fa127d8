//! Calls that end at us: the other side is our own.

use super::endpoint::{Endpoint, Ours, Refusal};
use super::keys::Random;
use super::negotiate::Said;
use super::plan::Security;
use super::policy::{Policy, Terms};
use crate::levels::Levels;
use crate::local::{self, Agreed, Local};
use crate::media::Direction;
use crate::payload::Codec;
use crate::pictures::{PictureCodec, Pictures};
use crate::session::Sdp;

impl Endpoint {
    /// Finds what we can do for a party of which this is the offer or answer: the first stream of
    /// sound that is not refused and has a codec of `supported`.
    ///
    /// # Source
    /// RFC 3264 §6.1
    #[must_use]
    pub fn agree(&self, party: &Sdp<'_>, supported: &[Codec]) -> Option<Agreed> {
        local::agree_where(party, supported, |index| self.is_ours(index))
    }

    /// Finds the first stream of pictures of a party that is not refused and has one of `codecs`, which
    /// come in our order of preference.
    ///
    /// # Source
    /// RFC 3264 §6.1
    #[must_use]
    pub fn agree_pictures(&self, party: &Sdp<'_>, codecs: &[PictureCodec]) -> Option<Pictures> {
        Pictures::agree(party, codecs, |index| self.is_ours(index))
    }

    /// Whether a stream is not refused, and we have its keys if there are any.
    fn is_ours(&self, index: usize) -> bool {
        let agreed = self.agreed(index);
        agreed.is_some_and(|agreed| agreed.security != Security::EndToEnd)
    }

    /// Appends our answer to the party's offer: the agreed stream is taken, and that of `pictures` if
    /// there is one; all others are refused.
    ///
    /// # Errors
    /// The stream is not one that the side may have.
    ///
    /// # Source
    /// RFC 3264 §6
    pub fn serve(
        &mut self,
        offer: &Sdp<'_>,
        (agreed, pictures): (&Agreed, Option<&Pictures>),
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
        let pictures = pictures.and_then(|p| Some((p, ours.at(p.stream)?)));
        local::answer_with(offer, agreed, pictures, &local, &mut text);
        let answer = Sdp::parse(&text).map_err(|_| Refusal::Codecs)?;
        let mut own = Self::plain(offer.media_count());
        self.answer(offer, &answer, &mut own, ours, terms, out)?;
        let line = self.lines.get_mut(agreed.stream);
        let now = line.and_then(|line| line.now.as_mut());
        if let Some(now) = now.filter(|_| terms.policy.extensions) {
            now.levels = agreed.levels;
        }
        Ok(())
    }

    /// Appends an offer of one stream of sound that we make on our own, with these header extensions, to a party
    /// that asked for one or is being fetched.
    ///
    /// # Errors
    /// The side must be protected, and we have no keys.
    ///
    /// # Source
    /// RFC 3264 §5
    pub fn invite(
        &mut self,
        (codecs, levels): (&[Codec], Levels),
        ours: &Ours<'_>,
        terms: &Terms<'_>,
        random: &mut dyn Random,
        out: &mut String,
    ) -> Result<(), Refusal> {
        let Some(rtp) = ours.at(0) else {
            return Err(Refusal::Codecs);
        };
        let local = Local {
            origin: ours.origin,
            rtp,
        };
        let mut text = String::with_capacity(512);
        local::offer(codecs, Direction::SendRecv, &local, &mut text);
        levels.encode(&mut text);
        let sdp = Sdp::parse(&text).map_err(|_| Refusal::Codecs)?;
        let said = Said {
            sdp: &sdp,
            by: &Self::plain(1),
            policy: &Policy::default(),
        };
        self.offer(&said, "", ours, terms, random, out)?;
        let line = self.lines.first_mut();
        let offer = line.and_then(|line| line.offer.as_mut());
        if let Some(offer) = offer.filter(|_| terms.policy.extensions) {
            offer.levels = levels;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};

    use super::*;
    use crate::anchor::{Anchor, Origin};

    struct Nothing;

    impl Random for Nothing {
        fn fill(&mut self, _: &mut [u8]) {}
    }

    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n\
        m=audio 4000 RTP/AVP 0\r\n\
        a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n\
        a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n\
        a=extmap:4 urn:ietf:params:rtp-hdrext:csrc-audio-level\r\n";

    const RTP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 20_000);

    fn terms(policy: &Policy) -> Terms<'_> {
        Terms {
            policy,
            fingerprint: None,
            ice: None,
        }
    }

    fn at(media: &[Anchor]) -> Ours<'_> {
        Ours {
            origin: Origin {
                session_id: 5,
                version: 1,
                address: RTP.ip(),
            },
            media,
            candidates: &[],
        }
    }

    /// What is answered, and what holds then.
    fn served(end: &mut Endpoint, policy: &Policy) -> (String, Levels) {
        let anchors = [Anchor::At(RTP)];
        let (terms, ours) = (terms(policy), at(&anchors));
        let offer = Sdp::parse(OFFER).unwrap();
        end.hear_offer(&offer, &terms, &mut Nothing).unwrap();
        let agreed = end.agree(&offer, &Codec::ALL).unwrap();
        let mut text = String::new();
        let both = (&agreed, None);
        end.serve(&offer, both, &ours, &terms, &mut text).unwrap();
        (text, end.plan(0, &offer).unwrap().levels)
    }

    #[test]
    fn rfc8285_6_who_offers_audio_levels_gets_them_and_no_other_extension() {
        let mut end = Endpoint::default();
        let (answer, levels) = served(&mut end, &Policy::default());
        let lines: Vec<_> = answer.lines().filter(|l| l.contains("extmap")).collect();
        assert_eq!(
            lines,
            [
                "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
                "a=extmap:4/sendonly urn:ietf:params:rtp-hdrext:csrc-audio-level",
            ]
        );
        assert_eq!((levels.spoken, levels.whole), (Some(1), Some(1)));
        assert_eq!(levels.heard, Some(4));

        // Our description is offered once more: what its answer leaves out is over.
        end.offer_again();
        let less = OFFER.replace("a=extmap:1 ", "a=extmap:9 ");
        let less = Sdp::parse(&less).unwrap();
        end.hear_answer(&less).unwrap();
        let levels = end.plan(0, &less).unwrap().levels;
        assert_eq!((levels.spoken, levels.whole), (None, None));
        assert_eq!(levels.heard, Some(4));
    }

    /// What we offer on our own, and what holds once the party has answered with these extensions.
    fn invited(policy: &Policy, answered: &str) -> (String, Levels) {
        let anchors = [Anchor::At(RTP)];
        let (terms, ours) = (terms(policy), at(&anchors));
        let (mut end, mut text) = (Endpoint::default(), String::new());
        let wanted = (&Codec::ALL[..], Levels::offered(None));
        end.invite(wanted, &ours, &terms, &mut Nothing, &mut text)
            .unwrap();
        let answer = format!("v=0\r\nc=IN IP4 192.0.2.7\r\nm=audio 4000 RTP/AVP 0\r\n{answered}");
        let answer = Sdp::parse(&answer).unwrap();
        end.hear_answer(&answer).unwrap();
        (text, end.plan(0, &answer).unwrap().levels)
    }

    #[test]
    fn rfc8285_5_whom_we_invite_is_offered_audio_levels_and_takes_what_it_wants() {
        let answer = "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n";
        let (offer, levels) = invited(&Policy::default(), answer);
        let lines: Vec<_> = offer.lines().filter(|l| l.contains("extmap")).collect();
        assert_eq!(
            lines,
            [
                "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
                "a=extmap:2/sendonly urn:ietf:params:rtp-hdrext:csrc-audio-level",
            ]
        );
        assert_eq!((levels.spoken, levels.whole), (Some(1), Some(1)));
        assert_eq!(levels.heard, None);
        assert_eq!(invited(&Policy::default(), "").1, Levels::default());
        let policy = Policy {
            extensions: false,
            ..Policy::default()
        };
        let (offer, levels) = invited(&policy, answer);
        assert!(!offer.contains("extmap"), "{offer}");
        assert_eq!(levels, Levels::default());
    }

    #[test]
    fn where_no_extensions_are_wanted_there_are_none() {
        let policy = Policy {
            extensions: false,
            ..Policy::default()
        };
        let (answer, levels) = served(&mut Endpoint::default(), &policy);
        assert!(!answer.contains("extmap"), "{answer}");
        assert_eq!(levels, Levels::default());
    }
}
