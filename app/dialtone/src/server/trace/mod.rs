//! Messages as they come and go, for viewers.
//!
//! A thread takes the copies that the signalling threads make while somebody looks, puts them in
//! order, finds the call of each, and hands them to those who want them. Nobody waits for a viewer.
//!
//! - [`message`]: one message. - [`legs`]: which call it belongs to. - [`filter`]: who wants it.
//! - [`history`]: messages of the past. - [`export`]: copies for a capture server.

mod export;
mod filter;
mod history;
mod legs;
mod message;

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Result;
use api::{Feed, Lines, Refusal, TraceFilter, TraceLine};
use base::Token;
use engine::{Batch, Handle, Wiretap};
use pbx::Command;
use sip::Message;
use store::Bindings;

use crate::settings::server;
use export::Export;
use filter::{Filter, Phone};
use history::History;
pub(super) use legs::Legs;
use message::{Traced, WallClock};

/// Shows messages to whoever asks. Dropping it ends all views.
#[derive(Debug)]
pub(super) struct Hub {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    handle: Handle<Command>,
    legs: Arc<Legs>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    viewers: Vec<Viewer>,
    export: Option<Export>,
    history: History,
    /// There while anybody wants messages.
    wiretap: Option<Wiretap>,
    batch: Batch,
    /// Messages that an older one may still come before, and whose call may not be known yet.
    held: Vec<Traced>,
    clock: WallClock,
    closing: bool,
}

#[derive(Debug)]
struct Viewer {
    filter: Filter,
    feed: Feed,
}

impl Hub {
    pub(super) fn start(handle: Handle<Command>, legs: Arc<Legs>) -> Result<Self> {
        let shared = Arc::new(Shared {
            handle,
            legs,
            state: Mutex::new(State {
                viewers: Vec::new(),
                export: None,
                history: History::default(),
                wiretap: None,
                batch: Batch::default(),
                held: Vec::new(),
                clock: WallClock::new(),
                closing: false,
            }),
            changed: Condvar::new(),
        });
        let thread = {
            let shared = Arc::clone(&shared);
            Builder::new()
                .name("trace".into())
                .spawn(move || shared.run())?
        };
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Works by these settings from now on.
    pub(super) fn configure(&self, settings: &server::Trace) -> io::Result<()> {
        let mut state = self.shared.lock();
        state.history.resize(settings.history);
        let running = state.export.as_ref().map(Export::settings);
        if running != settings.hep.as_ref() {
            // The old one sends what waits before it ends.
            let old = state.export.take();
            drop(state);
            drop(old);
            let new = settings.hep.as_ref().map(Export::start).transpose()?;
            state = self.shared.lock();
            state.export = new;
        }
        if state.is_wanted() {
            state.listen(&self.shared.handle);
        }
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Shows messages from now on, and those of the past that are wanted. `users` and `bindings` tell
    /// whose phones a viewer means.
    pub(super) fn view(
        &self,
        wanted: &TraceFilter,
        users: &[pbx::User],
        bindings: &Arc<Bindings>,
    ) -> Result<Lines, Refusal> {
        let call = wanted.call.as_deref().map(|id| self.call(id)).transpose()?;
        let phone = wanted.phone.as_deref();
        let filter = Filter {
            call,
            phone: phone.map(|name| Phone::new(name, users, Arc::clone(bindings))),
            peer: wanted.peer,
        };
        let (feed, lines) = api::lines();
        let mut state = self.shared.lock();
        if state.viewers.len() >= MOST_VIEWERS {
            return Err(Refusal::new(format!("{MOST_VIEWERS} others trace already")));
        }
        if (wanted.last.is_some() || wanted.past) && !state.history.is_on() {
            let remedy = "set trace.history_megabytes in etc/dialtone.toml";
            return Err(Refusal::new(format!("the past is not kept; {remedy}")));
        }
        feed.put(api::lines::line(&TraceLine::Began));
        let viewer = Viewer { filter, feed };
        if call.is_some() || wanted.last.is_some() {
            let last = wanted.last.map(Duration::from_secs);
            let since = last.and_then(|last| Instant::now().checked_sub(last));
            state.show_past(&viewer, since);
        }
        if !wanted.past {
            state.listen(&self.shared.handle);
            state.viewers.push(viewer);
            self.shared.changed.notify_one();
        }
        Ok(lines)
    }

    /// Ends all views after what has happened up to now.
    pub(super) fn close(&self) {
        self.shared.lock().closing = true;
        self.shared.changed.notify_one();
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            // A panic of the thread has been reported by the panic hook.
            let _ = thread.join();
        }
    }

    /// Whether viewers still read what they were given before the end.
    pub(super) fn is_being_read(&self) -> bool {
        let state = self.shared.lock();
        state.viewers.iter().any(|v| !v.feed.is_deserted())
    }

    fn call(&self, id: &str) -> Result<Token, Refusal> {
        let call = Token::parse(id).filter(|call| self.shared.legs.contains(*call));
        call.ok_or_else(|| {
            Refusal::new(format!("there is no call {id}; `dialtone calls` shows all"))
        })
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn run(&self) {
        let mut state = self.lock();
        while !state.closing {
            state = if !state.is_wanted() {
                state.rest();
                self.changed.wait(state)
            } else {
                let now = Instant::now();
                state.collect();
                state.release(now.checked_sub(HOLD), &self.legs);
                let waited = self.changed.wait_timeout(state, TICK);
                waited
                    .map(|(state, _)| state)
                    .map_err(|error| PoisonError::new(error.into_inner().0))
            }
            .unwrap_or_else(PoisonError::into_inner);
        }
        state.collect();
        state.release(Some(Instant::now()), &self.legs);
        state.rest();
        state.viewers.iter().for_each(|viewer| viewer.feed.end());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // After a panic some messages are missing; everything else is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_wanted(&self) -> bool {
        !self.viewers.is_empty() || self.export.is_some() || self.history.is_on()
    }

    /// Has messages copied from now on.
    fn listen(&mut self, handle: &Handle<Command>) {
        if self.wiretap.is_none() {
            self.wiretap = handle.wiretap();
            self.clock = WallClock::new();
        }
    }

    /// Has nothing copied any more.
    fn rest(&mut self) {
        self.wiretap = None;
        self.held = Vec::new();
        self.batch = Batch::default();
    }

    /// Takes what the signalling threads have copied.
    fn collect(&mut self) {
        let Some(wiretap) = &mut self.wiretap else {
            return;
        };
        self.clock.follow();
        let missed = wiretap.take(&mut self.batch);
        self.held
            .extend(self.batch.iter().map(|tapped| Traced::new(&tapped)));
        if missed > 0 {
            let feeds = self.viewers.iter().map(|viewer| &viewer.feed);
            feeds.for_each(|feed| feed.missed(missed));
            let export = self.export.iter();
            export.for_each(|export| export.missed(missed));
        }
    }

    /// Hands out what is older than `until`, in order.
    fn release(&mut self, until: Option<Instant>, legs: &Legs) {
        // Stable: what one thread did at one moment stays in its order.
        self.held.sort_by_key(|traced| traced.at);
        let ripe = self.held.partition_point(|traced| Some(traced.at) <= until);
        for mut traced in self.held.drain(..ripe) {
            if let Ok(message) = Message::parse(&traced.bytes) {
                traced.call = legs.call_of(message.call_id());
                show(&self.viewers, &traced, &message, &self.clock);
            }
            if let Some(export) = &self.export {
                export.put(&traced, &self.clock);
            }
            if self.history.is_on() {
                self.history.put(traced);
            }
        }
        self.viewers.retain(|viewer| !viewer.feed.is_deserted());
    }
}

impl State {
    /// Gives a viewer what it wants of the past: of too much, the newest.
    fn show_past(&self, viewer: &Viewer, since: Option<Instant>) {
        let (mut lines, mut octets, mut older) = (Vec::new(), 0, 0);
        for traced in self.history.newest_since(since) {
            let message = Message::parse(&traced.bytes);
            if !message.is_ok_and(|message| viewer.filter.wants(traced, &message)) {
                continue;
            }
            if lines.len() >= MOST_PAST_LINES || octets >= MOST_PAST_OCTETS {
                older += 1;
                continue;
            }
            let line = api::lines::line(&traced.line(&self.clock));
            octets += line.len();
            lines.push(line);
        }
        viewer.feed.missed(older);
        for line in lines.into_iter().rev() {
            // The reader has had no time to leave.
            let _ = viewer.feed.put(line);
        }
    }
}

/// Gives a message to those who want it.
fn show(viewers: &[Viewer], traced: &Traced, message: &Message<'_>, clock: &WallClock) {
    let mut wanting = viewers
        .iter()
        .filter(|viewer| viewer.filter.wants(traced, message))
        .peekable();
    if wanting.peek().is_some() {
        let line = api::lines::line(&traced.line(clock));
        wanting.for_each(|viewer| {
            // One who has left is found by `release`.
            let _ = viewer.feed.put(line.clone());
        });
    }
}

/// Viewers at once; others are refused.
const MOST_VIEWERS: usize = 32;

/// Lines of the past for one viewer; older ones are counted as missed.
const MOST_PAST_LINES: usize = 10_000;

/// Octets of the past for one viewer; older ones are counted as missed.
const MOST_PAST_OCTETS: usize = 5 << 20;

/// How often the copies are fetched.
const TICK: Duration = Duration::from_millis(40);

/// How long a message is held: older ones of other threads, and word of the call that it begins, have
/// come by then. Held messages are bounded by what the signalling threads keep for so long.
const HOLD: Duration = Duration::from_millis(120);
