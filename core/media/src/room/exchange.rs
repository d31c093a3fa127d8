//! How the workers of one room hear each other, without a lock and without waiting.
//!
//! Each worker writes the sum of its own speakers into a ring of frames; the others copy it out at
//! their next turn. A reader that falls behind skips, one that comes too early goes without: clocks
//! of one machine do not drift, so that happens when a worker was held up.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering, fence};

use std::sync::{Arc, OnceLock};

use rtp::{AudioLevel, Contributor, Header};

use super::tape::Taping;
use super::video::{Ring, Stage};
use super::{Bells, MOST_SAMPLES, MOST_SPEAKERS};
use crate::SessionId;

/// One part for each worker.
#[derive(Debug)]
pub(super) struct Exchange {
    parts: Box<[Part]>,
    /// The session whose party speaks loudest; 0: nobody has spoken.
    dominant: AtomicU64,
    /// Who is seen.
    pub(super) stage: Stage,
    pub(super) taping: Taping,
    bells: Arc<Bells>,
}

#[derive(Debug)]
struct Part {
    /// The rate that the worker's participants need; 0: it has none.
    rate: AtomicU32,
    /// Frames written so far.
    head: AtomicU64,
    frames: [Frame; FRAMES],
    /// The session of its loudest speaker, and its level in hundredths of a dBov.
    loudest: AtomicU64,
    level: AtomicI32,
    /// Pictures of its participants; made for the first of them that is seen.
    ring: OnceLock<Ring>,
    /// Somebody of it sees pictures.
    watches: AtomicBool,
}

#[derive(Debug)]
struct Frame {
    /// Its number, counted from 1; 0 while it is written.
    number: AtomicU64,
    /// Samples a second.
    rate: AtomicU32,
    silent: AtomicBool,
    samples: Box<[AtomicI32]>,
    /// Who is in it; 0: nobody.
    sources: [AtomicU64; MOST_SPEAKERS],
}

impl Exchange {
    pub(super) fn new(workers: usize, bells: Arc<Bells>) -> Self {
        Self {
            parts: (0..workers).map(|_| Part::new()).collect(),
            dominant: AtomicU64::new(0),
            stage: Stage::default(),
            taping: Taping::default(),
            bells,
        }
    }

    pub(super) fn workers(&self) -> usize {
        self.parts.len()
    }

    /// Says what `worker` needs; 0: nobody is there any more.
    pub(super) fn need(&self, worker: usize, rate: u32) {
        self.parts[worker].rate.store(rate, Ordering::Relaxed);
    }

    /// The rate at which all are mixed: the highest that somebody needs.
    pub(super) fn rate(&self) -> u32 {
        let rates = self.parts.iter().map(|p| p.rate.load(Ordering::Relaxed));
        rates.max().unwrap_or(0)
    }

    /// Shows the others what the speakers of `worker` say together, and who they are; none speaks: silence.
    pub(super) fn publish(
        &self,
        worker: usize,
        rate: u32,
        sum: Option<&[i32]>,
        sources: &[Contributor],
    ) {
        if self.parts.len() > 1 {
            self.parts[worker].publish(rate, sum, sources);
        }
    }

    /// Where to begin to read what `worker` publishes.
    pub(super) fn head(&self, worker: usize) -> u64 {
        self.parts[worker].head.load(Ordering::Acquire)
    }

    /// Adds the next frame of `worker` after `cursor` to `sum`, which has `rate` samples a second, and who is
    /// in it to `sources`; false if there is none.
    pub(super) fn read(
        &self,
        worker: usize,
        cursor: &mut u64,
        rate: u32,
        (sum, sources): (&mut [i32], &mut Vec<Contributor>),
    ) -> bool {
        self.parts[worker].read(cursor, rate, sum, sources)
    }

    /// Says who of `worker` is loudest, and whether that is a change of the dominant speaker: nobody
    /// in the room is louder, and another one was it.
    pub(super) fn rank(&self, worker: usize, loudest: SessionId, level: f32) -> bool {
        let level = (level * 100.0) as i32;
        let ours = &self.parts[worker];
        ours.loudest.store(loudest.raw(), Ordering::Relaxed);
        ours.level.store(level, Ordering::Relaxed);
        let mut others = self.parts.iter().enumerate();
        let louder = others
            .any(|(other, part)| other != worker && part.level.load(Ordering::Relaxed) > level);
        !louder && self.dominant.swap(loudest.raw(), Ordering::Relaxed) != loudest.raw()
    }

    /// Says whether somebody of `worker` sees pictures.
    pub(super) fn watch(&self, worker: usize, watches: bool) {
        self.parts[worker].watches.store(watches, Ordering::Relaxed);
    }

    /// The latest packets of pictures of those of `worker` who are seen.
    pub(super) fn ring(&self, worker: usize) -> Option<&Ring> {
        self.parts[worker].ring.get()
    }

    /// Gives all workers a packet of pictures of `worker`'s participant `source`.
    pub(super) fn publish_shot(&self, worker: usize, source: u64, header: &Header, payload: &[u8]) {
        let ring = self.parts[worker].ring.get_or_init(Ring::new);
        ring.write(source, header, payload);
        let Some(bells) = self.bells.get() else {
            return;
        };
        for (other, (part, bell)) in self.parts.iter().zip(&**bells).enumerate() {
            if other != worker && part.watches.load(Ordering::Relaxed) {
                bell.stir();
            }
        }
    }

    /// Nobody of `worker` speaks.
    pub(super) fn hush(&self, worker: usize) {
        self.parts[worker].level.store(i32::MIN, Ordering::Relaxed);
    }
}

impl Part {
    fn new() -> Self {
        Self {
            rate: AtomicU32::new(0),
            head: AtomicU64::new(0),
            frames: std::array::from_fn(|_| Frame::new()),
            loudest: AtomicU64::new(0),
            level: AtomicI32::new(i32::MIN),
            ring: OnceLock::new(),
            watches: AtomicBool::new(false),
        }
    }

    fn publish(&self, rate: u32, sum: Option<&[i32]>, sources: &[Contributor]) {
        let number = self.head.load(Ordering::Relaxed) + 1;
        let frame = &self.frames[number as usize % FRAMES];
        // Whoever reads meanwhile sees by the number that what it has read is worth nothing.
        frame.number.store(0, Ordering::Relaxed);
        fence(Ordering::Release);
        frame.rate.store(rate, Ordering::Relaxed);
        frame.silent.store(sum.is_none(), Ordering::Relaxed);
        for (place, sample) in frame.samples.iter().zip(sum.unwrap_or_default()) {
            place.store(*sample, Ordering::Relaxed);
        }
        let sources = sources.iter().copied().map(packed);
        for (place, source) in frame
            .sources
            .iter()
            .zip(sources.chain(std::iter::repeat(0)))
        {
            place.store(source, Ordering::Relaxed);
        }
        frame.number.store(number, Ordering::Release);
        self.head.store(number, Ordering::Release);
    }

    fn read(
        &self,
        cursor: &mut u64,
        rate: u32,
        sum: &mut [i32],
        sources: &mut Vec<Contributor>,
    ) -> bool {
        let head = self.head.load(Ordering::Acquire);
        if head <= *cursor {
            return false;
        }
        if head - *cursor > MOST_BEHIND {
            *cursor = head - 2;
        }
        *cursor += 1;
        let frame = &self.frames[*cursor as usize % FRAMES];
        if frame.number.load(Ordering::Acquire) != *cursor
            || frame.rate.load(Ordering::Relaxed) != rate
        {
            return false;
        }
        if frame.silent.load(Ordering::Relaxed) {
            return true;
        }
        let mut heard = [0; MOST_SAMPLES];
        for (sample, place) in heard.iter_mut().zip(&frame.samples[..sum.len()]) {
            *sample = place.load(Ordering::Relaxed);
        }
        let heard_of = frame.sources.each_ref().map(|s| s.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        if frame.number.load(Ordering::Relaxed) != *cursor {
            return false;
        }
        sum.iter_mut().zip(heard).for_each(|(sum, s)| *sum += s);
        sources.extend(heard_of.into_iter().filter_map(unpacked));
        true
    }
}

impl Frame {
    fn new() -> Self {
        Self {
            number: AtomicU64::new(0),
            rate: AtomicU32::new(0),
            silent: AtomicBool::new(true),
            samples: (0..MOST_SAMPLES).map(|_| AtomicI32::new(0)).collect(),
            sources: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

/// A source as one number, which is never 0.
fn packed(source: Contributor) -> u64 {
    SOMEBODY | u64::from(source.level.below()) << 32 | u64::from(source.ssrc)
}

fn unpacked(number: u64) -> Option<Contributor> {
    (number & SOMEBODY != 0).then(|| Contributor {
        ssrc: number as u32,
        level: AudioLevel::from_dbov(-f32::from((number >> 32) as u8)),
    })
}

const SOMEBODY: u64 = 1 << 63;

/// Frames of a ring: a reader has 60 ms to copy one.
const FRAMES: usize = 4;
/// Frames that a reader may be behind before it skips.
const MOST_BEHIND: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads what worker 0 has published.
    fn read(exchange: &Exchange, cursor: &mut u64, rate: u32, sum: &mut [i32]) -> bool {
        exchange.read(0, cursor, rate, (sum, &mut Vec::new()))
    }

    #[test]
    fn who_is_heard_comes_with_the_sound() {
        let exchange = Exchange::new(2, Arc::default());
        let (mut cursor, mut sum, mut heard) = (0, [0; 160], Vec::new());
        let sources = [(u32::MAX, -3.0), (0, -127.0)].map(|(ssrc, level)| Contributor {
            ssrc,
            level: AudioLevel::from_dbov(level),
        });
        exchange.publish(0, 8000, Some(&[1; 160]), &sources);
        assert!(exchange.read(0, &mut cursor, 8000, (&mut sum, &mut heard)));
        assert_eq!(heard, sources);
        exchange.publish(0, 8000, Some(&[1; 160]), &sources[1..]);
        assert!(exchange.read(0, &mut cursor, 8000, (&mut sum, &mut heard)));
        assert_eq!(heard[2..], sources[1..]);
        // Who is silent is not heard.
        exchange.publish(0, 8000, None, &[]);
        assert!(exchange.read(0, &mut cursor, 8000, (&mut sum, &mut heard)));
        assert_eq!(heard.len(), 3);
    }

    #[test]
    fn each_frame_is_heard_once_and_in_order() {
        let exchange = Exchange::new(2, Arc::default());
        let (mut cursor, mut heard) = (exchange.head(0), Vec::new());
        for n in 1..=10 {
            exchange.publish(0, 8000, Some(&[n; 160]), &[]);
            let mut sum = [1000; 160];
            assert!(read(&exchange, &mut cursor, 8000, &mut sum));
            heard.push(sum[159] - 1000);
            // There is not a second one.
            assert!(!read(&exchange, &mut cursor, 8000, &mut sum));
        }
        assert_eq!(heard, (1..=10).collect::<Vec<_>>());
    }

    #[test]
    fn who_falls_behind_skips_and_another_rate_is_not_taken() {
        let exchange = Exchange::new(2, Arc::default());
        let mut cursor = exchange.head(0);
        for n in 1..=20 {
            exchange.publish(0, 8000, Some(&[n; 160]), &[]);
        }
        let mut sum = [0; 160];
        assert!(read(&exchange, &mut cursor, 8000, &mut sum));
        assert_eq!(sum[0], 19);
        assert!(!read(&exchange, &mut cursor, 16_000, &mut sum));
        exchange.publish(0, 8000, None, &[]);
        assert!(read(&exchange, &mut cursor, 8000, &mut sum));
        assert_eq!(sum[0], 19);
    }

    #[test]
    fn the_highest_rate_counts_while_somebody_needs_it() {
        let exchange = Exchange::new(2, Arc::default());
        exchange.need(0, 8000);
        exchange.need(1, 48_000);
        assert_eq!(exchange.rate(), 48_000);
        exchange.need(1, 0);
        assert_eq!(exchange.rate(), 8000);
    }

    #[test]
    fn a_change_of_the_dominant_speaker_is_told_once() {
        let exchange = Exchange::new(2, Arc::default());
        let session = |number| SessionId::new(base::Slot::new(1), number);
        assert!(exchange.rank(0, session(1), -20.0));
        assert!(!exchange.rank(0, session(1), -20.0));
        assert!(!exchange.rank(1, session(2), -30.0));
        exchange.hush(0);
        assert!(exchange.rank(1, session(2), -30.0));
    }

    /// What is read while it is written is noticed.
    #[test]
    fn no_frame_is_torn() {
        let exchange = Arc::new(Exchange::new(2, Arc::default()));
        let writer = Arc::clone(&exchange);
        let thread = std::thread::spawn(move || {
            (1..20_000).for_each(|n| writer.publish(0, 48_000, Some(&[n; MOST_SAMPLES]), &[]));
        });
        let mut cursor = 0;
        let mut last = 0;
        while !thread.is_finished() {
            let mut sum = [0; MOST_SAMPLES];
            if read(&exchange, &mut cursor, 48_000, &mut sum) {
                assert!(sum.iter().all(|sample| *sample == sum[0]));
                assert!(sum[0] > last);
                last = sum[0];
            }
        }
        thread.join().unwrap();
    }
}
