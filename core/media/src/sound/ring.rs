//! Samples on their way from the thread that decodes to the worker that plays.

use std::sync::atomic::{AtomicBool, AtomicI16, AtomicUsize, Ordering};

/// A bounded queue of samples with one writer and one reader, neither of whom ever waits. When it
/// is full the writer comes back later.
#[derive(Debug)]
pub(crate) struct Ring {
    samples: Box<[AtomicI16]>,
    /// Samples written and read since the start; they wrap.
    written: AtomicUsize,
    read: AtomicUsize,
    ended: AtomicBool,
}

impl Ring {
    /// Room for at least `samples`.
    pub(crate) fn new(samples: usize) -> Self {
        let samples = samples.next_power_of_two();
        Self {
            samples: (0..samples).map(|_| AtomicI16::new(0)).collect(),
            written: AtomicUsize::new(0),
            read: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        }
    }

    /// Samples that may be written now.
    pub(crate) fn room(&self) -> usize {
        let written = self.written.load(Ordering::Relaxed);
        let waiting = written.wrapping_sub(self.read.load(Ordering::Acquire));
        self.samples.len() - waiting
    }

    /// Writes the start of `pcm`, as much as there is room for, and says how much that is. For the
    /// writer only.
    pub(crate) fn write(&self, pcm: &[i16]) -> usize {
        let len = pcm.len().min(self.room());
        let start = self.written.load(Ordering::Relaxed);
        for (n, sample) in pcm[..len].iter().enumerate() {
            self.samples[self.place(start.wrapping_add(n))].store(*sample, Ordering::Relaxed);
        }
        self.written
            .store(start.wrapping_add(len), Ordering::Release);
        len
    }

    /// No more will be written.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Whether the reader will find no more.
    pub(crate) fn is_over(&self) -> bool {
        // In this order: what was written before the end is seen then.
        self.ended.load(Ordering::Acquire) && self.waiting() == 0
    }

    /// Samples that wait to be read.
    pub(crate) fn waiting(&self) -> usize {
        let read = self.read.load(Ordering::Relaxed);
        self.written.load(Ordering::Acquire).wrapping_sub(read)
    }

    /// Fills the start of `pcm` with what there is and says how much that is. For the reader only.
    pub(crate) fn read(&self, pcm: &mut [i16]) -> usize {
        let len = pcm.len().min(self.waiting());
        let start = self.read.load(Ordering::Relaxed);
        for (n, sample) in pcm[..len].iter_mut().enumerate() {
            *sample = self.samples[self.place(start.wrapping_add(n))].load(Ordering::Relaxed);
        }
        self.read.store(start.wrapping_add(len), Ordering::Release);
        len
    }

    /// The length is a power of two, so positions may wrap.
    fn place(&self, position: usize) -> usize {
        position & (self.samples.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_full_ring_takes_no_more_and_keeps_the_order() {
        let ring = Ring::new(6);
        assert_eq!(ring.room(), 8);
        assert_eq!(ring.write(&[1, 2, 3, 4, 5]), 5);
        let mut pcm = [0; 3];
        assert_eq!((ring.read(&mut pcm), pcm), (3, [1, 2, 3]));
        assert_eq!(ring.write(&[6, 7, 8, 9, 10, 11, 12]), 6);
        let mut pcm = [0; 9];
        assert_eq!(ring.read(&mut pcm), 8);
        assert_eq!(pcm, [4, 5, 6, 7, 8, 9, 10, 11, 0]);
        assert!(!ring.is_over());
        ring.end();
        assert!(ring.is_over());
    }

    #[test]
    fn nothing_is_lost_between_two_threads() {
        let ring = Arc::new(Ring::new(64));
        let writer = Arc::clone(&ring);
        let thread = std::thread::spawn(move || {
            let all: Vec<i16> = (0..20_000).collect();
            let mut rest = &all[..];
            while !rest.is_empty() {
                rest = &rest[writer.write(rest)..];
            }
            writer.end();
        });
        let mut heard = Vec::new();
        while !ring.is_over() {
            let mut pcm = [0; 23];
            let len = ring.read(&mut pcm);
            heard.extend_from_slice(&pcm[..len]);
        }
        thread.join().unwrap();
        assert!(heard.into_iter().eq(0..20_000));
    }
}
