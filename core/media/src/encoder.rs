//! What streams that we make are encoded with.

use codec::{Encoder, Parameters};

use crate::{Codec, Format, Payload, PayloadKind};

/// How sound becomes packets: what makes them the same for two who hear the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Manner {
    pub(crate) codec: Codec,
    pub(crate) parameters: Parameters,
    /// Milliseconds of a packet.
    pub(crate) ptime: u8,
}

impl Manner {
    /// As near to the packet length `wanted` as the codec comes.
    pub(crate) fn new(codec: Codec, parameters: Parameters, wanted: u8) -> Self {
        Self {
            codec,
            parameters,
            ptime: packet_time(codec, wanted),
        }
    }

    /// How a party that agreed to `payloads` wishes to hear `format`: with or without pauses,
    /// redundancy and whatever else its `a=fmtp` line says.
    pub(crate) fn wished(payloads: &[Payload], format: Format) -> Self {
        let wished = payloads.iter().find_map(|payload| match &payload.kind {
            PayloadKind::Codec(codec, parameters)
                if *codec == format.codec && payload.number == format.payload_type =>
            {
                Some(parameters.clone())
            }
            _ => None,
        });
        Self::new(format.codec, wished.unwrap_or_default(), format.ptime)
    }

    /// At a rate that we have prompts for: 8 or 16 kHz.
    pub(crate) fn for_prompts(mut self) -> Self {
        self.parameters.rate = Some(16_000);
        self
    }

    /// The same for one that misses so many of a hundred packets; `None` if that makes no difference. There are
    /// few steps, so that many hear the same although each misses other packets.
    ///
    /// # Source
    /// RFC 7587 §6.1: `useinbandfec`
    pub(crate) fn against(&self, missed: u8) -> Option<Self> {
        let now = self.parameters.loss;
        let enough = LOSSES.into_iter().find(|loss| missed <= *loss);
        let loss = enough.unwrap_or(LOSSES[LOSSES.len() - 1]);
        // Less is believed once it is much less, or the encoder would change with each report.
        let differs = loss > now || missed < now / 2 && loss < now;
        (self.parameters.fec && differs).then(|| {
            let mut manner = self.clone();
            manner.parameters.loss = loss;
            manner
        })
    }

    /// Ticks of the RTP clock in a packet.
    pub(crate) fn ticks(&self) -> u32 {
        clock(self.codec) * u32::from(self.ptime)
    }

    /// An encoder of prompts.
    ///
    /// # Errors
    /// Nothing can be encoded so.
    pub(crate) fn prompter(&self) -> Result<Encoder, codec::Error> {
        let encoder = Encoder::new(self.codec, &self.parameters)?;
        match encoder.sample_rate() {
            8000 | 16_000 => Ok(encoder),
            _ => Err(codec::Error::Parameters),
        }
    }
}

/// Ticks of the RTP clock in a millisecond.
pub(crate) fn clock(codec: Codec) -> u32 {
    codec.clock() / 1000
}

/// The packet length, in milliseconds, that comes nearest to what `format` wants.
pub(crate) fn ptime(format: Format) -> u8 {
    packet_time(format.codec, format.ptime)
}

/// The packet length, in milliseconds, that comes nearest to `wanted` and that the codec can make;
/// 20 or so if none is wanted.
pub(crate) fn packet_time(codec: Codec, wanted: u8) -> u8 {
    codec.ptime(if wanted == 0 { 20 } else { wanted })
}

/// Shares of lost packets that encoders are prepared for, in percent.
const LOSSES: [u8; 5] = [0, 3, 8, 15, 25];

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: Format = Format {
        codec: Codec::Opus,
        payload_type: 111,
        ptime: 20,
    };

    fn payload(number: u8, fmtp: &str) -> Payload {
        let parameters = Parameters::from_fmtp(Codec::Opus, fmtp);
        Payload {
            number,
            kind: PayloadKind::Codec(Codec::Opus, parameters),
            ptime: 20,
        }
    }

    /// RFC 7587 §6.1.
    #[test]
    fn rfc7587_6_1_what_a_party_prefers_holds_for_what_we_make() {
        let payloads = [payload(96, "cbr=1"), payload(111, "usedtx=1")];
        let manner = Manner::wished(&payloads, FORMAT);
        assert!(manner.parameters.dtx && !manner.parameters.constant);
        assert!(!Manner::wished(&[], FORMAT).parameters.dtx);
    }

    #[test]
    fn losses_come_in_steps_and_are_not_forgotten_at_once() {
        let mut manner = Manner::wished(&[payload(111, "useinbandfec=1")], FORMAT);
        let mut steps = Vec::new();
        for missed in [0, 1, 2, 7, 6, 4, 3, 100, 13, 11, 0] {
            manner = manner.against(missed).unwrap_or(manner);
            steps.push(manner.parameters.loss);
        }
        assert_eq!(steps, [0, 3, 3, 8, 8, 8, 3, 25, 25, 15, 0]);
        let plain = Manner::wished(&[payload(111, "")], FORMAT);
        assert_eq!(plain.against(20), None);
    }
}
