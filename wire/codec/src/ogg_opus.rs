//! Opus in its file format, mono.
//!
//! # Source
//! RFC 7845; RFC 3533 for Ogg

use std::io::Cursor;

use ogg::{PacketReader, PacketWriteEndInfo, PacketWriter};

use crate::Error;
use crate::opus::{Decoder, Encoder};

/// Decodes a whole file to `rate` samples a second (8, 12, 16, 24 or 48 kHz).
///
/// # Errors
/// The file is no mono Opus file, is damaged, or Opus does not have this rate.
pub fn decode(file: &[u8], rate: u32) -> Result<Vec<i16>, Error> {
    let mut decoder = Decoder::new(rate)?;
    let mut reader = PacketReader::new(Cursor::new(file));
    let mut next = || reader.read_packet().map_err(|_| Error::Damaged);
    let head = next()?.ok_or(Error::Damaged)?;
    let skip = pre_skip(&head.data)?;
    next()?
        .filter(|tags| tags.data.starts_with(TAGS))
        .ok_or(Error::Damaged)?;

    let mut pcm = Vec::new();
    let mut sound = vec![0; rate as usize * 3 / 25];
    let mut end = None;
    while let Some(packet) = next()? {
        let samples = decoder.decode(&packet.data, &mut sound)?;
        pcm.extend(&sound[..samples]);
        if packet.last_in_stream() {
            end = Some(packet.absgp_page());
        }
    }
    // Positions count at 48 kHz whatever the sampling rate, the skipped start included.
    let at_rate = |position: u64| (position * u64::from(rate) / CLOCK) as usize;
    if let Some(end) = end.filter(|end| *end < 1 << 40) {
        pcm.truncate(at_rate(end));
    }
    pcm.drain(..at_rate(skip).min(pcm.len()));
    Ok(pcm)
}

/// Encodes `pcm`, `rate` samples a second, at about `bit_rate` bits a second. The same sound
/// gives the same file.
///
/// # Errors
/// The rates are not ones that Opus has.
pub fn encode(pcm: &[i16], rate: u32, bit_rate: u32) -> Result<Vec<u8>, Error> {
    let mut encoder = Encoder::new(rate, bit_rate)?;
    let delay = encoder.delay()? as usize;
    let scale = CLOCK / u64::from(rate);
    let mut file = Vec::new();
    let mut writer = PacketWriter::new(&mut file);
    let mut write = |packet: Vec<u8>, end, position| {
        let written = writer.write_packet(packet, SERIAL, end, position);
        written.map_err(|_| Error::Failed)
    };
    let skip = delay as u64 * scale;
    write(head(skip as u16, rate), PacketWriteEndInfo::EndPage, 0)?;
    write(tags(), PacketWriteEndInfo::EndPage, 0)?;

    // Silence after the end pushes the last samples out of the encoder.
    let frame = rate as usize / 50;
    let mut padded = pcm.to_vec();
    padded.resize((pcm.len() + delay).next_multiple_of(frame), 0);
    let frames = padded.len() / frame;
    for (n, sound) in padded.chunks_exact(frame).enumerate() {
        let mut packet = [0; 1275];
        let len = encoder.encode(sound, &mut packet)?;
        let (end, position) = if n + 1 == frames {
            (
                PacketWriteEndInfo::EndStream,
                (pcm.len() + delay) as u64 * scale,
            )
        } else if n % 50 == 49 {
            (
                PacketWriteEndInfo::EndPage,
                ((n + 1) * frame) as u64 * scale,
            )
        } else {
            (
                PacketWriteEndInfo::NormalPacket,
                ((n + 1) * frame) as u64 * scale,
            )
        };
        write(packet[..len].to_vec(), end, position)?;
    }
    Ok(file)
}

/// The samples at 48 kHz to skip, from the identification header.
fn pre_skip(head: &[u8]) -> Result<u64, Error> {
    match head {
        // Magic, version 0 to 15, one channel, pre-skip, and the rest.
        [magic @ .., _, _, _, _, _, _, _, _, _, _, 0] if magic == HEAD => {}
        _ => return Err(Error::Damaged),
    }
    match head[8..12] {
        [0..=15, 1, low, high] => Ok(u16::from_le_bytes([low, high]).into()),
        _ => Err(Error::Damaged),
    }
}

fn head(pre_skip: u16, rate: u32) -> Vec<u8> {
    let mut head = HEAD.to_vec();
    head.extend([1, 1]);
    head.extend(pre_skip.to_le_bytes());
    head.extend(rate.to_le_bytes());
    // Gain 0, channel mapping family 0.
    head.extend([0, 0, 0]);
    head
}

fn tags() -> Vec<u8> {
    let vendor = b"dialtone";
    let mut tags = TAGS.to_vec();
    tags.extend((vendor.len() as u32).to_le_bytes());
    tags.extend(vendor);
    tags.extend(0u32.to_le_bytes());
    tags
}

const HEAD: &[u8] = b"OpusHead";
const TAGS: &[u8] = b"OpusTags";
const CLOCK: u64 = 48_000;
/// A file has one stream, so any number will do.
const SERIAL: u32 = 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tone::{self, Tone};

    /// RFC 7845, RFC 3533.
    #[test]
    fn sound_comes_back_at_its_length_and_rate() {
        let mut pcm = [0; 16_000 + 123];
        Tone::new(440.0, 16_000).fill(&mut pcm);
        let file = encode(&pcm, 16_000, 20_000).unwrap();
        assert_eq!(decode(&file, 16_000).unwrap().len(), pcm.len());
        let heard = decode(&file, 8000).unwrap();
        assert_eq!(heard.len(), pcm.len() / 2);
        assert!((tone::level(&heard[800..], 440.0, 8000) - tone::ZERO_DBM0).abs() < 1.5);
    }

    #[test]
    fn foreign_files_are_refused() {
        assert_eq!(decode(b"", 16_000), Err(Error::Damaged));
        assert_eq!(decode(b"RIFF....WAVE", 16_000), Err(Error::Damaged));
        let mut file = encode(&[0; 1600], 16_000, 20_000).unwrap();
        file[40] ^= 1;
        assert_eq!(decode(&file, 16_000), Err(Error::Damaged));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn cut_files_end_without_panic(cut in 0usize..2000) {
            let file = encode(&[0; 16_000], 16_000, 20_000).unwrap();
            let _ = decode(&file[..cut.min(file.len())], 16_000);
        }
    }
}
