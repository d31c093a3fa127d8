//! What SDP says about a codec beyond its name.

use crate::Codec;

/// How to code one direction of a stream. An encoder takes what the *peer* wrote in its `a=fmtp`
/// line, because it says what the peer wishes to receive; a decoder takes what we wrote.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Parameters {
    /// Samples a second of the sound that goes in or comes out, where the codec leaves a choice:
    /// Opus takes 8, 12, 16, 24 and 48 kHz, and less is cheaper. Not in SDP.
    pub rate: Option<u32>,
    /// At most so many bits a second on average (`maxaveragebitrate` of Opus).
    pub bit_rate: Option<u32>,
    /// The highest sampling rate that the peer can play (`maxplaybackrate` of Opus).
    pub max_playback_rate: u32,
    /// The peer uses forward error correction inside the stream (`useinbandfec` of Opus).
    pub fec: bool,
    /// Silence need not be sent (`usedtx` of Opus).
    pub dtx: bool,
    /// A constant bit rate is wished (`cbr` of Opus).
    pub constant: bool,
    /// Share of packets lost on the way, in percent, against which redundancy is added if
    /// [`fec`](Self::fec) allows. Not in SDP: RTCP tells.
    pub loss: u8,
}

impl Default for Parameters {
    /// What holds where an `a=fmtp` line says nothing.
    fn default() -> Self {
        Self {
            rate: None,
            bit_rate: None,
            max_playback_rate: 48_000,
            fec: false,
            dtx: false,
            constant: false,
            loss: 0,
        }
    }
}

impl Parameters {
    /// Reads the value of `a=fmtp` after the payload type, as `codec` understands it. What is
    /// unknown or makes no sense is passed over, as if it had not been said.
    ///
    /// # Source
    /// RFC 8866 §6.15; RFC 7587 §6.1 for Opus
    #[must_use]
    pub fn from_fmtp(codec: Codec, fmtp: &str) -> Self {
        let mut parameters = Self::default();
        for pair in fmtp.split(';') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
            if codec == Codec::Opus {
                parameters.opus(&name, value);
            }
        }
        parameters
    }

    /// The value for our own `a=fmtp` line; empty if there is nothing to say.
    ///
    /// # Source
    /// RFC 7587 §6.1
    #[must_use]
    pub fn fmtp(&self, codec: Codec) -> String {
        let mut pairs = Vec::new();
        if codec == Codec::Opus {
            if self.max_playback_rate != 48_000 {
                pairs.push(format!("maxplaybackrate={}", self.max_playback_rate));
            }
            pairs.extend(self.bit_rate.map(|n| format!("maxaveragebitrate={n}")));
            let flags = [
                (self.fec, "useinbandfec=1"),
                (self.dtx, "usedtx=1"),
                (self.constant, "cbr=1"),
            ];
            pairs.extend(flags.iter().filter(|f| f.0).map(|f| f.1.to_owned()));
        }
        pairs.join(";")
    }

    fn opus(&mut self, name: &str, value: &str) {
        let number = value.parse::<u32>().ok();
        let flag = number == Some(1);
        match (name, number) {
            ("maxplaybackrate", Some(rate @ 8000..=48_000)) => self.max_playback_rate = rate,
            ("maxaveragebitrate", Some(rate @ 6000..=510_000)) => self.bit_rate = Some(rate),
            ("useinbandfec", _) => self.fec = flag,
            ("usedtx", _) => self.dtx = flag,
            ("cbr", _) => self.constant = flag,
            // `stereo` and `sprop-…`: we code mono, and decode either as mono.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7587 §6.1.
    #[test]
    fn rfc7587_6_1_parameters_of_opus() {
        let fmtp = " maxplaybackrate=16000; sprop-maxcapturerate=16000;\
                    maxaveragebitrate=20000; stereo=1; UseInbandFec=1; usedtx=1; cbr=0";
        let parameters = Parameters::from_fmtp(Codec::Opus, fmtp);
        let expected = Parameters {
            max_playback_rate: 16_000,
            bit_rate: Some(20_000),
            fec: true,
            dtx: true,
            ..Parameters::default()
        };
        assert_eq!(parameters, expected);
        let again = Parameters::from_fmtp(Codec::Opus, &parameters.fmtp(Codec::Opus));
        assert_eq!(again, expected);
    }

    #[test]
    fn nonsense_is_passed_over() {
        for fmtp in [
            "",
            ";;=",
            "maxplaybackrate=7",
            "maxaveragebitrate=-1",
            "0-16",
        ] {
            let parameters = Parameters::from_fmtp(Codec::Opus, fmtp);
            assert_eq!(parameters, Parameters::default());
        }
        let pcmu = Parameters::from_fmtp(Codec::Pcmu, "useinbandfec=1");
        assert_eq!(pcmu, Parameters::default());
        assert_eq!(pcmu.fmtp(Codec::Pcmu), "");
    }
}
