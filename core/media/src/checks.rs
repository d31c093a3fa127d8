//! Connectivity checks of a party that does ICE: where it is to be reached, whatever its SDP says.
//!
//! Whether we are lite or full is signalling's to say; media follow the way in use as either has it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use ice::{Agent, Candidate, Credentials, Lite, Role};

use crate::alarms::Alarm;
use crate::leg::Leg;
use crate::sessions::{Port, Sessions};
use crate::{Event, Ice, IcePeer};

/// The agents of one leg.
#[derive(Debug)]
pub(crate) struct Checks {
    rtp: Mind,
    /// For a port of its own. A lite one is made when it is first asked: whoever is offered to share a port
    /// has a way for RTCP looked for as well, until it is known whether it does.
    rtcp: Option<Mind>,
    /// Room for what is sent, kept so that none is made for each check.
    outgoing: Vec<u8>,
    /// Where the last check came from that was made with our password.
    trusted: Option<SocketAddr>,
    /// What happened to a lite agent, which keeps no record of it.
    lapsed: bool,
    /// Datagrams of a handshake that began before there was a way, the latest last.
    held: VecDeque<Vec<u8>>,
}

/// The agent of one component.
#[derive(Debug)]
enum Mind {
    Lite(Box<Lite>),
    Full(Box<Agent>),
}

/// Where a leg is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) rtp: SocketAddr,
    /// None: RTCP shares the port.
    pub(crate) rtcp: Option<SocketAddr>,
    /// Its number, by which answers to its checks are told from those to others at a shared port.
    pub(crate) leg: usize,
}

impl Checks {
    /// Puts what was agreed in `place`. Other credentials than before restart ICE: media go the old way
    /// until there is a new one.
    ///
    /// # Source
    /// RFC 8445 §9.
    pub(crate) fn agree(
        place: &mut Option<Box<Self>>,
        ice: Option<Ice>,
        at: Place,
        seed: [u8; 32],
        now: Instant,
    ) {
        let Some(ice) = ice else {
            *place = None;
            return;
        };
        let same_kind = |checks: &Self| matches!(checks.rtp, Mind::Full(_)) == ice.peer.is_some();
        let mut checks = match place.take().filter(|checks| same_kind(checks)) {
            Some(checks) => checks,
            None => Box::new(Self::new(&ice, at, seed)),
        };
        match &ice.peer {
            None => checks.agree_lite(ice.local),
            Some(peer) => checks.agree_full(&ice.local, peer, at, seed, now),
        }
        *place = Some(checks);
    }

    fn new(ice: &Ice, at: Place, seed: [u8; 32]) -> Self {
        Self {
            rtp: match &ice.peer {
                None => Mind::Lite(Box::new(Lite::new(ice.local.clone()))),
                Some(peer) => Mind::Full(full(1, &ice.local, peer, at, seed)),
            },
            rtcp: None,
            outgoing: Vec::new(),
            trusted: None,
            lapsed: false,
            held: VecDeque::new(),
        }
    }

    fn agree_lite(&mut self, local: Credentials) {
        if let Mind::Lite(agent) = &mut self.rtp
            && *agent.local() != local
        {
            self.rtcp = None;
            agent.restart(local);
        }
    }

    fn agree_full(
        &mut self,
        local: &Credentials,
        peer: &IcePeer,
        at: Place,
        mut seed: [u8; 32],
        now: Instant,
    ) {
        seed[0] ^= 1;
        match (at.rtcp, &self.rtcp) {
            (None, _) => self.rtcp = None,
            (Some(_), None) => self.rtcp = Some(Mind::Full(full(2, local, peer, at, seed))),
            (Some(_), Some(_)) => {}
        }
        let components = [
            (1, Some(at.rtp), Some(&mut self.rtp)),
            (2, at.rtcp, self.rtcp.as_mut()),
        ];
        for (component, address, mind) in components {
            if let (Some(address), Some(Mind::Full(agent))) = (address, mind) {
                if agent.local() != local {
                    agent.restart(local.clone());
                }
                let own = Candidate::host(address, u16::MAX).for_component(component);
                agent.add_local(now, own);
                agent.set_remote(now, peer.credentials.clone(), peer.lite);
                let theirs = peer.candidates.iter();
                theirs.for_each(|candidate| agent.add_remote(now, candidate));
            }
        }
    }

    /// What checks name it by.
    pub(crate) fn ufrag(&self) -> &str {
        let local = match &self.rtp {
            Mind::Lite(agent) => agent.local(),
            Mind::Full(agent) => agent.local(),
        };
        local.ufrag()
    }

    /// Whether the last valid check came from this address, or media go there.
    pub(crate) fn trusts(&self, from: SocketAddr) -> bool {
        self.trusted == Some(from) || self.target() == Some(from)
    }

    /// Where the party wants its packets, while it consents.
    pub(crate) fn target(&self) -> Option<SocketAddr> {
        self.rtp.target()
    }

    /// Where RTCP on a port of its own goes, if we look for its way: nowhere until there is one.
    pub(crate) fn rtcp_target(&self) -> Option<Option<SocketAddr>> {
        let full = self
            .rtcp
            .as_ref()
            .filter(|mind| matches!(mind, Mind::Full(_)));
        full.map(Mind::target)
    }

    /// Keeps a datagram of a handshake until there is a way: a repetition would come a second later. Of more
    /// than a flight has, the oldest go, and are repeated.
    pub(crate) fn hold(&mut self, datagram: &[u8]) {
        if self.held.len() >= FLIGHT {
            self.held.pop_front();
        }
        self.held.push_back(datagram.to_vec());
    }

    /// When [`Checks::wake`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let rtcp = self.rtcp.as_ref().and_then(Mind::deadline);
        self.rtp.deadline().into_iter().chain(rtcp).min()
    }

    /// Does what is due.
    pub(crate) fn wake(&mut self, now: Instant) {
        for mind in std::iter::once(&mut self.rtp).chain(&mut self.rtcp) {
            match mind {
                Mind::Full(agent) => agent.wake(now),
                Mind::Lite(agent) => self.lapsed |= agent.wake(now).is_some(),
            }
        }
    }

    /// What has gone wrong since this was last asked.
    fn alarm(&mut self) -> Option<Alarm> {
        let lapsed = std::mem::take(&mut self.lapsed);
        // Of RTCP alone there is nothing to complain.
        self.rtcp.as_mut().and_then(Mind::alarm);
        self.rtp.alarm().or(lapsed.then_some(Alarm::NoConsent))
    }

    /// Takes a STUN message that came to `local`. What a lite agent answers is appended to `outgoing`.
    fn handle(
        &mut self,
        (port, from, datagram): (Port, SocketAddr, &[u8]),
        local: SocketAddr,
        now: Instant,
    ) {
        self.outgoing.clear();
        let credentials = match &self.rtp {
            Mind::Lite(agent) => Some(agent.local()),
            Mind::Full(_) => None,
        };
        let mind = match (port, &mut self.rtcp, credentials) {
            (Port::Rtp, ..) => &mut self.rtp,
            (Port::Rtcp, Some(mind), _) => mind,
            (Port::Rtcp, place, Some(ours)) => {
                place.insert(Mind::Lite(Box::new(Lite::new(ours.clone()))))
            }
            // Nothing was agreed about this port.
            (Port::Rtcp, None, None) => return,
        };
        match mind {
            Mind::Full(agent) => agent.handle(now, datagram, from, local),
            // What it tells is asked of it for each packet.
            Mind::Lite(agent) => {
                _ = agent.handle(now, datagram, from, local, &mut self.outgoing);
            }
        }
    }
}

impl Mind {
    fn target(&self) -> Option<SocketAddr> {
        let pair = match self {
            Self::Lite(agent) => agent.selected(),
            Self::Full(agent) => agent.selected(),
        };
        pair.map(|pair| pair.remote)
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Lite(agent) => agent.deadline(),
            Self::Full(agent) => agent.deadline(),
        }
    }

    /// What has to be sent, replacing `datagram`, and where to.
    fn transmit(&mut self, datagram: &mut Vec<u8>) -> Option<SocketAddr> {
        match self {
            Self::Lite(_) => None,
            Self::Full(agent) => agent.poll_transmit(datagram).map(|pair| pair.remote),
        }
    }

    /// What has gone wrong.
    fn alarm(&mut self) -> Option<Alarm> {
        let Self::Full(agent) = self else { return None };
        std::iter::from_fn(|| agent.poll_event()).find_map(|event| match event {
            ice::Event::Disconnected => Some(Alarm::NoConsent),
            ice::Event::Failed => Some(Alarm::NoWay),
            _ => None,
        })
    }
}

fn full(
    component: u16,
    local: &Credentials,
    peer: &IcePeer,
    at: Place,
    seed: [u8; 32],
) -> Box<Agent> {
    let role = match peer.controlling {
        true => Role::Controlling,
        false => Role::Controlled,
    };
    let agent = Agent::new(role, local.clone(), seed);
    Box::new(agent.for_component(component).tagged(at.leg as u32))
}

impl Leg {
    /// Takes a STUN message and answers it.
    ///
    /// # Source
    /// RFC 7983 §7, RFC 8445 §7.3; §4: RTCP is a component of its own.
    fn check(&mut self, check: (Port, SocketAddr, &[u8]), now: Instant) {
        let (port, from, _) = check;
        let rtp = self.transport.address();
        let local = match port {
            Port::Rtp => rtp,
            Port::Rtcp => self.transport.rtcp_address().unwrap_or(rtp),
        };
        let Some(checks) = &mut self.checks else {
            return;
        };
        checks.handle(check, local, now);
        if !checks.outgoing.is_empty() {
            match port {
                Port::Rtp => {
                    self.transport.send(&checks.outgoing, from);
                    if checks.outgoing.starts_with(&SUCCESS) {
                        checks.trusted = Some(from);
                    }
                }
                Port::Rtcp => self.transport.send_rtcp(&checks.outgoing, from),
            }
        }
        if let Some(target) = checks.rtcp.as_ref().and_then(Mind::target) {
            self.rtcp_source = Some(target);
        }
    }

    /// Sends what the agents want sent, and tells what has gone wrong.
    pub(crate) fn find_way(&mut self) -> Option<Alarm> {
        let checks = self.checks.as_deref_mut()?;
        while let Some(to) = checks.rtp.transmit(&mut checks.outgoing) {
            self.transport.send(&checks.outgoing, to);
            if checks.outgoing.starts_with(&SUCCESS) {
                checks.trusted = Some(to);
            }
        }
        if let Some(rtcp) = &mut checks.rtcp {
            while let Some(to) = rtcp.transmit(&mut checks.outgoing) {
                self.transport.send_rtcp(&checks.outgoing, to);
            }
        }
        if let Some(target) = checks.target() {
            let held = checks.held.drain(..);
            held.for_each(|datagram| self.transport.send(&datagram, target));
        }
        checks.alarm()
    }
}

impl Sessions {
    /// Takes a STUN message that came to a port of a leg from an address.
    pub(crate) fn check(
        &mut self,
        key: usize,
        check: (Port, SocketAddr, &[u8]),
        now: u64,
        deliver: &dyn Fn(Event),
    ) {
        let at = self.instant(now);
        self.legs[key].check(check, at);
        self.attend(key, now, deliver);
    }
}

/// Datagrams of one flight of a handshake that are kept.
const FLIGHT: usize = 8;

/// How the answer to a valid check begins.
///
/// # Source
/// RFC 8489 §5: the success response of the method Binding.
const SUCCESS: [u8; 2] = [0x01, 0x01];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HERE: &str = "192.0.2.1:4000";
    const THERE: &str = "192.0.2.2:5000";

    fn place(rtcp: Option<&str>) -> Place {
        Place {
            rtp: HERE.parse().unwrap(),
            rtcp: rtcp.map(|at| at.parse().unwrap()),
            leg: 7,
        }
    }

    fn credentials(byte: u8) -> Credentials {
        Credentials::mint(byte.into(), [byte; 24])
    }

    fn full(byte: u8) -> Ice {
        let candidates = [
            "1 1 udp 9 192.0.2.2 5000 typ host",
            "1 2 udp 8 192.0.2.2 5001 typ host",
        ];
        Ice {
            local: credentials(byte),
            peer: Some(Box::new(IcePeer {
                credentials: credentials(byte + 1),
                lite: true,
                controlling: true,
                candidates: candidates
                    .map(|line| Candidate::parse(line).unwrap())
                    .into(),
            })),
        }
    }

    /// Lets the checks and a lite party with these credentials talk until there is a way.
    fn meet(checks: &mut Checks, peer: &mut Lite, mut now: Instant) -> Instant {
        let (here, there) = (HERE.parse().unwrap(), THERE.parse().unwrap());
        for _ in 0..40 {
            checks.wake(now);
            let mut datagram = Vec::new();
            while let Some(to) = checks.rtp.transmit(&mut datagram) {
                assert_eq!(to, there);
                let mut answer = Vec::new();
                peer.handle(now, &datagram, here, there, &mut answer);
                checks.handle((Port::Rtp, there, &answer), here, now);
            }
            now += Duration::from_millis(50);
        }
        now
    }

    #[test]
    fn rfc7675_5_1_without_consent_nothing_is_sent_and_it_is_told() {
        let (start, mut place_of) = (Instant::now(), None);
        Checks::agree(&mut place_of, Some(full(1)), place(None), [1; 32], start);
        let mut checks = place_of.unwrap();
        assert_eq!((checks.target(), checks.alarm()), (None, None));
        let mut peer = Lite::new(credentials(2));
        let now = meet(&mut checks, &mut peer, start);
        assert_eq!(
            (checks.target(), checks.alarm()),
            (Some(THERE.parse().unwrap()), None)
        );
        // It falls silent.
        for second in 0..30 {
            checks.wake(now + Duration::from_secs(second));
        }
        assert_eq!(
            (checks.target(), checks.alarm()),
            (None, Some(Alarm::NoConsent))
        );
        assert_eq!(checks.alarm(), None, "told once");
    }

    #[test]
    fn rfc7675_5_1_a_party_that_asks_no_more_is_told_of_where_we_are_lite() {
        let (now, mut checks) = (Instant::now(), None);
        Checks::agree(
            &mut checks,
            Some(Ice::lite(credentials(2))),
            place(None),
            [1; 32],
            now,
        );
        let (mut lite, mut peer) = (checks.unwrap(), None);
        Checks::agree(&mut peer, Some(full(1)), place(None), [1; 32], now);
        let mut full = peer.unwrap();
        let (here, there) = (HERE.parse().unwrap(), THERE.parse().unwrap());
        for step in 0..40 {
            let now = now + Duration::from_millis(50 * step);
            full.wake(now);
            let mut datagram = Vec::new();
            while full.rtp.transmit(&mut datagram).is_some() {
                lite.handle((Port::Rtp, here, &datagram), there, now);
                let answer = std::mem::take(&mut lite.outgoing);
                full.handle((Port::Rtp, there, &answer), here, now);
            }
        }
        assert_eq!(lite.target(), Some(here));
        lite.wake(lite.deadline().unwrap());
        assert_eq!(
            (lite.target(), lite.alarm()),
            (None, Some(Alarm::NoConsent))
        );
    }

    #[test]
    fn rfc8445_8_1_2_that_nobody_is_there_is_told() {
        let (start, mut checks) = (Instant::now(), None);
        Checks::agree(&mut checks, Some(full(1)), place(None), [1; 32], start);
        let mut checks = checks.unwrap();
        let mut datagram = Vec::new();
        for step in 0..1000 {
            checks.wake(start + Duration::from_millis(50 * step));
            while checks.rtp.transmit(&mut datagram).is_some() {}
        }
        assert_eq!(checks.alarm(), Some(Alarm::NoWay));
    }

    #[test]
    fn rfc8445_4_rtcp_on_its_own_port_has_a_way_of_its_own() {
        let (now, mut checks) = (Instant::now(), None);
        let both = place(Some("192.0.2.1:4001"));
        Checks::agree(&mut checks, Some(full(1)), both, [1; 32], now);
        let mut checks = checks.unwrap();
        checks.wake(now);
        let mut datagram = Vec::new();
        let to = checks.rtcp.as_mut().unwrap().transmit(&mut datagram);
        assert_eq!(to, Some("192.0.2.2:5001".parse().unwrap()));
        assert_eq!(checks.rtcp_target(), Some(None));
        // The party shares the port after all.
        let mut again = Some(checks);
        Checks::agree(&mut again, Some(full(1)), place(None), [1; 32], now);
        assert_eq!(again.unwrap().rtcp_target(), None);
    }

    #[test]
    fn what_waits_for_a_way_is_bounded() {
        let (start, mut checks) = (Instant::now(), None);
        Checks::agree(&mut checks, Some(full(1)), place(None), [1; 32], start);
        let mut checks = checks.unwrap();
        (0..100).for_each(|n| checks.hold(&[n]));
        assert_eq!(checks.held.len(), FLIGHT);
        assert_eq!(checks.held[0], [92]);
    }

    #[test]
    fn rfc8445_9_who_becomes_full_begins_anew() {
        let (now, mut checks) = (Instant::now(), None);
        Checks::agree(&mut checks, Some(full(1)), place(None), [1; 32], now);
        let mut peer = Lite::new(credentials(2));
        let now = meet(checks.as_mut().unwrap(), &mut peer, now);
        // Said again, nothing changes; with other credentials, media stay where they are.
        Checks::agree(&mut checks, Some(full(1)), place(None), [2; 32], now);
        Checks::agree(&mut checks, Some(full(3)), place(None), [2; 32], now);
        let there = Some(THERE.parse().unwrap());
        assert_eq!(checks.as_ref().unwrap().target(), there);
        Checks::agree(
            &mut checks,
            Some(Ice::lite(credentials(1))),
            place(None),
            [2; 32],
            now,
        );
        assert_eq!(checks.as_ref().unwrap().target(), None);
        Checks::agree(&mut checks, None, place(None), [2; 32], now);
        assert!(checks.is_none());
    }
}
