//! What signalling wants of pictures.

use super::{Screen, VideoFormat};
use crate::convert::Own;
use crate::relay::Buffer;
use crate::room::RoomId;
use crate::sessions::Sessions;
use crate::{SessionId, Side};

impl Sessions {
    /// [`Command::Watch`](crate::Command::Watch).
    pub(crate) fn watch(
        &mut self,
        id: SessionId,
        place: (u8, Side),
        room: RoomId,
        format: VideoFormat,
        now: u64,
    ) {
        let Some(key) = self.leg_at(id, place) else {
            return;
        };
        if let Some(screen) = &mut self.legs[key].screen
            && self.mixers[screen.mixer].id == room
        {
            screen.format = format;
            return self.mixers[screen.mixer].turn_camera(screen);
        }
        self.look_away(key);
        let mixer = self.mixer(room, now);
        let (leg, mint) = (&mut self.legs[key], &mut self.mint);
        let own = leg
            .own
            .get_or_insert_with(|| Box::new(Own::minted(mint, now)));
        let screen = Screen::new(mixer, id, format, own, now);
        self.mixers[mixer].look_on(key, &screen);
        leg.screen = Some(Box::new(screen));
    }

    /// Takes a stream of pictures out of its room, if it is in one.
    pub(crate) fn look_away(&mut self, key: usize) {
        if let Some(screen) = self.legs[key].screen.take() {
            self.mixers[screen.mixer].look_away(key, &screen);
            self.close_if_over(screen.mixer);
        }
    }

    /// Shows all that is to be seen and has not been shown.
    pub(crate) fn show(&mut self, buffer: &mut Buffer, now: u64) {
        let mut more = true;
        while std::mem::take(&mut more) {
            for (_, mixer) in &mut self.mixers {
                more |= mixer.show(&mut self.legs, buffer, now);
            }
            self.flush_bundles(buffer);
        }
    }
}
