//! Samples of 16 bits in network byte order.
//!
//! # Source
//! RFC 3551 §4.5.11

/// Writes `pcm` into the start of `out`, each sample once for each of `channels`, and returns how
/// many bytes that is. What `out` has no space for is left out.
pub fn encode(pcm: &[i16], channels: u8, out: &mut [u8]) -> usize {
    let width = 2 * usize::from(channels.max(1));
    for (bytes, sample) in out.chunks_exact_mut(width).zip(pcm) {
        let (words, _) = bytes.as_chunks_mut::<2>();
        words.fill(sample.to_be_bytes());
    }
    pcm.len().min(out.len() / width) * width
}

/// Reads `bytes` of `channels`, of which each sample is the mean, into the start of `pcm` and
/// returns how many samples that is. A last piece that is no whole sample is left out, and so is
/// what `pcm` has no space for.
pub fn decode(bytes: &[u8], channels: u8, pcm: &mut [i16]) -> usize {
    let channels = usize::from(channels.max(1));
    let samples = bytes.chunks_exact(2 * channels);
    let count = samples.len().min(pcm.len());
    for (sample, bytes) in pcm.iter_mut().zip(samples) {
        let (words, _) = bytes.as_chunks::<2>();
        let sum: i32 = words
            .iter()
            .map(|w| i32::from(i16::from_be_bytes(*w)))
            .sum();
        *sample = (sum / channels as i32) as i16;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3551 §4.5.11.
    #[test]
    fn rfc3551_4_5_11_network_byte_order() {
        let mut bytes = [0; 8];
        assert_eq!(encode(&[1, -2], 2, &mut bytes), 8);
        assert_eq!(bytes, [0, 1, 0, 1, 0xff, 0xfe, 0xff, 0xfe]);
        let mut pcm = [0; 4];
        assert_eq!(decode(&bytes, 2, &mut pcm), 2);
        assert_eq!(decode(&bytes, 1, &mut pcm), 4);
        assert_eq!(pcm, [1, 1, -2, -2]);
    }

    #[test]
    fn pieces_and_short_buffers_are_cut() {
        assert_eq!(decode(&[0; 7], 1, &mut [0; 9]), 3);
        assert_eq!(decode(&[0; 7], 2, &mut [0; 9]), 1);
        assert_eq!(decode(&[0; 8], 1, &mut [0; 2]), 2);
        assert_eq!(encode(&[5; 4], 1, &mut [0; 5]), 4);
    }
}
