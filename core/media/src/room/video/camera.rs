//! A participant's pictures, as they come: what is asked of it.

/// What is known of the pictures that a participant sends.
#[derive(Debug, Default)]
pub(super) struct Camera {
    /// Somebody sees them.
    on_stage: bool,
    /// Wishes for keyframes that have been noticed.
    wishes: u32,
    /// A keyframe is wanted and has not come yet.
    wanted: bool,
    /// When it was asked for last, in milliseconds, and how often in vain.
    asked: Option<u64>,
    tries: u8,
    /// Requests so far.
    pub(super) requests: u8,
    /// The highest sequence number that has come.
    highest: Option<u16>,
}

impl Camera {
    /// Notes a packet; returns how many packets are missing before it, and the first of them.
    pub(super) fn note(&mut self, sequence: u16, keyframe: bool) -> Option<(u16, u16)> {
        self.wanted &= !keyframe;
        let highest = self.highest.unwrap_or(sequence.wrapping_sub(1));
        let ahead = sequence.wrapping_sub(highest);
        match ahead {
            0 => None,
            1..=MOST_MISSING => {
                self.highest = Some(sequence);
                (ahead > 1).then_some((highest.wrapping_add(1), ahead - 1))
            }
            // So many are not repeated any more.
            _ if ahead < 1 << 15 || highest.wrapping_sub(sequence) > MOST_LATE => {
                self.highest = Some(sequence);
                None
            }
            _ => None,
        }
    }

    /// Whether a keyframe is to be asked for now. `wishes` is how often one has been wanted; none:
    /// nobody sees the participant.
    pub(super) fn asks(&mut self, wishes: Option<u32>, now: u64) -> bool {
        let Some(wishes) = wishes else {
            (self.on_stage, self.wanted) = (false, false);
            return false;
        };
        let fresh = !std::mem::replace(&mut self.on_stage, true);
        if std::mem::replace(&mut self.wishes, wishes) != wishes || fresh {
            (self.wanted, self.tries) = (true, 0);
        }
        let early = self.asked.is_some_and(|at| now < at + INTERVAL_MS);
        if !self.wanted || early || self.tries >= MOST_TRIES {
            return false;
        }
        self.asked = Some(now);
        self.tries += 1;
        self.requests = self.requests.wrapping_add(1);
        true
    }
}

/// How often one participant is asked for a keyframe, in milliseconds, however many want it: each
/// costs as much as ten other pictures.
const INTERVAL_MS: u64 = 400;
/// How often it is asked before we give up until somebody wants one again.
const MOST_TRIES: u8 = 15;
/// Packets that are asked for once more: those that one request names, and the next.
const MOST_MISSING: u16 = 18;
/// How far behind a packet may come without being the first of another stream.
const MOST_LATE: u16 = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyframe_is_asked_for_until_it_comes() {
        let mut camera = Camera::default();
        assert!(!camera.asks(None, 0));
        assert!(camera.asks(Some(0), 1000));
        assert!(!camera.asks(Some(0), 1399));
        assert!(camera.asks(Some(0), 1400));
        camera.note(1, true);
        assert!(!camera.asks(Some(0), 5000));
        // Two want another one: that is one request, and not at once again.
        assert!(camera.asks(Some(2), 5020));
        camera.note(2, true);
        assert!(!camera.asks(Some(3), 5040));
        assert!(camera.asks(Some(3), 5420));
        // Who does not answer is left alone.
        let asked = (0..100).filter(|n| camera.asks(Some(3), 10_000 + n * 400));
        assert_eq!(asked.count(), usize::from(MOST_TRIES) - 1);
        // Who comes back is asked.
        assert!(!camera.asks(None, 60_000));
        assert!(camera.asks(Some(3), 60_020));
    }

    #[test]
    fn gaps_are_noticed_once() {
        let mut camera = Camera::default();
        assert_eq!(camera.note(65_534, false), None);
        assert_eq!(camera.note(65_535, false), None);
        assert_eq!(camera.note(2, false), Some((0, 2)));
        assert_eq!(camera.note(1, false), None);
        assert_eq!(camera.note(2, false), None);
        assert_eq!(camera.note(3, false), None);
        // Too many, and a stream that begins anew.
        assert_eq!(camera.note(100, false), None);
        assert_eq!(camera.note(40_000, false), None);
        assert_eq!(camera.note(40_002, false), Some((40_001, 1)));
    }
}
