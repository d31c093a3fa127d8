//! Sounds by their names.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Cursor};
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use codec::resample::Resampler;

use super::clip::WIDE;
use super::decode::Decoding;
use super::fetch::Web;
use super::{Clip, Radio, Ring, Unplayable};

/// The sounds that a plane may play. Opening takes a while, which is spent on another thread.
#[derive(Clone, Debug)]
pub(crate) struct Library {
    jobs: SyncSender<Job>,
    web: Arc<Web>,
    radio: Arc<Radio>,
}

/// A sound that somebody wants to play.
#[derive(Debug, Default)]
pub(crate) struct Opened(OnceLock<Result<Track, Unplayable>>);

impl Opened {
    /// What there is to play; `None` while it is being opened.
    pub(crate) fn track(&self) -> Option<&Result<Track, Unplayable>> {
        self.0.get()
    }

    fn fail(&self, name: &str, error: Unplayable) {
        tracing::warn!(sound = name, %error, "a sound can't be played");
        let _ = self.0.set(Err(error));
    }
}

/// An opened sound.
#[derive(Clone, Debug)]
pub(crate) enum Track {
    /// A short one, which all share.
    Clip(Arc<Clip>),
    /// A long one, for one player at the rate that it asked for.
    Stream(Arc<Ring>),
}

#[derive(Clone, Debug)]
pub(super) struct Job {
    name: Arc<str>,
    place: Place,
    /// Samples a second that the player wants, if the sound is a long one.
    rate: u32,
    opened: Arc<Opened>,
}

#[derive(Clone, Debug)]
enum Place {
    /// In the folder of sounds, under the job's name.
    Folder,
    Copy(PathBuf),
    Memory(Arc<[u8]>),
}

impl Library {
    /// Of the sounds in `folder` and on the web, of which copies are kept in `copies`.
    ///
    /// # Errors
    /// There are no more threads.
    pub(crate) fn start(folder: Option<PathBuf>, copies: Option<PathBuf>) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::sync_channel(MAX_JOBS);
        let loader = Loader {
            folder,
            jobs: waiting,
            streams: Vec::new(),
            clips: Clips::default(),
        };
        let thread = std::thread::Builder::new().name("sounds".into());
        // It ends with the last player.
        thread.spawn(move || loader.run())?;
        let web = Arc::new(Web::new(copies));
        let radio = Arc::new(Radio::new());
        Ok(Self { jobs, web, radio })
    }

    /// Starts the thread of the music on hold.
    ///
    /// # Errors
    /// There are no more threads.
    pub(crate) fn start_radio(&self) -> io::Result<JoinHandle<()>> {
        self.radio.start(Arc::clone(&self.web))
    }

    /// The music on hold.
    pub(crate) fn radio(&self) -> &Arc<Radio> {
        &self.radio
    }

    /// Opens a file in the folder of sounds, or one on the web if `name` begins with `http://` or
    /// `https://`, for a player of `rate` samples a second.
    pub(crate) fn open(&self, name: &Arc<str>, rate: u32) -> Arc<Opened> {
        let opened = Arc::new(Opened::default());
        let mut job = Job {
            name: Arc::clone(name),
            place: Place::Folder,
            rate,
            opened: Arc::clone(&opened),
        };
        if !is_url(name) {
            self.submit(job);
            return opened;
        }
        let library = self.clone();
        self.web.copy(name, move |copy| match copy {
            Ok(path) => {
                job.place = Place::Copy(path);
                library.submit(job);
            }
            Err(error) => job.opened.fail(&job.name, error),
        });
        opened
    }

    /// Opens a file that is in memory.
    pub(crate) fn open_file(&self, file: &Arc<[u8]>, rate: u32) -> Arc<Opened> {
        let opened = Arc::new(Opened::default());
        self.submit(Job {
            name: "in memory".into(),
            place: Place::Memory(Arc::clone(file)),
            rate,
            opened: Arc::clone(&opened),
        });
        opened
    }

    fn submit(&self, job: Job) {
        if let Err(error) = self.jobs.try_send(job) {
            let (mpsc::TrySendError::Full(job) | mpsc::TrySendError::Disconnected(job)) = error;
            job.opened.fail(&job.name, Unplayable::Overload);
        }
    }
}

/// Whether a sound of this name is on the web.
#[must_use]
pub fn is_url(name: &str) -> bool {
    name.starts_with("http://") || name.starts_with("https://")
}

/// Where the sound `name` is in `folder`. Neither `..` nor a link leads out of it.
///
/// # Errors
/// It is not there, or not a file.
pub fn find(folder: &Path, name: &str) -> Result<PathBuf, Unplayable> {
    let path = Path::new(name);
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    if name.is_empty() || !path.components().all(plain) {
        return Err(Unplayable::Outside);
    }
    let real = |path: &Path| match fs::canonicalize(path) {
        Ok(path) => Ok(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Unplayable::Missing),
        Err(error) => Err(Unplayable::Unreadable(error.to_string().into())),
    };
    let (folder, path) = (real(folder)?, real(&folder.join(path))?);
    if !path.starts_with(folder) {
        return Err(Unplayable::Outside);
    }
    path.is_file().then_some(path).ok_or(Unplayable::Missing)
}

/// The thread that opens sounds and decodes the long ones piece by piece.
struct Loader {
    folder: Option<PathBuf>,
    jobs: Receiver<Job>,
    streams: Vec<Stream>,
    clips: Clips,
}

impl Loader {
    fn run(mut self) {
        loop {
            let job = match self.streams.is_empty() {
                true => self.jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => self.jobs.recv_timeout(PUMP),
            };
            match job {
                Ok(job) => self.open(&job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.streams.retain_mut(Stream::pump);
        }
    }

    fn open(&mut self, job: &Job) {
        match self.track(job) {
            Ok(track) => _ = job.opened.0.set(Ok(track)),
            Err(error) => job.opened.fail(&job.name, error),
        }
    }

    fn track(&mut self, job: &Job) -> Result<Track, Unplayable> {
        let path = match &job.place {
            Place::Folder => find(self.folder.as_ref().ok_or(Unplayable::Missing)?, &job.name)?,
            Place::Copy(path) => path.clone(),
            Place::Memory(file) => {
                let decoding = Decoding::open(Cursor::new(Arc::clone(file)), "", WIDE)?;
                return self.begin(decoding, job.rate);
            }
        };
        let unreadable = |error: io::Error| Unplayable::Unreadable(error.to_string().into());
        let file = File::open(&path).map_err(unreadable)?;
        let version = Version::of(&file).map_err(unreadable)?;
        if let Some(clip) = self.clips.find(&path, &version) {
            return Ok(Track::Clip(clip));
        }
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
        let track = self.begin(Decoding::open(file, extension, WIDE)?, job.rate)?;
        if let Track::Clip(clip) = &track {
            self.clips.keep(path, version, Arc::clone(clip));
        }
        Ok(track)
    }

    /// Decodes a short sound; a long one is decoded as it is played.
    fn begin(&mut self, mut decoding: Decoding, rate: u32) -> Result<Track, Unplayable> {
        let mut pcm = Vec::new();
        while pcm.len() <= MAX_CLIP {
            if !decoding.read(&mut pcm)? {
                return Ok(Track::Clip(Arc::new(Clip::new(pcm))));
            }
        }
        let ring = Arc::new(Ring::new(rate as usize * AHEAD_SECONDS));
        let mut stream = Stream {
            decoding,
            ring: Arc::clone(&ring),
            resampler: (rate != WIDE).then(|| Resampler::new(WIDE, rate)),
            decoded: Vec::new(),
            waiting: Vec::new(),
        };
        stream.take(&pcm);
        // Whoever hears of the ring finds sound in it.
        stream.pump();
        self.streams.push(stream);
        Ok(Track::Stream(ring))
    }
}

/// A long sound on its way to a player.
struct Stream {
    decoding: Decoding,
    ring: Arc<Ring>,
    resampler: Option<Resampler>,
    decoded: Vec<i16>,
    /// At the player's rate.
    waiting: Vec<i16>,
}

impl Stream {
    /// Fills the ring; false when the sound or its player is gone.
    fn pump(&mut self) -> bool {
        loop {
            let written = self.ring.write(&self.waiting);
            self.waiting.drain(..written);
            if !self.waiting.is_empty() {
                return Arc::strong_count(&self.ring) > 1;
            }
            let mut decoded = std::mem::take(&mut self.decoded);
            decoded.clear();
            let more = self.decoding.read(&mut decoded);
            self.take(&decoded);
            self.decoded = decoded;
            if !matches!(more, Ok(true)) {
                self.ring.end();
                return false;
            }
        }
    }

    fn take(&mut self, pcm: &[i16]) {
        match &mut self.resampler {
            Some(resampler) => resampler.process(pcm, &mut self.waiting),
            None => self.waiting.extend_from_slice(pcm),
        }
    }
}

/// Which content of a file was decoded.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Version {
    len: u64,
    modified: Option<SystemTime>,
}

impl Version {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            len: metadata.len(),
            modified: metadata.modified().ok(),
        })
    }
}

/// Short sounds that have been decoded. Those that were not played for longest go when there are
/// too many; whoever plays one keeps it until then.
#[derive(Default)]
struct Clips {
    known: HashMap<PathBuf, (Version, Arc<Clip>)>,
    /// Last played last.
    order: VecDeque<PathBuf>,
    size: usize,
}

impl Clips {
    fn find(&mut self, path: &Path, version: &Version) -> Option<Arc<Clip>> {
        let (known, clip) = self.known.get(path)?;
        if known != version {
            return None;
        }
        let clip = Arc::clone(clip);
        self.order.retain(|other| other != path);
        self.order.push_back(path.to_owned());
        Some(clip)
    }

    fn keep(&mut self, path: PathBuf, version: Version, clip: Arc<Clip>) {
        self.forget(&path);
        self.size += clip.size();
        self.order.push_back(path.clone());
        self.known.insert(path, (version, clip));
        while self.size > MAX_CLIPS
            && let Some(oldest) = self.order.front().cloned()
        {
            self.forget(&oldest);
        }
    }

    fn forget(&mut self, path: &Path) {
        self.order.retain(|other| other != path);
        if let Some((_, clip)) = self.known.remove(path) {
            self.size -= clip.size();
        }
    }
}

/// A lock whose holder has panicked holds what it held.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sounds that wait to be opened; more are unplayable.
const MAX_JOBS: usize = 1024;
/// The longest sound that is held as a whole: 60 s.
const MAX_CLIP: usize = 60 * WIDE as usize;
/// Octets of decoded sound that are kept for the next player.
const MAX_CLIPS: usize = 64 << 20;
/// How much of a long sound is decoded ahead.
const AHEAD_SECONDS: usize = 2;
const PUMP: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_lead_out_of_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("sounds");
        fs::create_dir_all(folder.join("de")).unwrap();
        fs::write(root.path().join("secret.wav"), "x").unwrap();
        fs::write(folder.join("de/hello.wav"), "x").unwrap();
        std::os::unix::fs::symlink(root.path().join("secret.wav"), folder.join("link.wav"))
            .unwrap();
        std::os::unix::fs::symlink("de/hello.wav", folder.join("inner.wav")).unwrap();
        assert!(find(&folder, "de/hello.wav").is_ok());
        assert!(find(&folder, "inner.wav").is_ok());
        for outside in ["../secret.wav", "/etc/passwd", "", "link.wav", "de/../../x"] {
            assert_eq!(
                find(&folder, outside),
                Err(Unplayable::Outside),
                "{outside}"
            );
        }
        for missing in ["bye.wav", "de"] {
            assert_eq!(
                find(&folder, missing),
                Err(Unplayable::Missing),
                "{missing}"
            );
        }
    }

    #[test]
    fn the_oldest_clips_go_first() {
        let mut clips = Clips::default();
        let clip = || Arc::new(Clip::new(vec![0; MAX_CLIPS / 10]));
        let version = Version {
            len: 1,
            modified: None,
        };
        for name in ["a", "b", "c"] {
            clips.keep(name.into(), version.clone(), clip());
            assert!(clips.find(Path::new("a"), &version).is_some());
        }
        // Each takes 3/10; the fourth pushes out the one that was not asked for.
        clips.keep("d".into(), version.clone(), clip());
        assert!(clips.find(Path::new("b"), &version).is_none());
        assert!(clips.find(Path::new("a"), &version).is_some());
        let other = Version { len: 2, ..version };
        assert!(clips.find(Path::new("a"), &other).is_none());
    }
}
