//! Streams that the kernel passes on by itself: when they begin to, and when they stop.
//!
//! A stream takes the short way when it is settled: see [`Leg::flow`]. It leaves it before a command about its
//! session is obeyed, when its party goes silent or sends something else, and when the way to the other party has
//! changed.
//!
//! [`Leg::flow`]: crate::leg::Leg::flow

use std::io;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use tracing::info;
use xdp::{Mode, Path};

use crate::relay::listener;
use crate::sessions::Sessions;
use crate::{Command, Config, Kernel};

/// The way through the kernel, once it is found.
pub(crate) type Way = Arc<OnceLock<Path>>;

/// What a worker has of it.
#[derive(Debug)]
pub(crate) struct Shortcuts {
    way: Way,
    dscp: u8,
    /// Legs to be looked at in one sweep.
    due: Vec<usize>,
}

impl Shortcuts {
    pub(crate) fn new(way: Way, dscp: u8) -> Self {
        Self {
            way,
            dscp,
            due: Vec::new(),
        }
    }

    /// The way, if there is one.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.way.get()
    }
}

/// Looks for the way through the kernel, and tells what has come of it: here if it is required, else on a thread, as
/// nobody need wait for it.
///
/// # Errors
/// There is none, and it is required; or the system refuses a thread.
pub(crate) fn open(config: &Config) -> io::Result<(Way, Option<JoinHandle<()>>)> {
    let way = Way::default();
    match config.kernel {
        Kernel::Off => Ok((way, None)),
        Kernel::Required => match Path::open(&config.interfaces, &config.addresses) {
            Ok(path) => {
                found(&way, path);
                Ok((way, None))
            }
            Err(error) => {
                let text = format!("streams cannot pass in the kernel: {error}");
                Err(io::Error::other(text))
            }
        },
        Kernel::Auto => {
            let (interfaces, addresses) = (config.interfaces.clone(), config.addresses.clone());
            let ours = Arc::clone(&way);
            let look = move || match Path::open(&interfaces, &addresses) {
                Ok(path) => found(&ours, path),
                Err(error) => {
                    info!(reason = %error, "streams do not pass in the kernel but in the media workers");
                }
            };
            let thread = std::thread::Builder::new().name("media-kernel".to_owned());
            Ok((way, Some(thread.spawn(look)?)))
        }
    }
}

fn found(way: &Way, path: Path) {
    let interfaces: Vec<_> = path.interfaces().collect();
    let mode = match path.mode() {
        Mode::Native => "native",
        Mode::Generic => "generic",
    };
    info!(
        interfaces = interfaces.join(" "),
        mode, "established streams pass in the kernel"
    );
    // It is looked for once.
    let _ = way.set(path);
}

impl Sessions {
    /// Counts what has passed in the kernel, and decides anew what does. `now` is in milliseconds.
    pub(crate) fn tend_shortcuts(&mut self, now: u64) {
        let way = Arc::clone(&self.shortcuts.way);
        let Some(path) = way.get() else { return };
        let mut due = std::mem::take(&mut self.shortcuts.due);
        for (key, leg) in &mut self.legs {
            leg.catch_up(path, now);
            if leg.session.is_some() && leg.shortcut.is_due(now) {
                due.push(key);
            }
        }
        due.drain(..)
            .for_each(|key| self.tend_shortcut(path, key, now));
        self.shortcuts.due = due;
    }

    fn tend_shortcut(&mut self, path: &Path, key: usize, now: u64) {
        let other = listener(&self.legs, key).map(|other| &self.legs[other]);
        let flow = other.and_then(|other| self.legs[key].flow(other, self.shortcuts.dscp, now));
        let leg = &mut self.legs[key];
        if leg.shortcut.is_taken() {
            if !leg.shortcut.is_good(path, flow.as_ref(), now) {
                leg.leave_shortcut(path, now);
            }
        } else if let Some(flow) = flow {
            leg.shortcut.take(path, flow, now);
        }
    }

    /// A command is about to be obeyed: the counts of its session are brought up to date, and unless it only asks
    /// for them its packets come to the worker until everything is settled again.
    pub(crate) fn recall(&mut self, command: &Command, now: u64) {
        let way = Arc::clone(&self.shortcuts.way);
        let Some(path) = way.get() else { return };
        let asks = matches!(command, Command::Count { .. });
        for stream in 0.. {
            let streams = self.streams(command.session());
            let Some(&legs) = streams.and_then(|streams| streams.get(stream)) else {
                break;
            };
            for key in legs.into_iter().flatten() {
                match asks {
                    true => self.legs[key].catch_up(path, now),
                    false => self.legs[key].leave_shortcut(path, now),
                }
            }
        }
    }
}
