//! How frames of AMR lie in an RTP packet.
//!
//! # Source
//! RFC 4867 §4.3 (bandwidth-efficient), §4.4 (octet-aligned)

use super::Band;
use crate::Error;

/// The format that was agreed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Narrowband or wideband.
    pub band: Band,
    /// Each part begins at an octet (`octet-align=1`); otherwise bits follow upon bits.
    pub octet_aligned: bool,
}

/// One frame, unpacked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame {
    /// The mode of speech, or another type.
    pub frame_type: u8,
    /// False: the sender got it damaged.
    pub good: bool,
    /// Its bits, the first one highest; those after the last are 0.
    bits: [u8; MAX_FRAME],
    len: usize,
}

impl Frame {
    /// A frame of `band` with these bits.
    ///
    /// # Errors
    /// There is no such type, or its length is another.
    pub fn new(band: Band, frame_type: u8, bits: &[u8]) -> Result<Self, Error> {
        let len = band.bits(frame_type).ok_or(Error::Damaged)?.div_ceil(8);
        let mut frame = Self {
            frame_type,
            good: true,
            bits: [0; MAX_FRAME],
            len,
        };
        match bits.len() == len {
            true => frame.bits[..len].copy_from_slice(bits),
            false => return Err(Error::Damaged),
        }
        Ok(frame)
    }

    /// Its bits in whole octets.
    #[must_use]
    pub fn bits(&self) -> &[u8] {
        &self.bits[..self.len]
    }
}

/// What a packet holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Payload {
    /// The mode that the sender asks us to send from now on, if it asks.
    pub request: Option<u8>,
    frames: [Option<Frame>; MAX_FRAMES],
}

impl Payload {
    /// The frames in order of time.
    pub fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.frames.iter().flatten()
    }
}

impl Layout {
    /// Unpacks a packet.
    ///
    /// # Errors
    /// It is shorter than its table of contents says, has a reserved frame type, or more than
    /// six frames.
    pub fn parse(self, payload: &[u8]) -> Result<Payload, Error> {
        let mut reader = Reader {
            bytes: payload,
            at: 0,
        };
        let request = reader.take(4)? as u8;
        self.skip_padding(&mut reader)?;
        let mut frames = [None; MAX_FRAMES];
        let mut count = 0;
        loop {
            let entry = reader.take(6)?;
            self.skip_padding(&mut reader)?;
            let frame_type = (entry >> 1 & 0xf) as u8;
            let len = self
                .band
                .bits(frame_type)
                .ok_or(Error::Damaged)?
                .div_ceil(8);
            *frames.get_mut(count).ok_or(Error::Damaged)? = Some(Frame {
                frame_type,
                good: entry & 1 != 0,
                bits: [0; MAX_FRAME],
                len,
            });
            count += 1;
            if entry & 1 << 5 == 0 {
                break;
            }
        }
        for frame in frames.iter_mut().flatten() {
            let bits = self.band.bits(frame.frame_type).unwrap_or(0);
            reader.copy(bits, &mut frame.bits)?;
            self.skip_padding(&mut reader)?;
        }
        // RFC 4867 §4.3.1: a request for what is no mode is none.
        let request = Some(request).filter(|mode| *mode < self.band.silence());
        Ok(Payload { request, frames })
    }

    /// Packs `frames` behind a `request` into the start of `out` and returns how many bytes that
    /// is.
    ///
    /// # Errors
    /// There is no frame, there are more than six, or `out` is too small.
    pub fn encode(
        self,
        request: Option<u8>,
        frames: &[Frame],
        out: &mut [u8],
    ) -> Result<usize, Error> {
        if !(1..=MAX_FRAMES).contains(&frames.len()) {
            return Err(Error::Parameters);
        }
        let mut writer = Writer { bytes: out, at: 0 };
        writer.put(request.unwrap_or(NO_REQUEST).into(), 4)?;
        self.pad(&mut writer)?;
        for (n, frame) in frames.iter().enumerate() {
            let more = u32::from(n + 1 < frames.len());
            let entry = more << 5 | u32::from(frame.frame_type) << 1 | u32::from(frame.good);
            writer.put(entry, 6)?;
            self.pad(&mut writer)?;
        }
        for frame in frames {
            let bits = self.band.bits(frame.frame_type).unwrap_or(0);
            for (n, byte) in frame.bits().iter().enumerate() {
                let width = (bits - 8 * n).min(8);
                writer.put(u32::from(byte >> (8 - width)), width)?;
            }
            self.pad(&mut writer)?;
        }
        Ok(writer.at.div_ceil(8))
    }

    fn skip_padding(self, reader: &mut Reader<'_>) -> Result<(), Error> {
        if self.octet_aligned {
            reader.take(reader.at.next_multiple_of(8) - reader.at)?;
        }
        Ok(())
    }

    fn pad(self, writer: &mut Writer<'_>) -> Result<(), Error> {
        if self.octet_aligned {
            writer.put(0, writer.at.next_multiple_of(8) - writer.at)?;
        }
        Ok(())
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    /// The next bit.
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Result<u32, Error> {
        let mut value = 0;
        for at in self.at..self.at + count {
            let byte = self.bytes.get(at / 8).ok_or(Error::Damaged)?;
            value = value << 1 | u32::from(byte >> (7 - at % 8) & 1);
        }
        self.at += count;
        Ok(value)
    }

    /// Copies bits into the start of `out`.
    fn copy(&mut self, count: usize, out: &mut [u8]) -> Result<(), Error> {
        for (n, byte) in out[..count.div_ceil(8)].iter_mut().enumerate() {
            let width = (count - 8 * n).min(8);
            *byte = (self.take(width)? << (8 - width)) as u8;
        }
        Ok(())
    }
}

struct Writer<'a> {
    bytes: &'a mut [u8],
    /// The next bit.
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, value: u32, count: usize) -> Result<(), Error> {
        for n in (0..count).rev() {
            let byte = self.bytes.get_mut(self.at / 8).ok_or(Error::Parameters)?;
            if self.at.is_multiple_of(8) {
                *byte = 0;
            }
            *byte |= ((value >> n & 1) as u8) << (7 - self.at % 8);
            self.at += 1;
        }
        Ok(())
    }
}

/// 120 ms.
pub(super) const MAX_FRAMES: usize = 6;
/// 23.85 kbit/s.
const MAX_FRAME: usize = 60;
const NO_REQUEST: u8 = 15;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::amr::{LOST, NO_DATA};

    fn layout(band: Band, octet_aligned: bool) -> Layout {
        Layout {
            band,
            octet_aligned,
        }
    }

    /// Bits that differ everywhere, as many as the type has.
    fn frame(band: Band, frame_type: u8, seed: u8) -> Frame {
        let bits = band.bits(frame_type).unwrap();
        let mut bytes: Vec<u8> = (0..bits.div_ceil(8))
            .map(|n| (n as u8).wrapping_mul(37) ^ seed)
            .collect();
        if let (Some(last), rest @ 1..) = (bytes.last_mut(), bits % 8) {
            *last &= 0xff << (8 - rest);
        }
        Frame::new(band, frame_type, &bytes).unwrap()
    }

    /// RFC 4867 §4.3.5.1: one frame of 5.9 kbit/s without a request.
    #[test]
    fn rfc4867_4_3_5_1_a_single_frame_in_few_bits() {
        let sent = frame(Band::Narrow, 2, 0xa5);
        let mut out = [0xff; 32];
        let len = layout(Band::Narrow, false).encode(None, &[sent], &mut out);
        // 4 bits of request, 6 of contents, 118 of speech: 16 octets without padding.
        assert_eq!(len, Ok(16));
        assert_eq!(out[0], 0b1111_0001);
        assert_eq!(out[1] >> 6, 0b01);
        assert_eq!(out[1] & 0x3f, sent.bits()[0] >> 2);
    }

    /// RFC 4867 §4.3.5.2: AMR-WB, a request for mode 8, one frame of mode 0 that is good.
    #[test]
    fn rfc4867_4_3_5_2_a_request_goes_first() {
        let sent = frame(Band::Wide, 0, 1);
        let mut out = [0; 32];
        let len = layout(Band::Wide, false).encode(Some(8), &[sent], &mut out);
        assert_eq!(len, Ok(18));
        assert_eq!(out[0], 0b1000_0000);
        let parsed = layout(Band::Wide, false).parse(&out[..18]).unwrap();
        assert_eq!(parsed.request, Some(8));
    }

    /// RFC 4867 §4.4.5.1: two frames, each part at an octet.
    #[test]
    fn rfc4867_4_4_5_1_parts_begin_at_octets() {
        let sent = [frame(Band::Narrow, 1, 3), frame(Band::Narrow, 5, 4)];
        let mut out = [0xff; 64];
        let len = layout(Band::Narrow, true).encode(Some(6), &sent, &mut out);
        assert_eq!(len, Ok(3 + 13 + 20));
        assert_eq!(out[..3], [0x60, 0x80 | 1 << 3 | 4, 5 << 3 | 4]);
        assert_eq!(&out[3..16], sent[0].bits());
        assert_eq!(&out[16..36], sent[1].bits());
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        for band in [Band::Narrow, Band::Wide] {
            let types = (0..16).filter(|t| band.bits(*t).is_some());
            let all: Vec<Frame> = types.map(|t| frame(band, t, t)).collect();
            for octet_aligned in [false, true] {
                let layout = layout(band, octet_aligned);
                for frames in all.chunks(MAX_FRAMES) {
                    let mut out = [0xff; 400];
                    let len = layout.encode(Some(3), frames, &mut out).unwrap();
                    let parsed = layout.parse(&out[..len]).unwrap();
                    assert_eq!(parsed.request, Some(3));
                    assert!(parsed.frames().eq(frames));
                    assert!(layout.parse(&out[..len - 1]).is_err());
                }
            }
        }
    }

    /// RFC 4867 §4.3.2.
    #[test]
    fn rfc4867_4_3_2_reserved_types_are_refused() {
        for frame_type in 9..=14u8 {
            let payload = [
                0xf0 | frame_type >> 1,
                frame_type << 7 | 0x40,
                0,
                0,
                0,
                0,
                0,
            ];
            let result = layout(Band::Narrow, false).parse(&payload);
            assert_eq!(result, Err(Error::Damaged), "{frame_type}");
        }
        assert_eq!(Band::Wide.bits(13), None);
        assert_eq!(Band::Wide.bits(LOST), Some(0));
        let payload = [0xf0 | NO_DATA >> 1, 0xc0];
        let parsed = layout(Band::Narrow, false).parse(&payload).unwrap();
        assert_eq!(parsed.request, None);
        assert_eq!(parsed.frames().count(), 1);
    }

    proptest! {
        #[test]
        fn any_payload_parses_or_fails(payload in prop::collection::vec(any::<u8>(), 0..400)) {
            for band in [Band::Narrow, Band::Wide] {
                for octet_aligned in [false, true] {
                    let layout = layout(band, octet_aligned);
                    if let Ok(parsed) = layout.parse(&payload) {
                        let frames: Vec<Frame> = parsed.frames().copied().collect();
                        let mut out = [0; 400];
                        let len = layout.encode(parsed.request, &frames, &mut out).unwrap();
                        prop_assert_eq!(layout.parse(&out[..len]), Ok(parsed));
                    }
                }
            }
        }
    }
}
