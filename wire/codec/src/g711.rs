//! G.711, a sample at a time. 8000 samples a second, one byte each.
//!
//! # Source
//! ITU-T G.711 tables 1a to 2b; the 14-bit and 13-bit values are scaled up to 16 bits.

/// A sample in µ-law (PCMU).
#[must_use]
pub const fn encode_mu(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = sample.unsigned_abs();
    let biased = if magnitude > MU_CLIP {
        MU_CLIP
    } else {
        magnitude
    } + MU_BIAS;
    // The bias puts the leading one of the smallest segment at bit 7.
    let segment = biased.ilog2() - 7;
    let step = (biased >> (segment + 3)) as u8 & 0x0f;
    !(sign | (segment as u8) << 4 | step)
}

/// A sample from µ-law.
#[must_use]
pub const fn decode_mu(code: u8) -> i16 {
    let code = !code;
    let segment = code >> 4 & 7;
    let biased = (((code & 0x0f) as u16) << 3 | MU_BIAS) << segment;
    let magnitude = (biased - MU_BIAS) as i16;
    if code & 0x80 != 0 {
        -magnitude
    } else {
        magnitude
    }
}

/// A sample in A-law (PCMA).
#[must_use]
pub const fn encode_a(sample: i16) -> u8 {
    let (magnitude, toggle) = match sample {
        0.. => (sample as u16, 0xd5),
        _ => (!sample as u16, 0x55),
    };
    let code = if magnitude < 256 {
        magnitude >> 4
    } else {
        let segment = magnitude.ilog2() - 7;
        (segment as u16) << 4 | magnitude >> (segment + 3) & 0x0f
    };
    code as u8 ^ toggle
}

/// A sample from A-law.
#[must_use]
pub const fn decode_a(code: u8) -> i16 {
    let code = code ^ 0x55;
    let step = ((code & 0x0f) as i16) << 4;
    let magnitude = match code >> 4 & 7 {
        0 => step + 8,
        segment => (step + 0x108) << (segment - 1),
    };
    if code & 0x80 != 0 {
        magnitude
    } else {
        -magnitude
    }
}

const MU_BIAS: u16 = 0x84;
/// The largest magnitude that the bias does not push past 15 bits.
const MU_CLIP: u16 = 32_635;

/// What each code of µ-law means.
pub(crate) static MU: [i16; 256] = table(true);

/// What each code of A-law means.
pub(crate) static A: [i16; 256] = table(false);

const fn table(mu: bool) -> [i16; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < table.len() {
        table[code] = match mu {
            true => decode_mu(code as u8),
            false => decode_a(code as u8),
        };
        code += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        assert_eq!(
            [0, 1000, -1000, 32767, -32768].map(encode_mu),
            [0xff, 0xce, 0x4e, 0x80, 0x00]
        );
        assert_eq!(
            [0xffu8, 0x7f, 0x80, 0x00].map(decode_mu),
            [0, 0, 32124, -32124]
        );
        assert_eq!(
            [0, -1, 32767, -32768].map(encode_a),
            [0xd5, 0x55, 0xaa, 0x2a]
        );
        assert_eq!(
            [0xd5u8, 0x55, 0xaa, 0x2a].map(decode_a),
            [8, -8, 32256, -32256]
        );
    }

    #[test]
    fn codes_survive_decoding_and_encoding() {
        for code in 0..=u8::MAX {
            assert_eq!(encode_a(decode_a(code)), code);
            // µ-law has two zeros; the negative one becomes the positive one.
            let expected = if code == 0x7f { 0xff } else { code };
            assert_eq!(encode_mu(decode_mu(code)), expected);
        }
    }

    #[test]
    fn the_error_stays_below_half_a_step() {
        for sample in i16::MIN..=i16::MAX {
            let magnitude = i32::from(sample).abs();
            for heard in [decode_mu(encode_mu(sample)), decode_a(encode_a(sample))] {
                let error = (i32::from(heard) - i32::from(sample)).abs();
                assert!(
                    error <= 16.max((magnitude + 132) / 32),
                    "{sample} became {heard}"
                );
            }
        }
    }

    #[test]
    fn the_digital_milliwatt_decodes_to_its_level() {
        // ITU-T G.711 table 5 and 6: a 1 kHz sine of 0 dBm0.
        let mu = [0x1e, 0x0b, 0x0b, 0x1e, 0x9e, 0x8b, 0x8b, 0x9e].map(decode_mu);
        let a = [0x34, 0x21, 0x21, 0x34, 0xb4, 0xa1, 0xa1, 0xb4].map(decode_a);
        for pcm in [mu, a] {
            let level = crate::tone::level(&pcm, 1000.0, 8000);
            assert!((level - crate::tone::ZERO_DBM0).abs() < 0.1, "{level}");
        }
    }
}
