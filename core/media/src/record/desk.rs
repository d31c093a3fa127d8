//! The thread that records.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::file::Sink;
use super::tape::{Slot, State, Tap, Tape};
use super::track::Track;
use super::{Container, Recording, place};
use crate::plane::Deliver;
use crate::{Event, Payload, PayloadKind, SessionId, Side};

/// What the workers have of the desk.
#[derive(Clone)]
pub(crate) struct Recorder {
    jobs: SyncSender<Job>,
    tape: Arc<OnceLock<Arc<Tape>>>,
    next: Arc<AtomicU64>,
}

/// A recording that is to begin.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) session: SessionId,
    pub(crate) recording: Recording,
    /// What the payload types of both sides mean.
    pub(crate) payloads: [Vec<Payload>; 2],
    /// When the worker's time was 0, and the time now.
    pub(crate) epoch: Instant,
    pub(crate) now: u64,
}

enum Job {
    Start(u64, Arc<State>, Arc<Tape>, Box<Start>),
    Agree(u64, Side, Vec<Payload>),
}

impl Recorder {
    /// Recordings go to `folder`; `deliver` hears of their ends.
    ///
    /// # Errors
    /// There are no more threads.
    pub(crate) fn start(folder: Option<PathBuf>, deliver: Deliver) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::sync_channel(MAX_JOBS);
        let desk = Desk {
            folder,
            jobs: waiting,
            deliver,
            takes: HashMap::new(),
            tape: None,
        };
        let thread = std::thread::Builder::new().name("recorder".into());
        // It ends when all files are closed after the last worker has gone.
        thread.spawn(move || desk.run())?;
        Ok(Self {
            jobs,
            tape: Arc::default(),
            next: Arc::default(),
        })
    }

    /// Begins a recording; the tap copies what the caller's side says. `None`: too many begin at once.
    pub(crate) fn record(&self, start: Start) -> Option<Tap> {
        // Most servers never record, and need no tape.
        let tape = self.tape.get_or_init(|| Arc::new(Tape::new()));
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let tap = Tap {
            tape: Arc::clone(tape),
            state: Arc::default(),
            recording: number,
            side: Side::Caller,
        };
        let state = Arc::clone(&tap.state);
        let job = Job::Start(number, state, Arc::clone(tape), Box::new(start));
        self.jobs.try_send(job).ok().map(|()| tap)
    }

    /// What the payload types of a side mean from now on. If that is not taken, what it does not
    /// know is silent.
    pub(crate) fn agree(&self, recording: u64, side: Side, payloads: &[Payload]) {
        let _ = self
            .jobs
            .try_send(Job::Agree(recording, side, payloads.to_vec()));
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recorder")
    }
}

struct Desk {
    folder: Option<PathBuf>,
    jobs: Receiver<Job>,
    deliver: Deliver,
    takes: HashMap<u64, Take>,
    tape: Option<Arc<Tape>>,
}

impl Desk {
    fn run(mut self) {
        let mut over = false;
        while !over || !self.takes.is_empty() {
            let job = match self.takes.is_empty() {
                true => self.jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false if over => {
                    std::thread::sleep(TURN);
                    Err(RecvTimeoutError::Timeout)
                }
                false => self.jobs.recv_timeout(TURN),
            };
            match job {
                Ok(job) => self.obey(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => over = true,
            }
            while let Ok(job) = self.jobs.try_recv() {
                self.obey(job);
            }
            self.turn();
        }
    }

    fn obey(&mut self, job: Job) {
        match job {
            Job::Start(number, state, tape, start) => {
                self.tape = Some(tape);
                let session = start.session;
                let name = start.recording.name.clone();
                let take = match self.takes.len() {
                    MAX_TAKES.. => Err("too many recordings run".to_owned()),
                    _ => Take::begin(self.folder.as_deref(), state, *start),
                };
                match take {
                    Ok(take) => _ = self.takes.insert(number, take),
                    Err(error) => {
                        tracing::error!(recording = &*name, error, "a call is not recorded");
                        (self.deliver)(Event::Recorded {
                            session,
                            name,
                            milliseconds: 0,
                            error: Some(error.into()),
                        });
                    }
                }
            }
            Job::Agree(number, side, payloads) => {
                if let Some(take) = self.takes.get_mut(&number) {
                    take.agree(side, payloads);
                }
            }
        }
    }

    fn turn(&mut self) {
        // Who has let go sends no more: what he sent before is on the tape.
        let done = |take: &Take| Arc::strong_count(&take.state) == 1 || take.error.is_some();
        let done: Vec<u64> = self
            .takes
            .iter()
            .filter(|(_, take)| done(take))
            .map(|(number, _)| *number)
            .collect();
        if let Some(tape) = &self.tape {
            tape.drain(|slot| {
                if let Some(take) = self.takes.get_mut(&slot.recording) {
                    take.take(slot);
                }
            });
        }
        self.takes.values_mut().for_each(Take::turn);
        for number in done {
            if let Some(take) = self.takes.remove(&number) {
                (self.deliver)(take.end());
            }
        }
    }
}

/// A recording that runs.
struct Take {
    session: SessionId,
    recording: Recording,
    state: Arc<State>,
    epoch: Instant,
    /// When it began, in the worker's milliseconds; later by all pauses.
    start: u64,
    /// Since when it pauses.
    paused: Option<u64>,
    rate: u32,
    tracks: [Track; 2],
    sink: Sink,
    /// Samples of each channel in the file.
    written: i64,
    error: Option<Box<str>>,
}

impl Take {
    fn begin(folder: Option<&Path>, state: Arc<State>, start: Start) -> Result<Self, String> {
        let Start {
            session,
            recording,
            payloads,
            epoch,
            now,
        } = start;
        let path = place(folder, &recording.name)?;
        let rate = rate(&recording, &payloads);
        let channels = if recording.mono { 1 } else { 2 };
        let sink = Sink::create(&path, recording.container, rate, channels);
        let sink = sink.map_err(|error| format!("{} can't be written: {error}", path.display()))?;
        tracing::info!(file = %path.display(), "a call is being recorded");
        Ok(Self {
            session,
            recording,
            state,
            epoch,
            start: now,
            paused: None,
            rate,
            tracks: [
                Track::new(rate, payloads.clone()),
                Track::new(rate, [payloads[1].clone(), payloads[0].clone()]),
            ],
            sink,
            written: 0,
            error: None,
        })
    }

    /// What the payload types of a side mean from now on: what it says, and what is played to it.
    fn agree(&mut self, side: Side, payloads: Vec<Payload>) {
        self.tracks[side.other().index()].agree(true, payloads.clone());
        self.tracks[side.index()].agree(false, payloads);
    }

    fn take(&mut self, slot: &Slot) {
        if self.paused.is_none() && self.recording.sides[slot.side.index()] {
            self.tracks[slot.side.index()].take(slot);
        }
    }

    /// Writes what nobody can overtake any more.
    fn turn(&mut self) {
        let now = self.epoch.elapsed().as_millis() as u64;
        match (self.state.paused.load(Ordering::Relaxed), self.paused) {
            (true, None) => {
                self.write(now, now);
                self.paused = Some(now);
            }
            (false, Some(since)) => {
                self.start += now.saturating_sub(since);
                self.paused = None;
                self.tracks.iter_mut().for_each(Track::resume);
            }
            (true, Some(_)) => {}
            (false, None) if now >= self.time_of(self.written) + LATE_MS + PIECE_MS => {
                self.write(now.saturating_sub(HOLD_MS), now.saturating_sub(LATE_MS));
            }
            (false, None) => {}
        }
    }

    /// Decodes what came before `decoded` and writes all before `written`.
    fn write(&mut self, decoded: u64, written: u64) {
        let (start, rate) = (self.start, self.rate);
        let position = |at: u64| (at as i64 - start as i64) * i64::from(rate) / 1000;
        for track in &mut self.tracks {
            track.decode(decoded, position);
        }
        let samples = (position(written) - self.written).max(0) as usize;
        let [left, right] = &mut self.tracks;
        let (left, right) = (left.cut(samples), right.cut(samples));
        let both = left.iter().zip(&right);
        let pcm: Vec<i16> = match self.recording.mono {
            true => both.map(|(l, r)| l.saturating_add(*r)).collect(),
            false => both.flat_map(|(l, r)| [*l, *r]).collect(),
        };
        self.written += samples as i64;
        if let Err(error) = self.sink.write(&pcm) {
            self.error = Some(error.to_string().into());
        }
    }

    /// The worker's time at which a sample was.
    fn time_of(&self, sample: i64) -> u64 {
        self.start + (sample.max(0) as u64) * 1000 / u64::from(self.rate)
    }

    fn end(mut self) -> Event {
        if self.paused.is_none() && self.error.is_none() {
            let now = self.epoch.elapsed().as_millis() as u64;
            self.write(now, now);
        }
        let milliseconds = self.written as u64 * 1000 / u64::from(self.rate);
        let ended = self.sink.end().map_err(|error| error.to_string().into());
        let error = self.error.or(ended.err());
        let lost = self.state.lost.load(Ordering::Relaxed);
        let name = self.recording.name;
        match &error {
            None => tracing::info!(file = &*name, milliseconds, lost, "a call was recorded"),
            Some(error) => {
                tracing::error!(file = &*name, milliseconds, %error, "a recording broke off");
            }
        }
        Event::Recorded {
            session: self.session,
            name,
            milliseconds,
            error,
        }
    }
}

/// Samples a second of the file: as many as the best of the sides has, up to 16 kHz.
fn rate(recording: &Recording, payloads: &[Vec<Payload>; 2]) -> u32 {
    let sides = payloads.iter().zip(recording.sides);
    let sides = sides.filter(|(_, wanted)| *wanted);
    let best = |payloads: &Vec<Payload>| {
        payloads.iter().find_map(|payload| match payload.kind {
            PayloadKind::Codec(codec, _) => Some(codec.sample_rate()),
            _ => None,
        })
    };
    let narrow = sides
        .filter_map(|(payloads, _)| best(payloads))
        .all(|rate| rate <= 8000);
    match (narrow, recording.container) {
        (true, Container::Wav) => 8000,
        _ => 16_000,
    }
}

/// Recordings that begin at once; more are refused.
const MAX_JOBS: usize = 4096;
/// Recordings that run; more are refused.
const MAX_TAKES: usize = 1000;
const TURN: Duration = Duration::from_millis(20);
/// How long a packet may be overtaken, and how far the file is behind.
const HOLD_MS: u64 = 120;
const LATE_MS: u64 = 250;
/// How much is written at once.
const PIECE_MS: u64 = 250;
