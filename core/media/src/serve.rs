//! A stream that we serve: what the caller hears comes from us instead of another party.

use base::Token;
use rtp::{HEADER_LEN, Header};

use crate::encoder::{clock, ptime};
use crate::player::{Player, Turn};
use crate::report::Reporter;
use crate::{Format, Source};

/// The sending side of a served stream. SSRC, sequence numbers and timestamps go on without a
/// break when the source changes.
#[derive(Debug)]
pub(crate) struct Server {
    format: Format,
    mode: Mode,
    /// Of the next packet.
    header: Header,
    /// When the next packet is due if the stream is not interrupted, in milliseconds.
    due: u64,
    pub(crate) reporter: Reporter,
}

#[derive(Debug)]
enum Mode {
    Silence,
    Echo(Option<Offset>),
    Play { player: Player, ticket: u64 },
}

/// What turns the numbers of a received stream into ours.
#[derive(Clone, Copy, Debug)]
struct Offset {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
}

/// What a turn of the clock brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tick {
    /// A packet of this length is to be sent; the next turn is in so many milliseconds.
    Packet(usize, u8),
    /// Nothing to send; the next turn is in so many milliseconds.
    Later(u8),
    /// The prompt is over.
    Finished,
    /// The source is no longer the one that the turn was for.
    Gone,
}

impl Server {
    /// A silent server; `random` starts SSRC, sequence numbers and timestamps.
    pub(crate) fn new(format: Format, random: [u32; 3], cname: Token, now: u64) -> Self {
        let [ssrc, sequence, timestamp] = random;
        Self {
            format,
            mode: Mode::Silence,
            header: Header {
                payload_type: format.payload_type,
                marker: true,
                sequence: sequence as u16,
                timestamp,
                ssrc,
            },
            due: now,
            reporter: Reporter::new(ssrc, cname, clock(format.codec), now),
        }
    }

    /// Changes the source. True if it wants turns of the clock, under `ticket`; false if it makes
    /// no sound of its own, or cannot be played.
    pub(crate) fn serve(&mut self, source: &Source, format: Format, ticket: u64) -> bool {
        self.format = format;
        self.header.payload_type = format.payload_type;
        self.header.marker = true;
        self.reporter.clock = clock(format.codec);
        self.mode = match (source, Player::new(source, format)) {
            (Source::Echo, _) => Mode::Echo(None),
            (_, Some(player)) => Mode::Play { player, ticket },
            (_, None) => Mode::Silence,
        };
        matches!(self.mode, Mode::Play { .. })
    }

    /// Turns a received packet into the one to send back, in place; false if there is none.
    pub(crate) fn echo(&mut self, packet: &mut [u8], received: &Header, now: u64) -> bool {
        let Mode::Echo(offset) = self.mode else {
            return false;
        };
        let offset = match offset {
            Some(offset) if offset.ssrc == received.ssrc => offset,
            _ => {
                self.resume(now);
                Offset {
                    ssrc: received.ssrc,
                    sequence: self.header.sequence.wrapping_sub(received.sequence),
                    timestamp: self.header.timestamp.wrapping_sub(received.timestamp),
                }
            }
        };
        self.mode = Mode::Echo(Some(offset));
        let echo = Header {
            sequence: received.sequence.wrapping_add(offset.sequence),
            timestamp: received.timestamp.wrapping_add(offset.timestamp),
            ..self.header
        };
        echo.restamp(packet);
        // A late one moves nothing.
        if echo.sequence.wrapping_sub(self.header.sequence) < 1 << 15 {
            self.header.sequence = echo.sequence;
            self.header.timestamp = echo.timestamp;
            self.advance(now);
        }
        self.reporter
            .sent(packet.len() - HEADER_LEN, echo.timestamp, now);
        true
    }

    /// Writes the packet that is due into `packet`, if the stream still plays under `ticket`.
    pub(crate) fn tick(&mut self, ticket: u64, packet: &mut [u8], now: u64) -> Tick {
        let interval = ptime(self.format);
        let Mode::Play {
            player,
            ticket: ours,
        } = &mut self.mode
        else {
            return Tick::Gone;
        };
        if *ours != ticket {
            return Tick::Gone;
        }
        match player.next(&mut packet[HEADER_LEN..]) {
            Turn::Wait => Tick::Later(interval),
            Turn::End => {
                self.mode = Mode::Silence;
                Tick::Finished
            }
            Turn::Payload(len) => {
                if self.header.marker {
                    self.resume(now);
                }
                self.header.encode(packet);
                self.reporter.sent(len, self.header.timestamp, now);
                self.header.marker = false;
                self.advance(now);
                Tick::Packet(HEADER_LEN + len, interval)
            }
        }
    }

    /// The turn of a stream that no one can hear yet.
    pub(crate) fn hold(&self, ticket: u64) -> Tick {
        match &self.mode {
            Mode::Play { ticket: ours, .. } if *ours == ticket => Tick::Later(ptime(self.format)),
            _ => Tick::Gone,
        }
    }

    /// Moves the timestamp over the time in which nothing was sent.
    fn resume(&mut self, now: u64) {
        let silence = now.saturating_sub(self.due) as u32;
        let ticks = silence.wrapping_mul(clock(self.format.codec));
        self.header.timestamp = self.header.timestamp.wrapping_add(ticks);
    }

    /// Moves on to the next packet.
    fn advance(&mut self, now: u64) {
        let interval = ptime(self.format);
        let ticks = u32::from(interval) * clock(self.format.codec);
        self.header.sequence = self.header.sequence.wrapping_add(1);
        self.header.timestamp = self.header.timestamp.wrapping_add(ticks);
        self.due = now + u64::from(interval);
    }
}

#[cfg(test)]
mod tests {
    use base::{Mint, Slot};
    use rtp::Packet;

    use super::*;
    use crate::Codec;

    const FORMAT: Format = Format {
        codec: Codec::Pcmu,
        payload_type: 0,
        ptime: 20,
    };

    fn server() -> Server {
        let token = Mint::new(Slot::new(0), [1; 32]).token();
        Server::new(FORMAT, [7, 65_534, u32::MAX - 100], token, 0)
    }

    fn tick(server: &mut Server, ticket: u64, now: u64) -> Header {
        let mut packet = [0; 2048];
        match server.tick(ticket, &mut packet, now) {
            Tick::Packet(len, 20) => Packet::parse(&packet[..len]).unwrap().header(),
            other => panic!("{other:?}"),
        }
    }

    fn echo(server: &mut Server, sequence: u16, ssrc: u32, now: u64) -> Header {
        let received = Header {
            sequence,
            timestamp: u32::from(sequence) * 160,
            ssrc,
            ..Header::default()
        };
        let mut packet = [0; 172];
        received.encode(&mut packet);
        assert!(server.echo(&mut packet, &received, now));
        Packet::parse(&packet).unwrap().header()
    }

    #[test]
    fn numbers_go_on_when_the_source_changes() {
        let mut server = server();
        assert!(server.serve(&Source::Tone(1004.0), FORMAT, 1));
        let first = tick(&mut server, 1, 0);
        assert_eq!((first.sequence, first.timestamp), (65_534, u32::MAX - 100));
        assert!(first.marker);
        let second = tick(&mut server, 1, 20);
        assert_eq!((second.sequence, second.timestamp), (65_535, 59));
        assert!(!second.marker);

        // Half a second of silence, then echo, then another party echoed, then the tone again.
        assert!(!server.serve(&Source::Echo, FORMAT, 2));
        let third = echo(&mut server, 500, 9, 540);
        assert_eq!(
            (third.sequence, third.timestamp, third.ssrc),
            (0, 219 + 4000, 7)
        );
        let fifth = echo(&mut server, 502, 9, 580);
        assert_eq!((fifth.sequence, fifth.timestamp), (2, 4219 + 320));
        let fourth = echo(&mut server, 501, 9, 581);
        assert_eq!((fourth.sequence, fourth.timestamp), (1, 4219 + 160));
        let sixth = echo(&mut server, 40_000, 10, 600);
        assert_eq!((sixth.sequence, sixth.timestamp), (3, 4219 + 480));
        assert!(server.serve(&Source::Tone(1004.0), FORMAT, 3));
        let seventh = tick(&mut server, 3, 620);
        assert_eq!((seventh.sequence, seventh.timestamp), (4, 4219 + 640));
        assert!(seventh.marker);
    }

    #[test]
    fn a_turn_for_an_earlier_source_is_void() {
        let mut server = server();
        assert!(server.serve(&Source::Tone(1004.0), FORMAT, 1));
        assert!(server.serve(&Source::Tone(440.0), FORMAT, 2));
        assert_eq!(server.tick(1, &mut [0; 2048], 0), Tick::Gone);
        assert!(!server.serve(&Source::Silence, FORMAT, 3));
        assert_eq!(server.tick(2, &mut [0; 2048], 0), Tick::Gone);
    }

    #[test]
    fn an_unknown_prompt_is_silent() {
        assert!(!server().serve(&Source::Prompt("farewell".into()), FORMAT, 1));
    }
}
