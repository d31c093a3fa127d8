//! Music on hold: one stream for everybody who waits.
//!
//! A thread decodes it once, a little ahead of time, while somebody listens. Each worker encodes it
//! once for each codec, however many hear it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use codec::resample::Resampler;

use super::clip::WIDE;
use super::decode::Decoding;
use super::fetch::Web;
use super::library::lock;
use super::{Unplayable, is_url};

/// What those hear who wait.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Music {
    /// A folder of files, or a file or endless stream of the web.
    pub source: Box<str>,
    /// The files of a folder are played in another order each time; else by name.
    pub shuffled: bool,
}

impl Music {
    /// The files of a folder that may be music, by name.
    #[must_use]
    pub fn files(folder: &Path) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(folder) else {
            return Vec::new();
        };
        let paths = entries.flatten().map(|entry| entry.path());
        let mut files: Vec<_> = paths.filter(|path| is_music(path)).collect();
        files.truncate(MAX_FILES);
        files.sort();
        files
    }
}

fn is_music(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
    let known = KINDS
        .iter()
        .any(|kind| extension.eq_ignore_ascii_case(kind));
    known && path.is_file()
}

/// The stream: the last seconds of it, at both rates, by the millisecond.
#[derive(Debug)]
pub(crate) struct Radio {
    wide: Box<[AtomicI16]>,
    narrow: Box<[AtomicI16]>,
    /// Milliseconds written.
    written: AtomicU64,
    /// Milliseconds by which the stream's time is behind that since `epoch`.
    behind: AtomicU64,
    epoch: Instant,
    listeners: AtomicUsize,
    wish: Mutex<Wish>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Wish {
    music: Option<Music>,
    /// Grows with each change of the music.
    number: u64,
    stopping: bool,
}

/// Somebody listens while it lives.
#[derive(Debug)]
pub(crate) struct Listening(Arc<Radio>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Radio {
    /// A stream that is silent until it gets [music](Self::tune).
    pub(crate) fn new() -> Self {
        let silence = |rate| (0..ROOM_MS as usize * rate).map(|_| AtomicI16::new(0));
        Self {
            wide: silence(16).collect(),
            narrow: silence(8).collect(),
            written: AtomicU64::new(0),
            behind: AtomicU64::new(0),
            epoch: Instant::now(),
            listeners: AtomicUsize::new(0),
            wish: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Starts the thread that fills it.
    ///
    /// # Errors
    /// There are no more threads.
    pub(crate) fn start(self: &Arc<Self>, web: Arc<Web>) -> std::io::Result<JoinHandle<()>> {
        let studio = Studio {
            radio: Arc::clone(self),
            web,
            playing: None,
            files: (0, Vec::new()),
            pcm: Vec::new(),
            narrow: Vec::new(),
            resampler: Resampler::new(WIDE, WIDE / 2),
        };
        let thread = std::thread::Builder::new().name("music".into());
        thread.spawn(move || studio.run())
    }

    /// Plays this from now on.
    pub(crate) fn tune(&self, music: Option<Music>) {
        let mut wish = lock(&self.wish);
        if wish.music != music {
            wish.music = music;
            wish.number += 1;
            self.changed.notify_all();
        }
    }

    pub(crate) fn stop(&self) {
        lock(&self.wish).stopping = true;
        self.changed.notify_all();
    }

    /// Begins to listen; the stream goes on if it stood still.
    pub(crate) fn listen(self: &Arc<Self>) -> Listening {
        if self.listeners.fetch_add(1, Ordering::Relaxed) == 0 {
            // With the lock, so that the thread doesn't miss it on its way to sleep.
            let _wish = lock(&self.wish);
            self.changed.notify_all();
        }
        Listening(Arc::clone(self))
    }

    /// The stream's time, in milliseconds.
    pub(crate) fn now(&self) -> u64 {
        let now = self.epoch.elapsed().as_millis() as u64;
        now.saturating_sub(self.behind.load(Ordering::Relaxed))
    }

    /// If the stream's time has passed `written`, it goes back there: what was not written in time
    /// comes later.
    fn wait_for(&self, written: u64) {
        let late = self.now().saturating_sub(written);
        self.behind.fetch_add(late, Ordering::Relaxed);
    }

    /// Fills `pcm`, at 8 or 16 samples a millisecond, with the stream from millisecond `at` on; false
    /// if that is not there.
    pub(crate) fn read(&self, at: u64, per_ms: usize, pcm: &mut [i16]) -> bool {
        let end = at + (pcm.len() / per_ms) as u64;
        let written = self.written.load(Ordering::Acquire);
        if end > written || at + ROOM_MS < written + BLOCK_MS {
            return false;
        }
        let ring = if per_ms == 8 {
            &self.narrow
        } else {
            &self.wide
        };
        let start = (at % ROOM_MS) as usize * per_ms;
        for (n, sample) in pcm.iter_mut().enumerate() {
            *sample = ring[(start + n) % ring.len()].load(Ordering::Relaxed);
        }
        true
    }

    /// Writes the next block at both rates.
    fn write(&self, wide: &[i16], narrow: &[i16]) {
        let written = self.written.load(Ordering::Relaxed);
        for (ring, pcm, per_ms) in [(&self.wide, wide, 16), (&self.narrow, narrow, 8)] {
            let start = (written % ROOM_MS) as usize * per_ms;
            for (n, sample) in pcm.iter().enumerate() {
                ring[(start + n) % ring.len()].store(*sample, Ordering::Relaxed);
            }
        }
        self.written.store(written + BLOCK_MS, Ordering::Release);
    }
}

/// The thread.
struct Studio {
    radio: Arc<Radio>,
    web: Arc<Web>,
    playing: Option<(u64, Decoding)>,
    /// Files that are still to be played, last first, and of which wish.
    files: (u64, Vec<PathBuf>),
    /// Decoded and not written yet.
    pcm: Vec<i16>,
    narrow: Vec<i16>,
    resampler: Resampler,
}

impl Studio {
    fn run(mut self) {
        while let Some((music, number)) = self.wait() {
            if self.playing.as_ref().is_none_or(|(of, _)| *of != number) {
                self.pcm.clear();
                self.open(&music, number);
            }
            self.radio
                .wait_for(self.radio.written.load(Ordering::Relaxed));
            let ahead = self.radio.now() + AHEAD_MS;
            while self.radio.written.load(Ordering::Relaxed) < ahead && self.block() {}
            let wish = lock(&self.radio.wish);
            let pause = if self.playing.is_some() { TURN } else { PAUSE };
            drop(self.radio.changed.wait_timeout(wish, pause));
        }
    }

    /// What to play, once somebody listens; `None`: nothing more.
    fn wait(&mut self) -> Option<(Music, u64)> {
        let radio = Arc::clone(&self.radio);
        let mut wish = lock(&radio.wish);
        let mut slept = false;
        loop {
            if wish.stopping {
                return None;
            }
            let heard = radio.listeners.load(Ordering::Relaxed) > 0;
            if let (true, Some(music)) = (heard, &wish.music) {
                if slept {
                    // Time has stood still: those who come hear what was written last.
                    let now = radio.epoch.elapsed().as_millis() as u64;
                    let then = radio
                        .written
                        .load(Ordering::Relaxed)
                        .saturating_sub(AHEAD_MS);
                    radio.behind.store(now - then.min(now), Ordering::Relaxed);
                    if is_url(&music.source) {
                        // What a station sent before is past.
                        self.playing = None;
                    }
                }
                return Some((music.clone(), wish.number));
            }
            slept = true;
            wish = radio
                .changed
                .wait(wish)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// Writes a block; false if there is nothing to play.
    fn block(&mut self) -> bool {
        let mut opened = 0;
        while self.pcm.len() < BLOCK {
            // Files without sound must not be opened for ever.
            if opened > MAX_FILES {
                self.playing = None;
            }
            let Some((_, decoding)) = &mut self.playing else {
                return false;
            };
            match decoding.read(&mut self.pcm) {
                Ok(true) => {}
                Ok(false) | Err(_) => {
                    self.playing = None;
                    let wish = lock(&self.radio.wish);
                    let next = wish.music.clone().map(|music| (music, wish.number));
                    drop(wish);
                    opened += 1;
                    if let Some((music, number)) = next {
                        self.open(&music, number);
                    }
                }
            }
        }
        self.resampler.process(&self.pcm[..BLOCK], &mut self.narrow);
        self.radio.write(&self.pcm[..BLOCK], &self.narrow);
        self.pcm.drain(..BLOCK);
        self.narrow.clear();
        true
    }

    /// Opens what comes next.
    fn open(&mut self, music: &Music, number: u64) {
        let result = match is_url(&music.source) {
            true => self.web.stream(&music.source),
            false => self.next_file(music, number),
        };
        match result {
            Ok(decoding) => self.playing = Some((number, decoding)),
            Err(error) => {
                self.playing = None;
                tracing::warn!(music = &*music.source, %error, "music on hold can't be played");
            }
        }
    }

    fn next_file(&mut self, music: &Music, number: u64) -> Result<Decoding, Unplayable> {
        if self.files.0 != number {
            self.files = (number, Vec::new());
        }
        // A damaged file is left out; if all are, the music pauses.
        let mut again = true;
        loop {
            if self.files.1.is_empty() && std::mem::take(&mut again) {
                self.files.1 = in_order(music);
            }
            let Some(path) = self.files.1.pop() else {
                return Err(Unplayable::Missing);
            };
            let opened = fs::File::open(&path)
                .map_err(|error| Unplayable::Unreadable(error.to_string().into()))
                .and_then(|file| {
                    let extension = path.extension().and_then(|e| e.to_str());
                    Decoding::open(file, extension.unwrap_or(""), WIDE)
                });
            match opened {
                Ok(decoding) => return Ok(decoding),
                Err(error) => {
                    tracing::warn!(file = %path.display(), %error, "a file of music on hold is left out");
                }
            }
        }
    }
}

/// The files of a folder, the first one last.
fn in_order(music: &Music) -> Vec<PathBuf> {
    let mut files = Music::files(Path::new(&*music.source));
    match music.shuffled {
        true => shuffle(&mut files),
        false => files.reverse(),
    }
    files
}

fn shuffle(files: &mut [PathBuf]) {
    let mut random = [0; 8];
    for last in (1..files.len()).rev() {
        // Without chance they are played in some order all the same.
        let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
        files.swap(
            last,
            (u64::from_le_bytes(random) % (last as u64 + 1)) as usize,
        );
    }
}

/// Files that are taken for music.
const KINDS: [&str; 7] = ["wav", "flac", "mp3", "ogg", "oga", "opus", "mp2"];
/// More files of a folder are not played.
const MAX_FILES: usize = 1000;
/// The stream is kept for so long.
const ROOM_MS: u64 = 4000;
const BLOCK_MS: u64 = 20;
const BLOCK: usize = 16 * BLOCK_MS as usize;
/// How far the thread is ahead of the stream's time.
const AHEAD_MS: u64 = 1000;
/// How often it looks, and how long it waits after a failure.
const TURN: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_can_be_read_for_a_while() {
        let radio = Radio::new();
        let mut pcm = [0; 160];
        assert!(!radio.read(0, 8, &mut pcm));
        for n in 0..300 {
            radio.write(&[n; 320], &[-n; 160]);
        }
        // 6 s have been written, of which the last 4 are there.
        assert!(radio.read(5980, 8, &mut pcm));
        assert_eq!(pcm, [-299; 160]);
        let mut wide = [0; 480];
        assert!(radio.read(3990, 16, &mut wide));
        assert_eq!((wide[0], wide[479]), (199, 200));
        assert!(!radio.read(5990, 8, &mut pcm));
        assert!(!radio.read(2000, 8, &mut pcm));
    }

    #[test]
    fn the_stream_stands_still_while_nobody_listens() {
        let radio = Arc::new(Radio::new());
        let listening = radio.listen();
        assert_eq!(radio.listeners.load(Ordering::Relaxed), 1);
        drop(listening);
        assert_eq!(radio.listeners.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn only_sounds_of_a_folder_are_music() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.WAV", "a.mp3", "cover.jpg", "c.txt"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        let files = Music::files(folder.path());
        let names: Vec<_> = files.iter().filter_map(|f| f.file_name()).collect();
        assert_eq!(names, ["a.mp3", "b.WAV"]);
        assert!(Music::files(&folder.path().join("none")).is_empty());
    }
}
