//! What can be seen of a picture without decoding it.

use super::VideoCodec;

/// What the payload of a packet begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Picture {
    /// A picture begins that can be shown without those before it.
    pub(super) keyframe: bool,
    /// Its number, where it is, and its bits: 7 or 15.
    pub(super) number: Option<(u16, usize, u8)>,
    /// The number of the last picture of the lowest temporal layer, and where it is.
    pub(super) base: Option<(u8, usize)>,
}

impl Picture {
    pub(super) fn of(codec: VideoCodec, payload: &[u8]) -> Self {
        match codec {
            VideoCodec::Vp8 => vp8(payload).unwrap_or_default(),
            VideoCodec::H264 => Self {
                keyframe: is_intra(payload).unwrap_or(false),
                ..Self::default()
            },
        }
    }
}

/// # Source
/// RFC 7741 §4.2 (the payload descriptor), §4.3 (the payload header)
fn vp8(payload: &[u8]) -> Option<Picture> {
    let first = *payload.first()?;
    let mut at = 1;
    let mut picture = Picture::default();
    if first & EXTENDED != 0 {
        let fields = *payload.get(at)?;
        at += 1;
        if fields & 0x80 != 0 {
            let high = *payload.get(at)?;
            if high & 0x80 == 0 {
                picture.number = Some((high.into(), at, 7));
                at += 1;
            } else {
                let low = *payload.get(at + 1)?;
                let number = u16::from_be_bytes([high & 0x7f, low]);
                picture.number = Some((number, at, 15));
                at += 2;
            }
        }
        if fields & 0x40 != 0 {
            picture.base = Some((*payload.get(at)?, at));
            at += 1;
        }
        if fields & 0x30 != 0 {
            at += 1;
        }
    }
    let begins = first & BEGINS != 0 && first & PARTITION == 0;
    picture.keyframe = begins && payload.get(at)? & INTER == 0;
    Some(picture)
}

/// Whether the parameters of a sequence, or a picture that needs no other one, begin in a packet.
///
/// # Source
/// RFC 6184 §5.3, §5.7.1 (STAP-A), §5.8 (FU-A)
fn is_intra(payload: &[u8]) -> Option<bool> {
    let kind = |octet: u8| octet & 0x1f;
    let stands_alone = |kind: u8| matches!(kind, IDR | PARAMETERS);
    Some(match kind(*payload.first()?) {
        STAP_A => {
            let mut rest = payload.get(1..)?;
            while let [high, low, unit, ..] = *rest {
                if stands_alone(kind(unit)) {
                    return Some(true);
                }
                let len = usize::from(u16::from_be_bytes([high, low]));
                rest = rest.get(2 + len..)?;
            }
            false
        }
        FU_A => {
            let head = *payload.get(1)?;
            head & 0x80 != 0 && stands_alone(kind(head))
        }
        single => stands_alone(single),
    })
}

/// Bits of the first octet of VP8's payload descriptor, and of its payload header.
const EXTENDED: u8 = 0x80;
const BEGINS: u8 = 0x10;
const PARTITION: u8 = 0x07;
const INTER: u8 = 0x01;
/// Kinds of H.264's units.
const IDR: u8 = 5;
const PARAMETERS: u8 = 7;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 7741 §4.2, §4.3.
    #[test]
    fn rfc7741_4_2_keyframes_and_numbers_of_pictures_are_found() {
        let vp8 = |payload: &[u8]| Picture::of(VideoCodec::Vp8, payload);
        assert!(vp8(&[0x10, 0x00]).keyframe);
        assert!(!vp8(&[0x10, 0x01]).keyframe);
        // Not its beginning.
        assert!(!vp8(&[0x00, 0x00]).keyframe);
        assert!(!vp8(&[0x11, 0x00]).keyframe);
        let whole = vp8(&[0x90, 0xf0, 0x81, 0x02, 0x07, 0x00, 0x00]);
        assert!(whole.keyframe);
        assert_eq!(whole.number, Some((0x102, 2, 15)));
        assert_eq!(whole.base, Some((7, 4)));
        let short = vp8(&[0x80, 0x80, 0x05, 0x00]);
        assert_eq!((short.number, short.keyframe), (Some((5, 2, 7)), false));
        assert_eq!(vp8(&[0x90, 0x80]), Picture::default());
    }

    /// RFC 6184 §5.3, §5.7.1, §5.8.
    #[test]
    fn rfc6184_5_3_keyframes_are_found_in_every_kind_of_packet() {
        let h264 = |payload: &[u8]| Picture::of(VideoCodec::H264, payload).keyframe;
        assert!(h264(&[0x67, 1, 2]) && h264(&[0x65, 1, 2]));
        assert!(!h264(&[0x41, 1, 2]) && !h264(&[0x68, 1]));
        // Parameters of pictures, then an IDR picture, in one packet.
        assert!(h264(&[0x78, 0, 2, 0x68, 9, 0, 2, 0x65, 9]));
        assert!(!h264(&[0x78, 0, 2, 0x68, 9, 0, 2, 0x41, 9]));
        assert!(!h264(&[0x78, 0, 200, 0x68, 9]));
        // The first fragment of one, and the next.
        assert!(h264(&[0x7c, 0x85, 1]));
        assert!(!h264(&[0x7c, 0x05, 1]) && !h264(&[0x7c]));
    }

    proptest! {
        #[test]
        fn anything_may_come(payload in prop::collection::vec(any::<u8>(), 0..64)) {
            for codec in [VideoCodec::Vp8, VideoCodec::H264] {
                let picture = Picture::of(codec, &payload);
                let places = [
                    picture.number.map(|(_, at, bits)| at + usize::from(bits / 8)),
                    picture.base.map(|(_, at)| at),
                ];
                prop_assert!(places.into_iter().flatten().all(|at| at < payload.len()));
            }
        }
    }
}
