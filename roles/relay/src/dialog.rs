//! Two parties and their media.

use std::net::IpAddr;
use std::time::Instant;

use base::Mint;
use media::agreement::remote_described;
use media::{Command, Latching, SessionId, Side, StreamPorts};
use ng::{Family, Options, Replace, Request};
use sdp::bridge::ice::Mode;
use sdp::bridge::{Endpoint, Fingerprint, Ours, Policy, Random, Refusal, Said, Terms};
use sdp::{Anchor, Origin, Sdp};

use crate::attributes;
use crate::config::{Config, Interface};
use crate::hidden::Hidden;
use crate::machine::Asker;
use crate::policy;
use crate::serve::Playing;

/// Media between two parties.
#[derive(Debug)]
pub(crate) struct Dialog {
    pub(crate) session: SessionId,
    /// The branch of the offer that began it.
    pub(crate) branch: Option<Box<str>>,
    /// Whoever made the first offer, and the other party.
    pub(crate) parties: [Party; 2],
    /// Who made the last offer.
    offerer: usize,
    pub(crate) answered: bool,
    pub(crate) ports: Vec<StreamPorts>,
    /// Whether it is recorded.
    pub(crate) recorded: bool,
    /// How many files there are of it.
    pub(crate) recordings: u32,
    /// What each party is played.
    pub(crate) playing: [Option<Playing>; 2],
    /// How often something was played to somebody.
    pub(crate) played: u32,
    /// An offer that waits for ports.
    pub(crate) waiting: Option<Box<Waiting>>,
    /// When it ends, after it was deleted.
    pub(crate) ends: Option<Instant>,
    /// When the last offer was made.
    pub(crate) since: Instant,
}

/// A party, as we know it.
#[derive(Debug)]
pub(crate) struct Party {
    pub(crate) tag: Option<Box<str>>,
    pub(crate) label: Option<Box<str>>,
    pub(crate) end: Endpoint,
    /// Its last description, without what is hidden of it; empty: none yet.
    pub(crate) heard: Box<str>,
    /// What the other party does not see.
    hidden: Hidden,
    /// How it is dealt with.
    policy: Policy,
    /// Bits a second at which codecs are encoded for it, where that is said.
    bit_rates: Vec<(Box<str>, u32)>,
    /// Where it reaches us.
    pub(crate) at: Interface,
    /// Where it is, whatever its description says.
    address: Option<IpAddr>,
    /// Session id and version of our descriptions.
    origin: (u64, u64),
    /// How we do ICE.
    ice: Mode,
    latching: Latching,
    /// What its packets are marked with, if not as all are.
    tos: Option<u8>,
    /// The session's name in our first description, if it is to stay.
    session_name: Option<Box<str>>,
    /// Our last description.
    sent: String,
    /// When it was first heard of, in seconds since 1970.
    pub(crate) created: u64,
}

/// An offer that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) asker: Asker,
    /// Who makes it.
    pub(crate) side: usize,
    pub(crate) request: Request,
}

/// What descriptions are made with.
pub(crate) struct Desk<'a> {
    pub(crate) mint: &'a mut Mint,
    pub(crate) fingerprint: Option<&'a Fingerprint>,
    /// Names us in descriptions that are not to come round again.
    pub(crate) instance: &'a str,
}

impl Party {
    fn new(at: Interface, mint: &mut Mint, unix: u64) -> Self {
        Self {
            tag: None,
            label: None,
            end: Endpoint::default(),
            heard: "".into(),
            hidden: Hidden::default(),
            policy: Policy::default(),
            at,
            address: None,
            // Some take a session id for a signed number.
            origin: (mint.number64() >> 1, 1),
            ice: Mode::Full,
            latching: Latching::Learn,
            tos: None,
            bit_rates: Vec::new(),
            session_name: None,
            sent: String::new(),
            created: unix,
        }
    }

    /// Where the media of each stream come to us.
    fn anchors(&self, ports: &[StreamPorts], side: usize, sdp: &Sdp<'_>) -> Vec<Anchor> {
        let place = [Side::Caller, Side::Callee][side];
        let anchor = |(index, media): (usize, sdp::Media<'_, '_>)| {
            match media.is_rtp() {
                true => media::agreement::anchor(ports.get(index), place, self.at.advertised),
                // We carry nothing but RTP.
                false => Anchor::Refuse,
            }
        };
        sdp.media().enumerate().map(anchor).collect()
    }

    /// Ways to us that the party may try. Where we are lite there is but the one that its streams name.
    fn candidates(&self, ports: &[StreamPorts], side: usize) -> Vec<(usize, Box<str>)> {
        let Interface {
            address,
            advertised,
            ..
        } = self.at;
        match self.ice {
            Mode::Lite => Vec::new(),
            Mode::Full => {
                let side = [Side::Caller, Side::Callee][side];
                media::agreement::candidates(ports, side, address, advertised)
            }
        }
    }

    fn ours<'a>(&self, media: &'a [Anchor], candidates: &'a [(usize, Box<str>)]) -> Ours<'a> {
        Ours {
            origin: Origin {
                session_id: self.origin.0,
                version: self.origin.1,
                address: self.at.advertised,
            },
            media,
            candidates,
        }
    }

    /// A description of ours, as the party gets it.
    fn told(&mut self, mut text: String, options: &Options, instance: &str) -> String {
        if options.loop_protect {
            mark(&mut text, instance);
        }
        let text = self.hidden.restored(text);
        let text = attributes::edit(text, &options.attributes);
        self.versioned(text, options.replace)
    }

    /// How many sections it has seen of those that it shares with the other party.
    fn shown(&self) -> usize {
        let count = |text: &str| Sdp::parse(text).map_or(0, |sdp| sdp.media_count());
        let told = count(&self.sent).saturating_sub(self.hidden.len());
        told.max(count(&self.heard))
    }

    /// A description made with the last version; it gets the next one if it says something new, or in
    /// any case if it is to be `replaced` so.
    ///
    /// # Source
    /// RFC 3264 §8
    fn versioned(&mut self, mut made: String, replaced: Replace) -> String {
        if replaced.session_name {
            self.keep_name(&mut made);
        }
        if !self.sent.is_empty() && (made != self.sent || replaced.version) {
            let (id, version) = self.origin;
            self.origin.1 += 1;
            let [old, new] = [version, version + 1].map(|v| format!("o=- {id} {v} "));
            self.sent = made.replacen(&old, &new, 1);
        } else {
            self.sent = made;
        }
        self.sent.clone()
    }

    /// The session is called what it was called at first.
    fn keep_name(&mut self, made: &mut String) {
        let Some(from) = made.find("\r\ns=").map(|place| place + 4) else {
            return;
        };
        let to = made[from..]
            .find("\r\n")
            .map_or(made.len(), |end| from + end);
        match &self.session_name {
            Some(name) => made.replace_range(from..to, name),
            None => self.session_name = Some(made[from..to].into()),
        }
    }

    /// Takes what the request says about its sender.
    fn take(&mut self, request: &Request) {
        self.tag.clone_from(&request.from_tag);
        let options = &request.options;
        if options.label.is_some() {
            self.label.clone_from(&options.label);
        }
        self.address = address(options);
        self.latching = latching(options);
    }
}

/// Whom packets of a sender are taken from.
const fn latching(options: &Options) -> Latching {
    match (options.asymmetric, options.strict_source) {
        (true, true) => Latching::Signalled,
        (true, false) => Latching::Asymmetric,
        (false, false) if options.media_handover => Latching::Handover,
        (false, _) => Latching::Learn,
    }
}

/// Where a sender is, if not where its description says.
fn address(options: &Options) -> Option<IpAddr> {
    let source = options.received_from.filter(|_| options.sip_source);
    options.media_address.or(source)
}

impl Dialog {
    /// A dialog that begins with this offer.
    pub(crate) fn new(
        session: SessionId,
        request: &Request,
        offer: &Sdp<'_>,
        config: &Config,
        mint: &mut Mint,
        (now, unix): (Instant, u64),
    ) -> Option<Self> {
        let options = &request.options;
        let first = offer.media().find_map(|media| media.address());
        let theirs = first.map(|ip| ip.is_ipv6());
        let wanted = match options.family {
            Some(family) => Some(family == Family::V6),
            None => theirs,
        };
        let [from, to] = &options.direction;
        let from = config.interface(from.as_deref(), theirs)?.clone();
        let to = config.interface(to.as_deref(), wanted)?.clone();
        let mut parties = [from, to].map(|at| Party::new(at, mint, unix));
        parties[0].take(request);
        parties[1].tag.clone_from(&request.to_tag);
        Some(Self {
            session,
            branch: request.via_branch.clone(),
            parties,
            offerer: 0,
            answered: false,
            ports: Vec::new(),
            recorded: false,
            recordings: 0,
            playing: [None, None],
            played: 0,
            waiting: None,
            ends: None,
            since: now,
        })
    }

    /// Whether it has not been deleted.
    pub(crate) fn is_live(&self) -> bool {
        self.ends.is_none()
    }

    /// Whoever made the last offer, and the other party.
    pub(crate) fn offerer_and_answerer(&self) -> [&Party; 2] {
        [&self.parties[self.offerer], &self.parties[1 - self.offerer]]
    }

    /// The other party is another one from now on: somebody else is sought for the same call.
    pub(crate) fn seek_again(&mut self, mint: &mut Mint, unix: u64) {
        let other = &mut self.parties[1];
        if other.tag.is_some() {
            *other = Party {
                ice: other.ice,
                tos: other.tos,
                ..Party::new(other.at.clone(), mint, unix)
            };
            self.answered = false;
        }
    }

    /// The part of an offer that the other party is to see, if that is not all.
    pub(crate) fn seen_of_offer(
        &mut self,
        side: usize,
        options: &Options,
        offer: &Sdp<'_>,
    ) -> Option<String> {
        let [sender, receiver] = halves(&mut self.parties, side);
        let removes = |kind: &str| options.removes(kind);
        sender.hidden.offered(offer, removes, receiver.shown())
    }

    /// The part of an answer that the other party is to see, if that is not all.
    pub(crate) fn seen_of_answer(&self, answer: &Sdp<'_>) -> Option<String> {
        self.parties[1 - self.offerer].hidden.answered(answer)
    }

    /// What asks for ports of as many streams; none: they are there.
    pub(crate) fn allocate(&self, streams: usize) -> Option<Command> {
        (self.ports.len() < streams).then(|| Command::Allocate {
            session: self.session,
            local: [0, 1].map(|side| Some(self.parties[side].at.address)),
            streams: streams as u8,
        })
    }

    /// What the other party is offered, if `side` says this.
    ///
    /// # Errors
    /// The sides can have nothing in common.
    pub(crate) fn offer(
        &mut self,
        side: usize,
        request: &Request,
        offer: &Sdp<'_>,
        desk: &mut Desk<'_>,
    ) -> Result<String, Refusal> {
        let options = &request.options;
        self.offerer = side;
        let ports = &self.ports;
        let [sender, receiver] = halves(&mut self.parties, side);
        sender.take(request);
        let lite = options.ice_lite.map_or([None; 2], ng::IceLite::sides);
        for (party, lite) in [&mut *sender, &mut *receiver].into_iter().zip(lite) {
            match lite {
                Some(true) => party.ice = Mode::Lite,
                Some(false) => party.ice = Mode::Full,
                None => {}
            }
        }
        for party in [&mut *sender, &mut *receiver] {
            party.tos = if options.keeps_tos {
                party.tos
            } else {
                options.tos
            };
        }
        let bit_rates = policy::bit_rates(options);
        sender.bit_rates.clone_from(&bit_rates);
        receiver.bit_rates = bit_rates;
        sender.policy = policy::of_sender(options, offer);
        receiver.policy = policy::of_receiver(options, offer);
        if receiver.tag.is_none() {
            receiver.tag.clone_from(&request.to_tag);
        }
        let mut random = Minted(&mut *desk.mint);
        let to_sender = terms(&sender.policy, sender.ice, desk.fingerprint);
        sender.end.hear_offer(offer, &to_sender, &mut random)?;
        sender.heard = request.sdp.clone().unwrap_or_default();
        let said = Said {
            sdp: offer,
            by: &sender.end,
            policy: &sender.policy,
        };
        let anchors = receiver.anchors(ports, 1 - side, offer);
        let mut text = String::with_capacity(1024);
        let candidates = receiver.candidates(ports, 1 - side);
        let ours = receiver.ours(&anchors, &candidates);
        let to_receiver = terms(&receiver.policy, receiver.ice, desk.fingerprint);
        let end = &mut receiver.end;
        end.offer(
            &said,
            &receiver.heard,
            &ours,
            &to_receiver,
            &mut random,
            &mut text,
        )?;
        Ok(receiver.told(text, options, desk.instance))
    }

    /// What whoever made the last offer is answered, if the other party says this. From now on media
    /// flow.
    ///
    /// # Errors
    /// The sides have nothing in common.
    pub(crate) fn answer(
        &mut self,
        request: &Request,
        answer: &Sdp<'_>,
        desk: &mut Desk<'_>,
        commands: &mut Vec<Command>,
    ) -> Result<String, Refusal> {
        let options = &request.options;
        let ports = &self.ports;
        let [offerer, answerer] = halves(&mut self.parties, self.offerer);
        let offered = std::mem::take(&mut offerer.heard);
        let Ok(offer) = Sdp::parse(&offered) else {
            return Err(Refusal::Codecs);
        };
        answerer.end.hear_answer(answer)?;
        answerer.heard = request.sdp.clone().unwrap_or_default();
        answerer.tag.clone_from(&request.to_tag);
        answerer.address = address(options);
        answerer.latching = latching(options);
        if let Some(label) = &options.label {
            answerer.label = Some(label.clone());
        }
        let refuses = options.ice == Some(ng::Ice::Remove) || options.rtcp_mux.reject;
        let begins = policy::begins(options);
        if refuses || begins.is_some_and(|begins| begins != offerer.policy.begins) {
            // What the offer seemed to come to is not so after all.
            offerer.policy.begins = begins.unwrap_or(offerer.policy.begins);
            if refuses {
                offerer.policy.ice = policy::of_receiver(options, &offer).ice;
                offerer.policy.mux = policy::of_sender(options, &offer).mux;
            }
            let terms = terms(&offerer.policy, offerer.ice, desk.fingerprint);
            offerer
                .end
                .hear_offer(&offer, &terms, &mut Minted(&mut *desk.mint))?;
        }
        let anchors = offerer.anchors(ports, self.offerer, &offer);
        let candidates = offerer.candidates(ports, self.offerer);
        let ours = offerer.ours(&anchors, &candidates);
        let to_offerer = terms(&offerer.policy, offerer.ice, desk.fingerprint);
        let mut text = String::with_capacity(1024);
        let by = &mut answerer.end;
        let made = offerer
            .end
            .answer(&offer, answer, by, &ours, &to_offerer, &mut text);
        offerer.heard = offered;
        made?;
        let text = offerer.told(text, options, desk.instance);
        self.answered = true;
        self.connect(commands);
        if options.record == Some(true) && !self.recorded {
            commands.extend(self.record(request));
        }
        Ok(text)
    }

    /// Tells the workers what was agreed with both parties.
    fn connect(&self, commands: &mut Vec<Command>) {
        for (side, party) in [Side::Caller, Side::Callee].into_iter().zip(&self.parties) {
            let Ok(heard) = Sdp::parse(&party.heard) else {
                continue;
            };
            for index in 0..self.ports.len() {
                commands.push(Command::Connect {
                    session: self.session,
                    stream: index as u8,
                    side,
                    remote: party.remote(index, &heard).map(Box::new),
                });
            }
        }
    }

    /// Whether nobody is to send anything, as when a call is on hold.
    pub(crate) fn is_held(&self) -> bool {
        let sends = |party: &Party| {
            let heard = Sdp::parse(&party.heard);
            heard.is_ok_and(|sdp| {
                let mut media = sdp.media().filter(|media| media.port() != 0);
                media.any(|media| media.direction().sends())
            })
        };
        !self.parties.iter().any(sends)
    }
}

impl Party {
    /// What was agreed about a stream.
    pub(crate) fn remote(&self, index: usize, heard: &Sdp<'_>) -> Option<media::Remote> {
        let media = heard.media_at(index)?;
        let plan = self.end.plan(index, heard).filter(|_| media.is_rtp())?;
        let mut remote = remote_described(&plan, index, heard)?;
        if let Some(address) = self.address {
            remote.rtp.set_ip(address);
            remote.rtcp.set_ip(address);
        }
        remote.latching = self.latching;
        remote.tos = self.tos;
        remote.ptime = self.policy.ptime;
        for payload in &mut remote.payloads {
            policy::set_bit_rate(payload, &self.bit_rates);
        }
        Some(remote)
    }
}

/// Both parties, the one at `side` first.
fn halves(parties: &mut [Party; 2], side: usize) -> [&mut Party; 2] {
    let [caller, callee] = parties;
    match side {
        0 => [caller, callee],
        _ => [callee, caller],
    }
}

fn terms<'a>(policy: &'a Policy, ice: Mode, fingerprint: Option<&'a Fingerprint>) -> Terms<'a> {
    Terms {
        policy,
        fingerprint,
        ice: Some(ice),
    }
}

/// Names us in a description, in the session's part.
fn mark(text: &mut String, instance: &str) {
    let place = text.find("\r\nm=").map_or(text.len(), |place| place + 2);
    let known = format!("a={MARK}:{instance}\r\n");
    if !text.contains(&known) {
        text.insert_str(place, &known);
    }
}

/// Whether we have changed this description before.
pub(crate) fn is_marked(sdp: &Sdp<'_>, instance: &str) -> bool {
    let marked = |line: &sdp::Line<'_>| line.attribute() == Some((MARK, instance));
    sdp.session_lines().iter().any(marked)
}

/// The attribute that relays of this protocol mark descriptions with.
const MARK: &str = "rtpengine";

/// Random bits for keys.
struct Minted<'a>(&'a mut Mint);

impl Random for Minted<'_> {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let bits = self.0.number64().to_le_bytes();
            chunk.copy_from_slice(&bits[..chunk.len()]);
        }
    }
}
