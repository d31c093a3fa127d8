//! Connectivity checks of a party that does ICE: where it is to be reached, whatever its SDP says.

use std::net::SocketAddr;
use std::time::Instant;

use ice::{Credentials, Lite};

use crate::leg::Leg;
use crate::sessions::Sessions;

/// The lite agent of one leg: we have a public address, or the party would not have been told one.
#[derive(Debug)]
pub(crate) struct Checks {
    agent: Lite,
    /// Room for the answer, kept so that none is made for each check.
    answer: Vec<u8>,
}

impl Checks {
    /// Puts what was agreed in `place`. Other credentials than before restart ICE: media go the old way
    /// until the party has chosen a new one.
    ///
    /// # Source
    /// RFC 8445 §9.
    pub(crate) fn agree(place: &mut Option<Box<Self>>, local: Option<Credentials>) {
        match (place, local) {
            (place, None) => *place = None,
            (Some(checks), Some(local)) => {
                if *checks.agent.local() != local {
                    checks.agent.restart(local);
                }
            }
            (place, Some(local)) => {
                *place = Some(Box::new(Self {
                    agent: Lite::new(local),
                    answer: Vec::new(),
                }));
            }
        }
    }

    /// Where the party wants its packets, while it consents.
    pub(crate) fn target(&self) -> Option<SocketAddr> {
        self.agent.selected().map(|pair| pair.remote)
    }
}

impl Leg {
    /// Takes a STUN message and answers it.
    ///
    /// # Source
    /// RFC 7983 §7, RFC 8445 §7.3.
    fn check(&mut self, from: SocketAddr, datagram: &[u8], now: Instant) {
        let local = SocketAddr::new(self.pair.ip, self.pair.port);
        let Some(checks) = &mut self.checks else {
            return;
        };
        checks.answer.clear();
        // What it tells is asked of it for each packet.
        let _ = checks
            .agent
            .handle(now, datagram, from, local, &mut checks.answer);
        if !checks.answer.is_empty() {
            self.pair.rtp.send_to(&checks.answer, from);
        }
    }

    /// Looks whether the party still consents.
    pub(crate) fn lapse(&mut self, now: Instant) {
        if let Some(checks) = &mut self.checks {
            // Silence is told to signalling by the session.
            let _ = checks.agent.wake(now);
        }
    }
}

impl Sessions {
    /// Takes a STUN message that came to the RTP port of a leg.
    pub(crate) fn check(&mut self, key: usize, from: SocketAddr, datagram: &[u8], now: u64) {
        let at = self.instant(now);
        self.legs[key].check(from, datagram, at);
    }
}
