//! Which protocol a datagram on a shared port belongs to.

/// The protocol of a datagram, told by its first two bytes.
///
/// # Source
/// RFC 7983 §7 (first byte), RFC 5761 §4 (RTCP packet types 192 to 223).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// RTP, or SRTP.
    Rtp,
    /// RTCP, or SRTCP.
    Rtcp,
    /// STUN: connectivity checks and keep-alives.
    Stun,
    /// DTLS.
    Dtls,
    /// Nothing that belongs on a media port.
    Other,
}

impl Kind {
    /// The protocol that `datagram` looks like. Its contents are not checked.
    #[must_use]
    pub const fn of(datagram: &[u8]) -> Self {
        match datagram {
            [0..=3, ..] => Self::Stun,
            [20..=63, ..] => Self::Dtls,
            [128..=191, 192..=223, ..] => Self::Rtcp,
            [128..=191, _, ..] => Self::Rtp,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7983 §7, RFC 5761 §4.
    #[test]
    fn the_first_bytes_tell_the_protocol() {
        assert_eq!(Kind::of(&[0x80, 0]), Kind::Rtp);
        assert_eq!(Kind::of(&[0x80, 0x80 | 101]), Kind::Rtp);
        for packet_type in [192, 200, 201, 203, 207, 223] {
            assert_eq!(Kind::of(&[0x81, packet_type]), Kind::Rtcp);
        }
        assert_eq!(Kind::of(&[0, 1]), Kind::Stun);
        assert_eq!(Kind::of(&[22, 0xfe]), Kind::Dtls);
        assert_eq!(Kind::of(b"OPTIONS"), Kind::Other);
        assert_eq!(Kind::of(&[0x80]), Kind::Other);
        assert_eq!(Kind::of(&[]), Kind::Other);
    }
}
