//! DTLS and connectivity checks in the media path: who has something to do, and when.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::leg::News;
use crate::sessions::Sessions;
use crate::{Event, Insecurity, SessionId, Side};

/// When the handshakes and checks of legs want to be looked at: milliseconds and leg, once for each leg.
#[derive(Debug, Default)]
pub(crate) struct Alarms(BTreeSet<(u64, usize)>);

impl Alarms {
    /// Moves a leg's alarm from one time to another.
    pub(crate) fn set(&mut self, leg: usize, before: Option<u64>, after: Option<u64>) {
        if before != after {
            if let Some(at) = before {
                self.0.remove(&(at, leg));
            }
            self.0.extend(after.map(|at| (at, leg)));
        }
    }

    /// The time of the first one.
    pub(crate) fn first(&self) -> Option<u64> {
        self.0.first().map(|alarm| alarm.0)
    }

    /// The leg of the first one, if that is due.
    fn due(&self, now: u64) -> Option<usize> {
        self.0
            .first()
            .filter(|alarm| alarm.0 <= now)
            .map(|alarm| alarm.1)
    }
}

impl Sessions {
    /// Handles a datagram of DTLS that came to a leg's RTP port.
    pub(crate) fn dtls(
        &mut self,
        key: usize,
        from: SocketAddr,
        datagram: &[u8],
        now: u64,
        deliver: &dyn Fn(Event),
    ) {
        let at = self.instant(now);
        if self.legs[key].shake(from, datagram, at) {
            self.attend(key, now, deliver);
        }
    }

    /// Lets time pass for the handshakes and checks that wait for it.
    pub(crate) fn shake_hands(&mut self, now: u64, deliver: &dyn Fn(Event)) {
        // Each leg once, even if one should want to be looked at without end.
        for _ in 0..self.alarms.0.len() {
            let Some(key) = self.alarms.due(now) else {
                return;
            };
            let at = self.instant(now);
            let leg = &mut self.legs[key];
            if let Some(checks) = &mut leg.checks {
                checks.wake(at);
            }
            if let Some(endpoint) = leg.endpoint() {
                endpoint.handle_timeout(at);
            }
            self.attend(key, now, deliver);
        }
    }

    /// Does what the handshake and checks of a leg want done, tells what came of it, and sets the next alarm.
    pub(crate) fn attend(&mut self, key: usize, now: u64, deliver: &dyn Fn(Event)) {
        while let Some(news) = self.legs[key].converse() {
            if let Some(event) = self.tell(key, news) {
                deliver(event);
            }
        }
        let next = self.legs[key].deadline();
        // Rounded up, and never at once, so that nothing turns in circles.
        let next = next.map(|at| {
            let since = at.saturating_duration_since(self.epoch).as_millis() as u64;
            (since + 1).max(now + 1)
        });
        let before = std::mem::replace(&mut self.legs[key].alarm, next);
        self.alarms.set(key, before, next);
    }

    fn tell(&self, key: usize, news: News) -> Option<Event> {
        let session = self.legs[key].session?;
        let (stream, side) = self.place_of(session, key)?;
        Some(match news {
            News::Secured(profile) => Event::Secured {
                session,
                stream,
                side,
                profile,
            },
            News::Failed(error) => Event::SecurityFailed {
                session,
                stream,
                side,
                reason: Insecurity::Dtls(error),
            },
            News::Wrong(alarm) => Event::Alarm {
                session,
                stream,
                side,
                alarm,
            },
        })
    }

    /// The stream and side that a leg carries.
    pub(crate) fn place_of(&self, session: SessionId, key: usize) -> Option<(u8, Side)> {
        let streams = self.streams(session)?;
        let sides = [Side::Caller, Side::Callee];
        let places = (0..)
            .zip(streams)
            .flat_map(|(stream, legs)| sides.map(|side| (stream, side, legs[side.index()])));
        let mut found = places.filter(|place| place.2 == Some(key));
        found.next().map(|(stream, side, _)| (stream, side))
    }

    pub(crate) fn instant(&self, now: u64) -> Instant {
        self.epoch + Duration::from_millis(now)
    }
}
