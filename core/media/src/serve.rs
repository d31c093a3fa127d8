//! A stream that we serve: what a party hears comes from us instead of the other party.

use rtp::{Arrival, HEADER_LEN, Header};

use crate::broadcast::{Broadcasts, Listener};
use crate::convert::Own;
use crate::encoder::{Manner, clock, ptime};
use crate::player::{Player, Turn};
use crate::sound::Library;
use crate::{Format, Payload, Source};

/// What a party is served with. The numbers of the stream are kept in its [`Own`], so that they go
/// on without a break when the source changes, or when the other party is heard again.
#[derive(Debug)]
pub(crate) struct Server {
    format: Format,
    mode: Mode,
    /// What its end is told with.
    number: u32,
}

#[derive(Debug)]
enum Mode {
    Silence,
    Echo,
    Play { player: Player, ticket: u64 },
    Music { listener: Listener, ticket: u64 },
}

/// What a turn of the clock brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tick {
    /// A packet of this length is to be sent; the next turn is in so many milliseconds.
    Packet(usize, u8),
    /// Nothing to send; the next turn is in so many milliseconds.
    Later(u8),
    /// The sound of this number is over.
    Finished(u32),
    /// The source is no longer the one that the turn was for.
    Gone,
}

impl Server {
    /// A server of `source` for a party that agreed to `payloads`. If it [makes sound](Self::plays) of its own, it
    /// wants turns of the clock, under `ticket`; its end is told with `number`.
    pub(crate) fn new(
        source: &Source,
        (format, payloads): (Format, &[Payload]),
        (number, ticket): (u32, u64),
        library: &Library,
        broadcasts: &mut Broadcasts,
    ) -> Self {
        let manner = Manner::wished(payloads, format).for_prompts();
        let mode = match source {
            Source::Echo => Mode::Echo,
            Source::Music => broadcasts
                .listen(manner)
                .map_or(Mode::Silence, |listener| Mode::Music { listener, ticket }),
            _ => Player::new(source, &manner, library)
                .map_or(Mode::Silence, |player| Mode::Play { player, ticket }),
        };
        Self {
            format,
            mode,
            number,
        }
    }

    /// False if it makes no sound of its own, or cannot be played.
    pub(crate) fn plays(&self) -> bool {
        matches!(self.mode, Mode::Play { .. } | Mode::Music { .. })
    }

    /// Whether what the party says comes back.
    pub(crate) fn echoes(&self) -> bool {
        matches!(self.mode, Mode::Echo)
    }

    /// Turns a received packet into the one to send back, in place; false if there is none.
    pub(crate) fn echo(
        &self,
        own: &mut Own,
        packet: &mut [u8],
        received: &Header,
        arrival: Arrival,
        now: u64,
    ) -> bool {
        self.echoes() && own.mirror(packet, received, arrival, clock(self.format.codec), now)
    }

    /// Writes the packet that is due into `packet`, if the stream still plays under `ticket`.
    pub(crate) fn tick(
        &mut self,
        ticket: u64,
        own: &mut Own,
        broadcasts: &mut Broadcasts,
        packet: &mut [u8],
        now: u64,
    ) -> Tick {
        let interval = ptime(self.format);
        let payload = &mut packet[HEADER_LEN..];
        let turn = match &mut self.mode {
            Mode::Play { player, ticket: t } if *t == ticket => player.next(payload),
            Mode::Music {
                listener,
                ticket: t,
            } if *t == ticket => broadcasts.next(listener, payload),
            _ => return Tick::Gone,
        };
        match turn {
            Turn::Wait => Tick::Later(interval),
            Turn::End => {
                self.mode = Mode::Silence;
                Tick::Finished(self.number)
            }
            Turn::Payload(len) => {
                let clock = clock(self.format.codec);
                if own.marker {
                    own.resume(clock, now);
                }
                let ticks = u32::from(interval) * clock;
                if len == 0 {
                    own.rest(ticks, now);
                    return Tick::Later(interval);
                }
                own.make(packet, self.format.payload_type, len, ticks, now);
                Tick::Packet(HEADER_LEN + len, interval)
            }
        }
    }

    /// Is told that the party misses so many of a hundred packets.
    pub(crate) fn expect_loss(&mut self, missed: u8) {
        match &mut self.mode {
            Mode::Play { player, .. } => player.expect_loss(missed),
            Mode::Music { listener, .. } => listener.expect_loss(missed),
            Mode::Silence | Mode::Echo => {}
        }
    }

    /// The turn of a stream that no one can hear yet.
    pub(crate) fn hold(&self, ticket: u64) -> Tick {
        match &self.mode {
            Mode::Play { ticket: t, .. } | Mode::Music { ticket: t, .. } if *t == ticket => {
                Tick::Later(ptime(self.format))
            }
            _ => Tick::Gone,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base::{Mint, Slot};
    use rtp::Packet;

    use super::*;
    use crate::Codec;

    const FORMAT: Format = Format {
        codec: Codec::Pcmu,
        payload_type: 0,
        ptime: 20,
    };

    fn own() -> Own {
        let token = Mint::new(Slot::new(0), [1; 32]).token();
        Own::new([7, 65_534, u32::MAX - 100], token, 0)
    }

    fn library() -> Library {
        Library::start(None, None).unwrap()
    }

    fn broadcasts() -> Broadcasts {
        Broadcasts::new(Arc::clone(library().radio()))
    }

    fn serve(own: &mut Own, source: &Source, ticket: u64) -> Server {
        own.marker = true;
        Server::new(
            source,
            (FORMAT, &[]),
            (0, ticket),
            &library(),
            &mut broadcasts(),
        )
    }

    fn tick(server: &mut Server, own: &mut Own, ticket: u64, now: u64) -> Header {
        let mut packet = [0; 2048];
        match server.tick(ticket, own, &mut broadcasts(), &mut packet, now) {
            Tick::Packet(len, 20) => Packet::parse(&packet[..len]).unwrap().header(),
            other => panic!("{other:?}"),
        }
    }

    fn echo(server: &Server, own: &mut Own, (sequence, ssrc): (u16, u32), now: u64) -> Header {
        let received = Header {
            sequence,
            timestamp: u32::from(sequence) * 160,
            ssrc,
            ..Header::default()
        };
        let mut packet = [0; 172];
        received.encode(&mut packet);
        assert!(server.echo(own, &mut packet, &received, Arrival::InOrder, now));
        Packet::parse(&packet).unwrap().header()
    }

    #[test]
    fn numbers_go_on_when_the_source_changes() {
        let mut own = own();
        let mut server = serve(&mut own, &Source::Tone(1004.0), 1);
        assert!(server.plays() && !server.echoes());
        let first = tick(&mut server, &mut own, 1, 0);
        assert_eq!((first.sequence, first.timestamp), (65_534, u32::MAX - 100));
        assert!(first.marker);
        let second = tick(&mut server, &mut own, 1, 20);
        assert_eq!((second.sequence, second.timestamp), (65_535, 59));
        assert!(!second.marker);

        // Half a second of silence, then echo, then another party echoed, then the tone again.
        let server = serve(&mut own, &Source::Echo, 2);
        assert!(server.echoes() && !server.plays());
        let third = echo(&server, &mut own, (500, 9), 540);
        assert_eq!(
            (third.sequence, third.timestamp, third.ssrc),
            (0, 219 + 4000, 7)
        );
        let fifth = echo(&server, &mut own, (502, 9), 580);
        assert_eq!((fifth.sequence, fifth.timestamp), (2, 4219 + 320));
        let fourth = echo(&server, &mut own, (501, 9), 581);
        assert_eq!((fourth.sequence, fourth.timestamp), (1, 4219 + 160));
        let sixth = echo(&server, &mut own, (40_000, 10), 600);
        assert_eq!((sixth.sequence, sixth.timestamp), (3, 4219 + 480));
        let mut server = serve(&mut own, &Source::Tone(1004.0), 3);
        let seventh = tick(&mut server, &mut own, 3, 620);
        assert_eq!((seventh.sequence, seventh.timestamp), (4, 4219 + 640));
        assert!(seventh.marker);
    }

    #[test]
    fn a_turn_for_an_earlier_source_is_void() {
        let mut own = own();
        let mut server = serve(&mut own, &Source::Tone(440.0), 2);
        assert_eq!(
            server.tick(1, &mut own, &mut broadcasts(), &mut [0; 2048], 0),
            Tick::Gone
        );
        let mut server = serve(&mut own, &Source::Silence, 3);
        assert!(!server.plays());
        assert_eq!(
            server.tick(2, &mut own, &mut broadcasts(), &mut [0; 2048], 0),
            Tick::Gone
        );
    }

    #[test]
    fn an_unknown_prompt_is_silent() {
        let prompt = Source::Prompt("farewell".into());
        assert!(!serve(&mut own(), &prompt, 1).plays());
    }
}
