//! Opus in its file format.
//!
//! # Source
//! RFC 7845; RFC 3533 for Ogg

use std::fmt;
use std::io::{Cursor, Read, Seek, Write};

use ogg::{PacketReader, PacketWriteEndInfo, PacketWriter};

use crate::Error;
use crate::opus::{Decoder, Encoder};

/// Decodes a whole file to `rate` samples a second (8, 12, 16, 24 or 48 kHz).
///
/// # Errors
/// The file is no Opus file of one or two channels, is damaged, or Opus does not have this rate.
pub fn decode(file: &[u8], rate: u32) -> Result<Vec<i16>, Error> {
    let mut reader = Reader::new(Cursor::new(file), rate)?;
    let mut pcm = Vec::new();
    while reader.read(&mut pcm)? {}
    Ok(pcm)
}

/// Decodes a file packet by packet. Two channels are mixed to one.
pub struct Reader<R: Read + Seek> {
    packets: PacketReader<R>,
    decoder: Decoder,
    rate: u32,
    /// Samples at the start that are still to be skipped, and those that were decoded.
    skip: usize,
    decoded: usize,
    sound: Vec<i16>,
}

impl<R: Read + Seek> Reader<R> {
    /// Reads the file's headers; `rate` is 8, 12, 16, 24 or 48 kHz.
    ///
    /// # Errors
    /// As [`decode`].
    pub fn new(file: R, rate: u32) -> Result<Self, Error> {
        let decoder = Decoder::new(rate)?;
        let mut packets = PacketReader::new(file);
        let mut next = || packets.read_packet().map_err(|_| Error::Damaged);
        let head = next()?.ok_or(Error::Damaged)?;
        let skip = pre_skip(&head.data)?;
        next()?
            .filter(|tags| tags.data.starts_with(TAGS))
            .ok_or(Error::Damaged)?;
        Ok(Self {
            packets,
            decoder,
            rate,
            skip: at_rate(skip, rate),
            decoded: 0,
            sound: vec![0; rate as usize * 3 / 25],
        })
    }

    /// Appends the sound of the next packet; false at the end.
    ///
    /// # Errors
    /// The file is damaged here.
    pub fn read(&mut self, pcm: &mut Vec<i16>) -> Result<bool, Error> {
        let packet = self.packets.read_packet().map_err(|_| Error::Damaged)?;
        let Some(packet) = packet else {
            return Ok(false);
        };
        let mut samples = self.decoder.decode(&packet.data, &mut self.sound)?;
        let end = packet.absgp_page();
        // Positions count at 48 kHz whatever the sampling rate, the skipped start included.
        if packet.last_in_stream() && end < 1 << 40 {
            samples = samples.min(at_rate(end, self.rate).saturating_sub(self.decoded));
        }
        self.decoded += samples;
        let skipped = self.skip.min(samples);
        self.skip -= skipped;
        pcm.extend(&self.sound[skipped..samples]);
        Ok(true)
    }
}

impl<R: Read + Seek> fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reader({} of {} Hz)", self.decoded, self.rate)
    }
}

/// A position in a file as samples at `rate`.
fn at_rate(position: u64, rate: u32) -> usize {
    (position * u64::from(rate) / CLOCK) as usize
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

/// Writes a file piece by piece. Each piece that is written can be played, whether more comes or not.
pub struct Writer<W: Write> {
    packets: PacketWriter<'static, W>,
    encoder: Encoder,
    rate: u32,
    channels: u8,
    /// Samples that do not fill a packet yet; those of two channels take turns.
    waiting: Vec<i16>,
    /// Samples of each channel in the file, the skipped start included.
    written: u64,
    unfinished: u32,
}

impl<W: Write> Writer<W> {
    /// Begins a file of one or two channels of `rate` samples a second (8, 12, 16, 24 or 48 kHz) at
    /// about `bit_rate` bits a second.
    ///
    /// # Errors
    /// Opus does not have this rate, or the file cannot be written.
    pub fn new(file: W, rate: u32, channels: u8, bit_rate: u32) -> Result<Self, Error> {
        let mut encoder = match channels {
            2 => Encoder::stereo(rate, bit_rate)?,
            _ => Encoder::new(rate, bit_rate)?,
        };
        let skip = u64::from(encoder.delay()?) * CLOCK / u64::from(rate);
        let mut packets = PacketWriter::new(file);
        let mut head = head(skip as u16, rate);
        head[9] = channels;
        for packet in [head, tags()] {
            let written = packets.write_packet(packet, SERIAL, PacketWriteEndInfo::EndPage, 0);
            written.map_err(|_| Error::Failed)?;
        }
        Ok(Self {
            packets,
            encoder,
            rate,
            channels,
            waiting: Vec::new(),
            written: 0,
            unfinished: 0,
        })
    }

    /// Adds samples; those of two channels take turns, the left one first.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, pcm: &[i16]) -> Result<(), Error> {
        self.waiting.extend_from_slice(pcm);
        let frame = self.rate as usize / 50 * usize::from(self.channels);
        while self.waiting.len() >= frame {
            self.packet(frame, false)?;
        }
        Ok(())
    }

    /// Fills the last packet up with silence and ends the file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn end(mut self) -> Result<(), Error> {
        let frame = self.rate as usize / 50 * usize::from(self.channels);
        self.waiting.resize(frame, 0);
        self.packet(frame, true)
    }

    fn packet(&mut self, frame: usize, last: bool) -> Result<(), Error> {
        let mut packet = [0; 2 * 1275];
        let len = self.encoder.encode(&self.waiting[..frame], &mut packet)?;
        self.waiting.drain(..frame);
        self.written += u64::from(self.rate) / 50;
        self.unfinished += 1;
        let end = match (last, self.unfinished) {
            (true, _) => PacketWriteEndInfo::EndStream,
            (_, PAGE..) => PacketWriteEndInfo::EndPage,
            _ => PacketWriteEndInfo::NormalPacket,
        };
        if end != PacketWriteEndInfo::NormalPacket {
            self.unfinished = 0;
        }
        let position = self.written * CLOCK / u64::from(self.rate);
        let packet = packet[..len].to_vec();
        let written = self.packets.write_packet(packet, SERIAL, end, position);
        written.map_err(|_| Error::Failed)
    }
}

impl<W: Write> fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Writer({} of {} Hz)", self.written, self.rate)
    }
}

/// Packets in a page: half a second.
const PAGE: u32 = 25;

/// The samples at 48 kHz to skip, from the identification header.
fn pre_skip(head: &[u8]) -> Result<u64, Error> {
    match head {
        // Magic, version 0 to 15, channels, pre-skip, and the rest; one stream.
        [magic @ .., _, _, _, _, _, _, _, _, _, _, 0] if magic == HEAD => {}
        _ => return Err(Error::Damaged),
    }
    match head[8..12] {
        [0..=15, 1 | 2, low, high] => Ok(u16::from_le_bytes([low, high]).into()),
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

    /// RFC 3533 §6: a page can be read without those that follow.
    #[test]
    fn what_has_been_written_can_be_played_before_the_end() {
        for channels in [1, 2] {
            let mut file = Vec::new();
            let mut writer = Writer::new(&mut file, 16_000, channels, 32_000).unwrap();
            let mut pcm = vec![0; 16_000];
            Tone::new(440.0, 16_000).fill(&mut pcm);
            let pcm: Vec<i16> = pcm
                .iter()
                .flat_map(|sample| vec![*sample; channels.into()])
                .collect();
            pcm.chunks(1000)
                .for_each(|piece| writer.write(piece).unwrap());
            drop(writer);
            let heard = decode(&file, 16_000).unwrap();
            assert!((15_000..=16_000).contains(&heard.len()), "{}", heard.len());
            let level = tone::level(&heard[1600..], 440.0, 16_000);
            assert!((level - tone::ZERO_DBM0).abs() < 1.5, "{level}");
        }
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
