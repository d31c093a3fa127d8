use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::certificate::{Certificates, OwnCertificate};
use crate::dtls::{self, Fingerprint};
use crate::mailbox::Mailbox;
use crate::ports::pairs;
use crate::record::Recorder;
use crate::room::Rooms;
use crate::shortcuts;
use crate::sound::{Library, Music, Radio};
use crate::worker::{Common, Parts, Worker};
use crate::{Command, Config, Event, Refusal, SessionId};

/// Receives the events of all sessions, on a worker's thread: it must not wait.
pub type Deliver = Arc<dyn Fn(Event) + Send + Sync>;

/// The running media workers. Dropping it stops and joins them.
pub struct Plane {
    handle: Handle,
    threads: Vec<JoinHandle<()>>,
}

impl Plane {
    /// Starts the workers. Events go to `deliver`.
    ///
    /// # Errors
    /// The system refuses threads, file descriptors, or a way through the kernel that is required; or the range has
    /// no even port followed by an odd one.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "both are handed over for good"
    )]
    pub fn start(config: Config, deliver: Deliver) -> io::Result<Self> {
        let places = match config.shared {
            true => config.ports.clone().filter(|port| *port != 0).count(),
            false => pairs(&config.ports).count(),
        };
        if places == 0 {
            let text = match config.shared {
                true => "the port range is empty",
                false => "the port range has no even port followed by an odd one",
            };
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        // A worker without ports would refuse every call that falls to it.
        let workers = config.workers.clamp(1, places);
        let config = Config { workers, ..config };
        let library = Library::start(config.sounds.clone(), config.copies.clone())?;
        let mut plane = Self {
            handle: Handle {
                mailboxes: Arc::from([]),
                deliver: Arc::clone(&deliver),
                radio: Arc::clone(library.radio()),
                certificates: Certificates::new(),
            },
            threads: Vec::new(),
        };
        plane.handle.certificates.prepare();
        let (way, looking) = shortcuts::open(&config)?;
        plane.threads.extend(looking);
        let common = Common {
            certificates: plane.handle.certificates.clone(),
            library: library.clone(),
            recorder: Recorder::start(config.recordings.clone(), Arc::clone(&deliver))?,
            rooms: Arc::new(Rooms::new(workers)),
            way,
        };
        let rooms = Arc::clone(&common.rooms);
        plane.threads.push(library.start_radio()?);
        let mut mailboxes = Vec::new();
        for number in 0..workers {
            let mailbox = Arc::new(Mailbox::new(config.queue)?);
            let parts = Parts::new(
                &config,
                number,
                Arc::clone(&mailbox),
                Arc::clone(&deliver),
                common.clone(),
            )?;
            plane.threads.push(
                std::thread::Builder::new()
                    .name(format!("media-{number}"))
                    .spawn(move || Worker::new(parts).run())?,
            );
            mailboxes.push(mailbox);
            // Kept up to date, so that an error further on stops those that run.
            plane.handle.mailboxes = mailboxes.clone().into();
        }
        rooms.connect(&plane.handle.mailboxes);
        Ok(plane)
    }

    /// A handle to send commands by.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.handle.mailboxes.iter().for_each(|m| m.stop());
        self.handle.radio.stop();
        for thread in self.threads.drain(..) {
            // A worker's panic has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Plane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plane")
            .field("workers", &self.handle.mailboxes.len())
            .finish_non_exhaustive()
    }
}

/// Sends commands to the workers.
#[derive(Clone)]
pub struct Handle {
    mailboxes: Arc<[Arc<Mailbox>]>,
    deliver: Deliver,
    radio: Arc<Radio>,
    certificates: Certificates,
}

impl Handle {
    /// The fingerprint of a certificate that DTLS shows, for SDP. The certificates are made when the
    /// plane starts, which takes some milliseconds: this waits for it.
    ///
    /// # Errors
    /// There is none: the provider of cryptography has failed.
    pub fn fingerprint(&self, which: OwnCertificate) -> Result<Fingerprint, dtls::Error> {
        self.certificates.fingerprint(which)
    }

    /// What [`Source::Music`](crate::Source::Music) is from now on; none: silence.
    pub fn tune(&self, music: Option<Music>) {
        self.radio.tune(music);
    }

    /// Hands all `commands` to the workers of their sessions and leaves the vector empty.
    ///
    /// A worker that has [`Config::queue`] commands waiting, or has been stopped, turns
    /// [`Command::Allocate`] away: [`Refusal::Overload`] is delivered on this thread before the
    /// call returns. Other commands are never lost while the plane runs.
    pub fn submit(&self, commands: &mut Vec<Command>) {
        let mut turned_away = Vec::new();
        match &*self.mailboxes {
            [only] => only.push(commands.drain(..), &mut turned_away),
            mailboxes => {
                // Runs of commands for one worker take its lock once.
                let mut commands = commands.drain(..).peekable();
                while let Some(first) = commands.next() {
                    let index = worker_of(first.session(), mailboxes.len());
                    let same = std::iter::from_fn(|| {
                        commands.next_if(|c| worker_of(c.session(), mailboxes.len()) == index)
                    });
                    mailboxes[index].push(std::iter::once(first).chain(same), &mut turned_away);
                }
            }
        }
        for command in turned_away {
            (self.deliver)(Event::Refused {
                session: command.session(),
                refusal: Refusal::Overload,
            });
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("workers", &self.mailboxes.len())
            .finish_non_exhaustive()
    }
}

/// Spreads sessions over workers, whatever pattern their numbers have.
fn worker_of(session: SessionId, workers: usize) -> usize {
    let key = session.number() ^ u64::from(session.slot().number()) << 56;
    let hash = (key ^ key >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((hash >> 32) as usize) % workers
}
