//! What has been received of a side.

use rtp::{Arrival, Header, Sequence};

use crate::SideStats;

/// What a side has sent that was the stream's. What each packet needs comes first.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Received {
    /// When the last one came, in milliseconds.
    pub(super) at: u64,
    pub(super) ssrc: Option<u32>,
    pub(super) sequence: Option<Sequence>,
    pub(super) stats: SideStats,
}

impl Received {
    /// Counts what could not be opened.
    pub(super) fn opened(&mut self, result: Option<Result<usize, srtp::Error>>) -> Option<usize> {
        match result? {
            Ok(len) => return Some(len),
            Err(srtp::Error::Replayed) => self.stats.replayed += 1,
            Err(_) => self.stats.forged += 1,
        }
        None
    }

    /// Counts an RTP packet of `len` bytes.
    pub(super) fn count(&mut self, header: &Header, len: usize, now: u64) -> Arrival {
        self.stats.packets += 1;
        self.stats.octets += len as u64;
        self.at = now;
        let sequence = self
            .sequence
            .get_or_insert_with(|| Sequence::new(header.sequence));
        if self
            .ssrc
            .replace(header.ssrc)
            .is_some_and(|ssrc| ssrc != header.ssrc)
        {
            sequence.restart(header.sequence);
        }
        sequence.update(header.sequence)
    }
}
