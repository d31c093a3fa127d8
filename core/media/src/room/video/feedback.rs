//! What participants say of the pictures that they get.

use rtp::feedback::{self, Feedback};

use crate::relay::Buffer;
use crate::sessions::Sessions;
use crate::{SessionId, Side};

impl Sessions {
    /// [`Command::Wish`](crate::Command::Wish).
    pub(crate) fn wish(&mut self, id: SessionId, place: (u8, Side)) {
        let leg = self.leg_at(id, place).map(|key| &self.legs[key]);
        if let Some(screen) = leg.and_then(|leg| leg.screen.as_ref()) {
            self.mixers[screen.mixer].wish(screen);
        }
    }

    /// Reads the RTCP of a participant with pictures, `len` octets at the start of `buffer`, which is
    /// used up.
    pub(crate) fn hear_viewer(&mut self, key: usize, buffer: &mut Buffer, len: usize, now: u64) {
        let leg = &mut self.legs[key];
        let Some(screen) = &leg.screen else { return };
        let mixer = &mut self.mixers[screen.mixer];
        let (mut missing, mut count) = ([0; MOST_REPEATED], 0);
        for feedback in feedback::read(&buffer[..len]) {
            match feedback {
                Feedback::Keyframe => mixer.wish(screen),
                Feedback::Missing(numbers) => {
                    for (place, number) in missing[count..].iter_mut().zip(numbers) {
                        *place = number;
                        count += 1;
                    }
                }
                _ => {}
            }
        }
        for number in &missing[..count] {
            mixer.repeat(leg, *number, buffer, now);
        }
    }
}

/// Packets that one datagram of RTCP brings back; further ones stay lost.
const MOST_REPEATED: usize = 64;
