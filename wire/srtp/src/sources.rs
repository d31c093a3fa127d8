//! What is remembered of each source.

use std::hint::black_box;

use crate::Error;

/// The sources of one direction, by SSRC.
///
/// There may be [`MAX_SOURCES`]. When one more comes, the one that was idle longest is forgotten:
/// a call that changes its SSRC with each hold and transfer must not fall silent. If a forgotten
/// source speaks again, it is as new. A receiver takes note of a source only after a packet of it
/// was authenticated, so nobody but the key's owner can push others out.
pub(crate) struct Sources<S> {
    entries: Vec<Entry<S>>,
    /// Where the last packet's source is: mostly, it is the next one's too.
    last: usize,
    clock: u64,
}

struct Entry<S> {
    ssrc: u32,
    used: u64,
    source: S,
}

impl<S> Sources<S> {
    pub(crate) fn find(&mut self, ssrc: u32) -> Option<&mut S> {
        if self.entries.get(self.last).is_none_or(|e| e.ssrc != ssrc) {
            self.last = self.entries.iter().position(|e| e.ssrc == ssrc)?;
        }
        let entry = self.entries.get_mut(self.last)?;
        self.clock += 1;
        entry.used = self.clock;
        Some(&mut entry.source)
    }

    /// Reads what the next packet of the last one's source needs.
    pub(crate) fn fetch(&self) {
        black_box(self.entries.get(self.last).map(|entry| entry.used));
    }

    /// Adds a source that was not found.
    pub(crate) fn add(&mut self, ssrc: u32, source: S) {
        self.clock += 1;
        let entry = Entry {
            ssrc,
            used: self.clock,
            source,
        };
        if self.entries.len() < MAX_SOURCES {
            self.entries.push(entry);
        } else if let Some(idle) = self.entries.iter_mut().min_by_key(|entry| entry.used) {
            *idle = entry;
        }
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut S> {
        self.entries.iter_mut().map(|entry| &mut entry.source)
    }
}

impl<S> Default for Sources<S> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            last: 0,
            clock: 0,
        }
    }
}

/// How many sources (SSRC) a direction knows, for RTP and for RTCP each. The one that was idle
/// longest makes room for one more.
pub const MAX_SOURCES: usize = 32;

/// The index at which a source has used up its key.
///
/// # Source
/// RFC 3711 §9.2
pub(crate) fn rtp_index(index: u64) -> Result<u64, Error> {
    match index < 1 << 48 {
        true => Ok(index),
        false => Err(Error::Exhausted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_that_was_idle_longest_makes_room() {
        let mut sources = Sources::default();
        for ssrc in 0..MAX_SOURCES as u32 {
            sources.add(ssrc, ssrc);
        }
        assert_eq!(sources.find(0), Some(&mut 0));
        sources.add(99, 99);
        assert_eq!(sources.find(1), None);
        assert_eq!(sources.find(0), Some(&mut 0));
        assert_eq!(sources.find(99), Some(&mut 99));
        assert_eq!(sources.iter_mut().count(), MAX_SOURCES);
    }
}
