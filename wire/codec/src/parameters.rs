//! What SDP says about a codec beyond its name.

use crate::{Codec, ilbc};

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
    /// The lower one of two rates is wished (5.3 kbit/s of G.723.1, by `bitrate`).
    pub low_rate: bool,
    /// Frames of 20 ms are wished instead of 30 (`mode=20` of iLBC).
    pub short_frames: bool,
    /// The peer understands descriptions of silence: Annex B of G.729 (`annexb`), Annex A of
    /// G.723.1 (`annexa`). They are sent if [`dtx`](Self::dtx) is set as well.
    pub silence: bool,
    /// The octet-aligned format of AMR (`octet-align`).
    pub octet_aligned: bool,
    /// The modes of AMR that may be used, a bit each (`mode-set`).
    pub modes: u16,
    /// The mode of AMR may change with every other frame only (`mode-change-period=2`).
    pub every_other: bool,
    /// The mode of AMR may change to its neighbours only (`mode-change-neighbor`).
    pub neighbours: bool,
    /// Something is wished that we cannot do, such as interleaved AMR: there is no encoder or
    /// decoder for it.
    pub unsupported: bool,
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
            low_rate: false,
            short_frames: false,
            silence: true,
            octet_aligned: false,
            modes: u16::MAX,
            every_other: false,
            neighbours: false,
            unsupported: false,
            loss: 0,
        }
    }
}

impl Parameters {
    /// Reads the value of `a=fmtp` after the payload type, as `codec` understands it. What is
    /// unknown or makes no sense is passed over, as if it had not been said.
    ///
    /// # Source
    /// RFC 8866 §6.15; RFC 7587 §6.1 for Opus, RFC 4867 §8.1 for AMR, RFC 4856 §2.1.4 and §2.1.9 for
    /// G.723.1 and G.729, RFC 3952 §5 for iLBC
    #[must_use]
    pub fn from_fmtp(codec: Codec, fmtp: &str) -> Self {
        let mut parameters = Self::default();
        for pair in fmtp.split(';') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
            match codec {
                Codec::Opus => parameters.opus(&name, value),
                Codec::AmrNb | Codec::AmrWb => parameters.amr(&name, value),
                Codec::G729 if name == "annexb" => parameters.silence = !is_no(value),
                Codec::G7231 if name == "annexa" => parameters.silence = !is_no(value),
                Codec::G7231 if name == "bitrate" => parameters.low_rate = value == "5.3",
                Codec::Ilbc if name == "mode" => parameters.short_frames = value == "20",
                _ => {}
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
        let pairs = match codec {
            Codec::Opus => self.opus_pairs(),
            Codec::AmrNb | Codec::AmrWb => self.amr_pairs(codec),
            Codec::G729 if !self.silence => vec!["annexb=no".to_owned()],
            Codec::G7231 => {
                let rate = if self.low_rate { "5.3" } else { "6.3" };
                let silence = if self.silence { "yes" } else { "no" };
                vec![format!("bitrate={rate}"), format!("annexa={silence}")]
            }
            Codec::Ilbc if self.short_frames => vec!["mode=20".to_owned()],
            Codec::Ilbc => vec!["mode=30".to_owned()],
            _ => Vec::new(),
        };
        pairs.join(";")
    }

    /// Encodes at about `bits` a second, or less if the peer wishes so, where the codec leaves a choice.
    ///
    /// # Source
    /// TS 26.071 §4, TS 26.171 §4 for the rates of AMR
    pub fn limit_rate(&mut self, codec: Codec, bits: u32) {
        let mode = |rates: &[u32]| rates.iter().rposition(|rate| *rate <= bits).unwrap_or(0);
        let mode = match codec {
            Codec::Opus => {
                let bits = bits.clamp(6000, 510_000);
                self.bit_rate = Some(self.bit_rate.map_or(bits, |most| most.min(bits)));
                return;
            }
            Codec::G7231 => {
                self.low_rate |= bits < 6300;
                return;
            }
            Codec::AmrNb => mode(&[4750, 5150, 5900, 6700, 7400, 7950, 10_200, 12_200]),
            Codec::AmrWb => mode(&[
                6600, 8850, 12_650, 14_250, 15_850, 18_250, 19_850, 23_050, 23_850,
            ]),
            _ => return,
        };
        // The best mode up to this one that may be used; the lowest of all if none is so low.
        let allowed = self.modes & ((2 << mode) - 1);
        let lowest = self.modes & self.modes.wrapping_neg();
        self.modes = match allowed {
            0 => lowest,
            some => 1 << (u16::BITS - 1 - some.leading_zeros()),
        };
    }

    /// The length of iLBC's frames: 30 ms unless 20 are asked for.
    pub(crate) const fn ilbc_mode(&self) -> ilbc::Mode {
        match self.short_frames {
            true => ilbc::Mode::Ms20,
            false => ilbc::Mode::Ms30,
        }
    }

    fn opus_pairs(&self) -> Vec<String> {
        let mut pairs = Vec::new();
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
        pairs
    }

    fn amr_pairs(&self, codec: Codec) -> Vec<String> {
        let count = if codec == Codec::AmrWb { 9 } else { 8 };
        let modes: Vec<String> = (0..count)
            .filter(|n| self.modes & 1 << n != 0)
            .map(|n| n.to_string())
            .collect();
        let flags = [
            (self.octet_aligned, "octet-align=1".to_owned()),
            (modes.len() < count, format!("mode-set={}", modes.join(","))),
            (self.every_other, "mode-change-period=2".to_owned()),
            (self.neighbours, "mode-change-neighbor=1".to_owned()),
        ];
        flags.into_iter().filter(|f| f.0).map(|f| f.1).collect()
    }

    fn amr(&mut self, name: &str, value: &str) {
        let on = value == "1";
        match name {
            "octet-align" => self.octet_aligned = on,
            "mode-set" => {
                let modes = value
                    .split(',')
                    .filter_map(|n| n.trim().parse::<u32>().ok());
                self.modes = modes.filter(|n| *n < 9).fold(0, |set, n| set | 1 << n);
            }
            "mode-change-period" => self.every_other = value == "2",
            "mode-change-neighbor" => self.neighbours = on,
            "crc" | "robust-sorting" => self.unsupported |= on,
            "interleaving" => self.unsupported = true,
            // `mode-change-capability`, `max-red`: our encoder asks for neither.
            _ => {}
        }
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

fn is_no(value: &str) -> bool {
    value.trim_matches('"').eq_ignore_ascii_case("no")
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

    /// RFC 4867 §8.1.
    #[test]
    fn rfc4867_8_1_parameters_of_amr() {
        let fmtp = "mode-set=0,2,4,7; octet-align=1; mode-change-period=2;mode-change-neighbor=1";
        let parameters = Parameters::from_fmtp(Codec::AmrNb, fmtp);
        let expected = Parameters {
            modes: 0b1001_0101,
            octet_aligned: true,
            every_other: true,
            neighbours: true,
            ..Parameters::default()
        };
        assert_eq!(parameters, expected);
        let again = Parameters::from_fmtp(Codec::AmrNb, &parameters.fmtp(Codec::AmrNb));
        assert_eq!(again, expected);
        for fmtp in ["crc=1", "robust-sorting=1", "interleaving=30"] {
            assert!(Parameters::from_fmtp(Codec::AmrWb, fmtp).unsupported);
        }
        assert_eq!(Parameters::default().fmtp(Codec::AmrWb), "");
    }

    /// RFC 4856 §2.1.9.
    #[test]
    fn rfc4856_2_1_9_silence_of_g729() {
        assert!(Parameters::from_fmtp(Codec::G729, "").silence);
        let quiet = Parameters::from_fmtp(Codec::G729, "annexb=no");
        assert!(!quiet.silence);
        assert_eq!(quiet.fmtp(Codec::G729), "annexb=no");
    }

    /// RFC 4856 §2.1.4.
    #[test]
    fn rfc4856_2_1_4_rate_and_silence_of_g7231() {
        let parameters = Parameters::from_fmtp(Codec::G7231, "bitrate=5.3;annexa=no");
        assert!(parameters.low_rate && !parameters.silence);
        assert_eq!(parameters.fmtp(Codec::G7231), "bitrate=5.3;annexa=no");
    }

    /// RFC 3952 §5.
    #[test]
    fn rfc3952_5_mode_of_ilbc() {
        for (fmtp, ours) in [
            ("mode=20", "mode=20"),
            ("mode=30", "mode=30"),
            ("", "mode=30"),
        ] {
            let parameters = Parameters::from_fmtp(Codec::Ilbc, fmtp);
            assert_eq!(parameters.fmtp(Codec::Ilbc), ours);
        }
    }

    /// TS 26.071 §4: a rate picks the mode that comes nearest from below.
    #[test]
    fn a_bit_rate_is_kept_to() {
        let limited = |codec, fmtp, bits| {
            let mut parameters = Parameters::from_fmtp(codec, fmtp);
            parameters.limit_rate(codec, bits);
            parameters
        };
        assert_eq!(limited(Codec::AmrNb, "", 7400).modes, 1 << 4);
        assert_eq!(limited(Codec::AmrNb, "", 1).modes, 1);
        assert_eq!(limited(Codec::AmrNb, "mode-set=2,7", 7400).modes, 1 << 2);
        assert_eq!(limited(Codec::AmrNb, "mode-set=5,7", 4750).modes, 1 << 5);
        assert_eq!(limited(Codec::AmrWb, "", 99_999).modes, 1 << 8);
        let fmtp = "maxaveragebitrate=20000";
        assert_eq!(limited(Codec::Opus, "", 64_000).bit_rate, Some(64_000));
        assert_eq!(limited(Codec::Opus, fmtp, 64_000).bit_rate, Some(20_000));
        assert!(limited(Codec::G7231, "bitrate=6.3", 5300).low_rate);
        let pcmu = limited(Codec::Pcmu, "", 1);
        assert_eq!(pcmu, Parameters::default());
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
