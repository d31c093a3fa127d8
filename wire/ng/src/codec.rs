//! A codec as lists of codecs name it.

/// `NAME/CLOCK/CHANNELS/BIT-RATE/PTIME/FMTP/OPTIONS`, of which all but the name may be left out. In the `fmtp`
/// part `--` may stand for `=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodecSpec<'a> {
    /// As in `a=rtpmap`; or `all`, `full` and their like.
    pub name: &'a str,
    /// The RTP clock in hertz, and the channels: one, if only the clock is named.
    pub clock: Option<(u32, u8)>,
    /// Bits a second.
    pub bit_rate: Option<u32>,
    /// Milliseconds of a packet.
    pub ptime: Option<u8>,
    /// What stands in `a=fmtp`; empty: nothing is said of it.
    pub fmtp: Box<str>,
}

impl<'a> CodecSpec<'a> {
    /// Reads an entry of a list. What makes no sense is passed over.
    #[must_use]
    pub fn parse(text: &'a str) -> Self {
        let mut parts = text.splitn(7, '/');
        let name = parts.next().unwrap_or_default();
        let mut number = || parts.next()?.parse::<u32>().ok().filter(|n| *n > 0);
        let (clock, channels, bit_rate, ptime) = (number(), number(), number(), number());
        let channels = channels.and_then(|n| u8::try_from(n).ok()).unwrap_or(1);
        Self {
            name,
            clock: clock.map(|clock| (clock, channels)),
            bit_rate,
            ptime: ptime.and_then(|ms| u8::try_from(ms).ok()),
            fmtp: parts.next().unwrap_or_default().replace("--", "=").into(),
        }
    }

    /// Whether this codec is meant: it has another clock or other channels only if none are named.
    #[must_use]
    pub fn is(&self, name: &str, clock: (u32, u8)) -> bool {
        self.name.eq_ignore_ascii_case(name) && self.clock.is_none_or(|ours| ours == clock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_the_name_may_be_missing() {
        let plain = CodecSpec::parse("PCMA");
        assert!(plain.is("pcma", (8000, 1)) && plain.is("PCMA", (16_000, 2)));
        assert_eq!(
            (plain.bit_rate, plain.ptime, &*plain.fmtp),
            (None, None, "")
        );
        let mono = CodecSpec::parse("opus/48000");
        assert!(mono.is("opus", (48_000, 1)) && !mono.is("opus", (48_000, 2)));
        let whole = CodecSpec::parse("opus/48000/2/16000/40/useinbandfec--1;cbr=1/level=2");
        assert_eq!(whole.clock, Some((48_000, 2)));
        assert_eq!((whole.bit_rate, whole.ptime), (Some(16_000), Some(40)));
        assert_eq!(&*whole.fmtp, "useinbandfec=1;cbr=1");
        assert_eq!(&*CodecSpec::parse("iLBC/8000/1///mode=30").fmtp, "mode=30");
        let odd = CodecSpec::parse("/x/999/-1/4000");
        assert_eq!((odd.name, odd.clock, odd.ptime), ("", None, None));
    }
}
