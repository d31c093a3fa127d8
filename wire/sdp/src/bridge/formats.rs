//! Payload types on both sides of us: which codecs an offer has, and what an answer comes to.

use super::policy::{Add, Events, Policy, Transcodable};
use crate::media::Media;
use crate::payload::RtpMap;
use crate::session::Sdp;

/// A payload type that a side has agreed to, for the media worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Its number in the party's description: under it we send.
    pub number: u8,
    /// Its number in ours: under it the party sends. Almost always the same.
    pub received: u8,
    /// The encoding's name.
    pub name: Box<str>,
    /// The RTP clock's rate in hertz.
    pub clock_rate: u32,
    /// Channels.
    pub channels: u8,
    /// What the party says about it (`a=fmtp`).
    pub fmtp: Box<str>,
    /// Packet length in milliseconds that the party wishes.
    pub ptime: u8,
}

/// The formats of a section as we write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Chosen {
    /// As its source has them.
    AsIs,
    /// These, in this order.
    These(Vec<Choice>),
}

/// A payload type as we write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) number: u8,
    /// Its number in the section that we rewrite; none: it is not in there.
    pub(super) source: Option<u8>,
    pub(super) name: Box<str>,
    pub(super) clock_rate: u32,
    pub(super) channels: u8,
    pub(super) fmtp: Box<str>,
}

/// A codec with its parameters.
#[derive(Clone, Copy, Debug)]
struct Coding<'a> {
    name: &'a str,
    clock_rate: u32,
    channels: u8,
    fmtp: &'a str,
}

impl<'a> Coding<'a> {
    fn of(media: &Media<'_, 'a>, map: &RtpMap<'a>) -> Self {
        Self {
            name: map.name,
            clock_rate: map.clock_rate,
            channels: map.channels,
            fmtp: media.fmtp(map.payload_type).unwrap_or(""),
        }
    }

    fn choice(self, number: u8, source: Option<u8>) -> Choice {
        Choice {
            number,
            source,
            name: self.name.into(),
            clock_rate: self.clock_rate,
            channels: self.channels,
            fmtp: self.fmtp.into(),
        }
    }

    fn is_event(&self) -> bool {
        self.name.eq_ignore_ascii_case("telephone-event")
    }

    fn is_noise(&self) -> bool {
        self.name.eq_ignore_ascii_case("CN")
    }

    /// Redundant data names other payload types by number, so it does not outlive a choice.
    fn is_codec(&self) -> bool {
        let other = self.name.eq_ignore_ascii_case("red");
        !self.is_event() && !self.is_noise() && !other
    }

    /// Whether packets of one can be played as the other.
    ///
    /// # Source
    /// RFC 4867 §8.3.1 (AMR), RFC 5577 §4.1 (G.722.1); the parameters of others only advise.
    fn same(&self, other: &Self) -> bool {
        let named = self.name.eq_ignore_ascii_case(other.name)
            && self.clock_rate == other.clock_rate
            && self.channels == other.channels;
        named && self.same_parameters(other)
    }

    fn same_parameters(&self, other: &Self) -> bool {
        let equal = |name: &str, default: &str| {
            let of = |coding: &Self| parameter(coding.fmtp, name).unwrap_or(default).to_owned();
            of(self) == of(other)
        };
        if self.is_amr() {
            let sets = [self, other].map(|coding| parameter(coding.fmtp, "mode-set"));
            let modes = match sets {
                [Some(ours), Some(theirs)] => {
                    let modes = |set: &str| set.replace(' ', "");
                    modes(ours) == modes(theirs)
                }
                _ => true,
            };
            let packing = ["octet-align", "crc", "robust-sorting"];
            return modes
                && packing.iter().all(|name| equal(name, "0"))
                && equal("interleaving", "");
        }
        !self.name.eq_ignore_ascii_case("G7221") || equal("bitrate", "")
    }

    fn is_amr(&self) -> bool {
        let is = |name: &str| self.name.eq_ignore_ascii_case(name);
        is("AMR") || is("AMR-WB")
    }

    /// How we convert it, if we can. AMR's packings for lossy channels are beyond us.
    fn transcodable(&self, policy: &Policy) -> Option<&'static Transcodable> {
        let map = RtpMap {
            payload_type: 0,
            name: self.name,
            clock_rate: self.clock_rate,
            channels: self.channels,
        };
        let beyond = |name: &&str| parameter(self.fmtp, name).is_some_and(|v| v != "0");
        let rare = ["crc", "robust-sorting", "interleaving"];
        let known = policy.transcodable(&map)?;
        (!self.is_amr() || !rare.iter().any(beyond)).then_some(known)
    }
}

impl Choice {
    fn coding(&self) -> Coding<'_> {
        Coding {
            name: &self.name,
            clock_rate: self.clock_rate,
            channels: self.channels,
            fmtp: &self.fmtp,
        }
    }
}

impl Transcodable {
    const fn coding(&self) -> Coding<'static> {
        Coding {
            name: self.name,
            clock_rate: self.clock_rate,
            channels: self.channels,
            fmtp: self.fmtp,
        }
    }
}

/// A parameter of `a=fmtp`: `name=value`, parted by semicolons.
fn parameter<'a>(fmtp: &'a str, name: &str) -> Option<&'a str> {
    fmtp.split(';')
        .filter_map(|part| part.split_once('='))
        .find(|(found, _)| found.trim().eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

/// Numbers that payload types have had with a party, which must not come to mean something else.
///
/// # Source
/// RFC 3264 §8.3.2
#[derive(Clone, Copy)]
pub(super) struct Bound<'s, 'a> {
    /// The party's last description of the stream.
    pub(super) heard: Option<Media<'s, 'a>>,
    /// What we have offered it.
    pub(super) offered: &'s [Choice],
}

impl Bound<'_, '_> {
    /// The number that the party knows the codec by.
    fn number_of(&self, coding: Coding<'_>) -> Option<u8> {
        let heard = self.heard.and_then(|media| {
            let mut maps = media.rtpmaps();
            maps.find(|map| Coding::of(&media, map).same(&coding))
        });
        let offered = || self.offered.iter().find(|c| c.coding().same(&coding));
        heard
            .map(|map| map.payload_type)
            .or_else(|| offered().map(|choice| choice.number))
    }

    /// Whether the number means something to the party.
    fn has(&self, number: u8) -> bool {
        let heard = |media: Media<'_, '_>| media.rtpmaps().any(|map| map.payload_type == number);
        self.heard.is_some_and(heard) || self.offered.iter().any(|c| c.number == number)
    }
}

/// The formats of an offer to a side with this policy, made from `source`, whose side
/// has the policy `from`. None: nothing is left.
///
/// # Source
/// RFC 3264 §5.1
pub(super) fn offered(
    source: &Media<'_, '_>,
    from: &Policy,
    policy: &Policy,
    bound: Bound<'_, '_>,
) -> Option<Chosen> {
    let any = from.codecs.is_empty() && policy.codecs.is_empty();
    let untouched = any && policy.transcode.is_empty() && policy.events != Events::Never;
    if untouched || !source.kind().eq_ignore_ascii_case("audio") {
        return Some(Chosen::AsIs);
    }
    let maps: Vec<_> = source.rtpmaps().collect();
    let all: Vec<_> = maps.iter().map(|map| Coding::of(source, map)).collect();
    let mut kept = kept(&all, policy);
    kept.retain(|&index| from.allows(all[index].name));
    let added = added(&all, &kept, policy);
    let has_events = all.iter().any(Coding::is_event);
    let events = match policy.events {
        Events::Follow => has_events,
        Events::Always => has_events || is_convertible(&all, policy),
        Events::Never => false,
    };
    let same = added.is_empty() && kept.iter().copied().eq(codecs(&all));
    if same && events == has_events {
        return Some(Chosen::AsIs);
    }
    if added.is_empty() && kept.is_empty() {
        return None;
    }
    let mut list = List {
        bound,
        avoided: maps.iter().map(|map| map.payload_type).collect(),
        chosen: Vec::with_capacity(kept.len() + added.len() + 2),
    };
    for &index in &kept {
        list.push(all[index], Some(maps[index].payload_type));
    }
    for coding in &added {
        let fmtp = policy.fmtp_of(coding);
        let coded = Coding {
            fmtp,
            ..coding.coding()
        };
        list.add(coded, coding.payload_type);
    }
    let aside = |coding: &Coding<'_>| events && coding.is_event() || coding.is_noise();
    for (coding, map) in all.iter().zip(&maps).filter(|(coding, _)| aside(coding)) {
        list.push(*coding, Some(map.payload_type));
    }
    if events {
        list.add_events();
    }
    Some(Chosen::These(list.chosen))
}

/// Whether an offer of a side with the policy `from` leaves a side with the policy `to` something to
/// talk with: a stream of sound with a codec, or no stream of sound at all.
#[must_use]
pub fn suits(offer: &Sdp<'_>, from: &Policy, to: &Policy) -> bool {
    let bound = Bound {
        heard: None,
        offered: &[],
    };
    let is_sound = |media: &Media<'_, '_>| {
        media.kind().eq_ignore_ascii_case("audio") && media.is_rtp() && media.port() != 0
    };
    let mut sound = offer.media().filter(is_sound).peekable();
    sound.peek().is_none() || sound.any(|media| offered(&media, from, to, bound).is_some())
}

/// Which of the codecs stay, in their new order.
fn kept(all: &[Coding<'_>], policy: &Policy) -> Vec<usize> {
    if policy.codecs.is_empty() {
        return codecs(all).collect();
    }
    let named = |name: &str| {
        let same = move |&index: &usize| all[index].name.eq_ignore_ascii_case(name);
        codecs(all).filter(same).collect::<Vec<_>>()
    };
    let mut kept: Vec<usize> = policy.codecs.iter().flat_map(|name| named(name)).collect();
    let mut seen = 0_u128;
    kept.retain(|index| {
        let bit = 1 << (index & 127);
        let new = seen & bit == 0;
        seen |= bit;
        new
    });
    kept
}

/// Which formats are codecs.
fn codecs(all: &[Coding<'_>]) -> impl Iterator<Item = usize> {
    (0..all.len()).filter(|&index| all[index].is_codec())
}

/// Codecs that we add behind those that are kept, since we can convert.
fn added(all: &[Coding<'_>], kept: &[usize], policy: &Policy) -> Vec<&'static Transcodable> {
    if !is_convertible(all, policy) {
        return Vec::new();
    }
    let there = |name: &str| {
        let mut kept = kept.iter();
        kept.any(|&index| all[index].name.eq_ignore_ascii_case(name))
    };
    let needed = |known: &Transcodable| match policy.add {
        Add::Always => true,
        Add::Needed if policy.codecs.is_empty() => {
            is_universal(known.name) || !UNIVERSAL.into_iter().any(there)
        }
        Add::Needed => kept.is_empty(),
    };
    let known_there = |known: &Transcodable| {
        let mut kept = kept.iter();
        kept.any(|&index| known.coding().same(&all[index]))
    };
    let mut added: Vec<_> = policy
        .transcode
        .iter()
        .filter(|known| policy.allows(known.name) && needed(known) && !known_there(known))
        .collect();
    added.sort_by_key(|known| {
        let mut wished = policy.codecs.iter();
        wished.position(|name| name.eq_ignore_ascii_case(known.name))
    });
    added
}

/// Whether we can convert one of these.
fn is_convertible(all: &[Coding<'_>], policy: &Policy) -> bool {
    let mut all = all.iter();
    all.any(|coding| coding.transcodable(policy).is_some())
}

/// The two laws of G.711: whoever has no other codec has one of them.
const UNIVERSAL: [&str; 2] = ["PCMU", "PCMA"];

fn is_universal(name: &str) -> bool {
    let mut universal = UNIVERSAL.iter();
    universal.any(|known| known.eq_ignore_ascii_case(name))
}

/// A list of payload types with distinct numbers.
struct List<'s, 'a> {
    bound: Bound<'s, 'a>,
    /// Numbers that new codecs keep away from: the source's own.
    avoided: Vec<u8>,
    chosen: Vec<Choice>,
}

impl List<'_, '_> {
    fn is_taken(&self, number: u8) -> bool {
        self.chosen.iter().any(|choice| choice.number == number)
    }

    /// A codec of the source: under the party's number for it, else the source's, if they are free.
    fn push(&mut self, coding: Coding<'_>, source: Option<u8>) {
        let known = self.bound.number_of(coding).filter(|&n| !self.is_taken(n));
        let same = source.filter(|&n| !self.is_taken(n) && !self.bound.has(n));
        if let Some(number) = known.or(same).or_else(|| self.free()) {
            self.chosen.push(coding.choice(number, source));
        }
    }

    /// A codec of ours: under the party's number for it, else its static one, else a free one.
    fn add(&mut self, coding: Coding<'_>, fixed: Option<u8>) {
        let known = self.bound.number_of(coding).filter(|&n| !self.is_taken(n));
        let fixed = fixed.filter(|&n| !self.is_taken(n) && !self.avoided.contains(&n));
        if let Some(number) = known.or(fixed).or_else(|| self.free()) {
            self.chosen.push(coding.choice(number, None));
        }
    }

    /// A number for a new meaning; numbers that could be taken for RTCP are left out (RFC 5761 §4).
    fn free(&self) -> Option<u8> {
        (96..=127).chain(35..=63).find(|&number| {
            !self.is_taken(number) && !self.avoided.contains(&number) && !self.bound.has(number)
        })
    }

    /// Telephone events for each clock of a codec (RFC 4733 §2.1).
    fn add_events(&mut self) {
        let has_event = |chosen: &[Choice], clock| {
            let mut chosen = chosen.iter().filter(|c| c.coding().is_event());
            chosen.any(|choice| choice.clock_rate == clock)
        };
        let codecs = self.chosen.iter().filter(|c| c.coding().is_codec());
        let clocks: Vec<u32> = codecs.map(|choice| choice.clock_rate).collect();
        for clock_rate in clocks {
            if !has_event(&self.chosen, clock_rate) {
                self.add(event(clock_rate), None);
            }
        }
    }
}

/// Digits, star, pound and A–D on this clock.
const fn event(clock_rate: u32) -> Coding<'static> {
    Coding {
        name: "telephone-event",
        clock_rate,
        channels: 1,
        fmtp: "0-15",
    }
}

/// What an answer comes to.
#[derive(Debug)]
pub(super) struct Paired {
    /// The formats of the answer to whoever made the offer.
    pub(super) chosen: Chosen,
    /// Payload types of whoever made the offer; none: payloads pass untouched.
    pub(super) offerer: Vec<Payload>,
    /// Payload types of whoever answered.
    pub(super) answerer: Vec<Payload>,
}

/// Brings an answer together with the offer of the side that it is for. `ours` is what we made of
/// the offer; empty: we left the formats as they were. `policy` is the offerer's, and `converts` says
/// whether we can read what the sides send. None: they have nothing in common.
///
/// # Source
/// RFC 3264 §6.1
pub(super) fn pair(
    offer: &Media<'_, '_>,
    answer: &Media<'_, '_>,
    ours: &[Choice],
    (policy, converts): (&Policy, bool),
) -> Option<Paired> {
    let same = ours.is_empty() && answer.formats().all(|format| offer.has_format(format));
    let can = Can { policy, converts };
    let repacks = can.repacks(offer);
    if same && !repacks && !can.part_events(offer, answer) {
        return Some(Paired::untouched(Chosen::AsIs));
    }
    if !offer.kind().eq_ignore_ascii_case("audio") {
        return filtered(offer, answer).map(Paired::untouched);
    }
    let mut offerer: Vec<_> = numbered(offer, &[]);
    offerer.retain(|(_, coding)| match coding.is_event() {
        true => policy.events != Events::Never,
        false => !coding.is_codec() || policy.allows(coding.name),
    });
    let answerer: Vec<_> = numbered(answer, ours);
    let chosen = common(&offerer, &answerer, can);
    let chosen = if chosen.iter().any(|choice| choice.coding().is_codec()) {
        chosen
    } else {
        converted(&offerer, &answerer, can)?
    };
    let equal = |choice: &Choice, (number, coding): &(u8, Coding<'_>)| {
        choice.number == *number && choice.coding().same(coding)
    };
    let passes = answerer
        .iter()
        .all(|theirs| chosen.iter().any(|choice| equal(choice, theirs)));
    let events = chosen.iter().any(|choice| choice.coding().is_event());
    if passes && !repacks && events == has_events(&answerer) {
        return Some(Paired::untouched(Chosen::These(chosen)));
    }
    let of_offerer = chosen.iter().filter_map(|choice| {
        let mut theirs = offerer.iter();
        let (_, coding) = theirs.find(|(number, _)| *number == choice.number)?;
        Some(payload(*coding, choice.number, choice.number, offer))
    });
    let of_answerer = answerer.iter().map(|(number, coding)| {
        let received = ours.iter().find(|c| c.coding().same(coding));
        payload(
            *coding,
            *number,
            received.map_or(*number, |c| c.number),
            answer,
        )
    });
    Some(Paired {
        offerer: of_offerer.collect(),
        answerer: of_answerer.collect(),
        chosen: Chosen::These(chosen),
    })
}

impl Paired {
    /// Payloads pass as they are.
    const fn untouched(chosen: Chosen) -> Self {
        Self {
            chosen,
            offerer: Vec::new(),
            answerer: Vec::new(),
        }
    }
}

/// Of formats that are the parties' own, those that the offer has too.
fn filtered(offer: &Media<'_, '_>, answer: &Media<'_, '_>) -> Option<Chosen> {
    let both = answer.formats().filter(|format| offer.has_format(format));
    let choices = both.filter_map(|format| {
        let number = format.parse().ok()?;
        let map = answer.rtpmap(number).or_else(|| offer.rtpmap(number))?;
        Some(Coding::of(answer, &map).choice(number, Some(number)))
    });
    let choices: Vec<_> = choices.collect();
    (!choices.is_empty()).then_some(Chosen::These(choices))
}

/// The codecs of a section by number, in order; a number without a name is known by what we offered.
fn numbered<'a>(media: &Media<'_, 'a>, ours: &'a [Choice]) -> Vec<(u8, Coding<'a>)> {
    let mut seen = 0_u128;
    let numbers = media.formats().filter_map(|format| format.parse().ok());
    let new = numbers.filter(move |&number: &u8| {
        let bit = 1_u128.checked_shl(u32::from(number)).unwrap_or(0);
        let new = seen & bit == 0 && bit != 0;
        seen |= bit;
        new
    });
    new.filter_map(|number| match media.rtpmap(number) {
        Some(map) => Some((number, Coding::of(media, &map))),
        None => {
            let choice = ours.iter().find(|choice| choice.number == number)?;
            Some((number, choice.coding()))
        }
    })
    .collect()
}

/// What both have, in the answerer's order, under the offerer's numbers, with the answerer's
/// parameters.
fn common(
    offerer: &[(u8, Coding<'_>)],
    answerer: &[(u8, Coding<'_>)],
    can: Can<'_>,
) -> Vec<Choice> {
    let mut chosen: Vec<Choice> = Vec::with_capacity(answerer.len());
    for (source, coding) in answerer {
        let free = |number: &u8| !chosen.iter().any(|choice| choice.number == *number);
        let same = offerer
            .iter()
            .find(|(number, theirs)| free(number) && theirs.same(coding));
        if let Some((number, _)) = same {
            chosen.push(coding.choice(*number, Some(*source)));
        }
    }
    // An answerer whose events run on another clock than the offerer's has them all the same.
    let has = |list: &[Choice]| list.iter().any(|choice| choice.coding().is_event());
    if !has(&chosen) {
        chosen.extend(events(offerer, answerer, &chosen, can));
    }
    chosen
}

/// What we may and can do between the sides of an answer.
#[derive(Clone, Copy)]
struct Can<'a> {
    policy: &'a Policy,
    converts: bool,
}

impl Can<'_> {
    /// Whether keys become tones and tones keys on their way from and to a side with this codec.
    fn turn_keys(self, coding: &Coding<'_>) -> bool {
        self.converts && coding.transcodable(self.policy).is_some()
    }

    /// Whether packets are made anew, so that both sides' payload types have to be known.
    fn repacks(self, offer: &Media<'_, '_>) -> bool {
        self.policy.repacks && self.converts && offer.kind().eq_ignore_ascii_case("audio")
    }

    /// Whether the sides are to differ in whether they have telephone events.
    fn part_events(self, offer: &Media<'_, '_>, answer: &Media<'_, '_>) -> bool {
        let has_events =
            |media: &Media<'_, '_>| media.rtpmaps().any(|map| map.is_telephone_event());
        match self.policy.events {
            Events::Never => has_events(answer),
            Events::Follow | Events::Always => {
                let first = answer.rtpmaps().next();
                let turns = first.is_some_and(|map| self.turn_keys(&Coding::of(answer, &map)));
                turns && has_events(offer) && !has_events(answer)
            }
        }
    }
}

fn has_events(codings: &[(u8, Coding<'_>)]) -> bool {
    codings.iter().any(|(_, coding)| coding.is_event())
}

/// The offerer's best telephone events, if both sides have some, or the answerer's keys can be tones.
fn events(
    offerer: &[(u8, Coding<'_>)],
    answerer: &[(u8, Coding<'_>)],
    chosen: &[Choice],
    can: Can<'_>,
) -> Option<Choice> {
    let first = chosen.first().map(Choice::coding);
    if !has_events(answerer) && !first.is_some_and(|coding| can.turn_keys(&coding)) {
        return None;
    }
    let clock = chosen.first().map_or(0, |choice| choice.clock_rate);
    let events = || offerer.iter().filter(|(_, coding)| coding.is_event());
    let best = events()
        .find(|(_, coding)| coding.clock_rate == clock)
        .or_else(|| events().next());
    best.map(|(number, coding)| coding.choice(*number, None))
}

/// The offerer's best codec that we can make of the answerer's.
fn converted(
    offerer: &[(u8, Coding<'_>)],
    answerer: &[(u8, Coding<'_>)],
    can: Can<'_>,
) -> Option<Vec<Choice>> {
    let policy = can.policy;
    let known = |(_, coding): &&(u8, Coding<'_>)| coding.transcodable(policy).is_some();
    answerer.iter().find(known)?;
    let usable = || offerer.iter().filter(known);
    let rank = |name: &str| {
        let mut wished = policy.codecs.iter();
        wished.position(|wished| wished.eq_ignore_ascii_case(name))
    };
    let (number, coding) = usable().min_by_key(|(_, coding)| rank(coding.name))?;
    let mut choice = coding.choice(*number, None);
    if !coding.is_amr() {
        choice.fmtp = policy.fmtp_of(coding.transcodable(policy)?).into();
    }
    let mut chosen = vec![choice];
    chosen.extend(events(offerer, answerer, &chosen, can));
    Some(chosen)
}

fn payload(coding: Coding<'_>, number: u8, received: u8, media: &Media<'_, '_>) -> Payload {
    Payload {
        number,
        received,
        name: coding.name.into(),
        clock_rate: coding.clock_rate,
        channels: coding.channels,
        fmtp: coding.fmtp.into(),
        ptime: packet_time(media),
    }
}

/// What a party wishes, within what it can take: 10 to 120 milliseconds.
fn packet_time(media: &Media<'_, '_>) -> u8 {
    let most = media.maxptime().unwrap_or(u16::MAX);
    media.ptime().unwrap_or(20).min(most).clamp(10, 120) as u8
}
