//! What becomes of the events of the signalling threads: log, read model, call records.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Result;
use api::{Call, CallState};
use base::{Pii, Slot, Token, UnixTime};
use media::Side;
use pbx::{CallRecord, Event, RoomEvent};
use store::CallLog;

use super::record;
use super::room_events;
use super::trace::Legs;

/// The thread that takes events. Dropping it handles what is left and ends it.
#[derive(Debug)]
pub(super) struct Observer {
    observed: Arc<Observed>,
    thread: Option<JoinHandle<()>>,
}

/// What the observer shares with those who tell it and those who ask it.
#[derive(Debug)]
pub(super) struct Observed {
    /// Calls in progress.
    pub(super) calls: api::Calls,
    /// Who follows what happens in rooms.
    pub(super) rooms: room_events::Viewers,
    /// Which call a Call-ID belongs to.
    pub(super) legs: Arc<Legs>,
    /// Wrong credentials since the start.
    pub(super) authentication_failures: AtomicU64,
    queue: Mutex<Queue>,
    filled: Condvar,
    call_log: CallLog,
}

#[derive(Debug, Default)]
struct Queue {
    news: Vec<News>,
    /// Events that may be lost, and were.
    lost: u64,
    /// The thread waits to be woken.
    asleep: bool,
    closing: bool,
}

/// What the observer is told.
#[derive(Debug)]
enum News {
    Event(Event),
    /// The machine of a slot failed at this time; its calls are gone.
    Lost(Slot, UnixTime),
}

impl Observer {
    pub(super) fn start(call_log: CallLog) -> Result<Self> {
        let observed = Arc::new(Observed {
            calls: api::Calls::new(),
            rooms: room_events::Viewers::default(),
            legs: Arc::default(),
            authentication_failures: AtomicU64::new(0),
            queue: Mutex::default(),
            filled: Condvar::new(),
            call_log,
        });
        let thread = {
            let observed = Arc::clone(&observed);
            Builder::new()
                .name("observer".into())
                .spawn(move || observe(&observed))?
        };
        Ok(Self {
            observed,
            thread: Some(thread),
        })
    }

    pub(super) fn observed(&self) -> Arc<Observed> {
        Arc::clone(&self.observed)
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.observed.lock().closing = true;
        self.observed.filled.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

impl Observed {
    /// Takes all events. When too many wait, those are dropped that may be; call records never are,
    /// because then no new call is let in.
    pub(super) fn publish(&self, events: &mut Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let mut queue = self.lock();
        for event in events.drain(..) {
            if queue.news.len() < MOST_WAITING || event.is_record() {
                queue.news.push(News::Event(event));
            } else {
                queue.lost += 1;
            }
        }
        if queue.asleep {
            self.filled.notify_one();
        }
    }

    /// The machine of a slot failed, and starts afresh without its calls.
    pub(super) fn lost(&self, slot: Slot, at: UnixTime) {
        self.lock().news.push(News::Lost(slot, at));
        self.filled.notify_one();
    }

    /// Queues a line of the call log.
    fn keep(&self, ended: UnixTime, line: String) {
        if let Err(line) = self.call_log.push(ended, line) {
            // Better here than nowhere.
            tracing::error!(record = line, "this call record could not be queued");
        }
    }

    /// Whether call records are taken and written as fast as calls end.
    pub(super) fn healthy(&self) -> bool {
        self.lock().news.len() < MOST_WAITING && self.call_log.healthy()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // The queue is whole after each statement.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for events and swaps them into `batch`; false at the end.
    fn next(&self, batch: &mut Vec<News>) -> bool {
        let mut queue = self.lock();
        queue.asleep = true;
        while queue.news.is_empty() && !queue.closing {
            let woken = self.filled.wait(queue);
            queue = woken.unwrap_or_else(PoisonError::into_inner);
        }
        queue.asleep = false;
        std::mem::swap(batch, &mut queue.news);
        let lost = std::mem::take(&mut queue.lost);
        drop(queue);
        if lost > 0 {
            self.rooms.missed(lost);
            tracing::warn!(
                events = lost,
                "too much happens; some events were not logged"
            );
        }
        !batch.is_empty()
    }

    /// Lets events gather, so that a busy server doesn't wake this thread for each.
    fn rest(&self) {
        let queue = self.lock();
        let woken = self.filled.wait_timeout_while(queue, REST, |q| !q.closing);
        drop(woken);
    }
}

fn observe(observed: &Observed) {
    let mut batch = Vec::new();
    let mut refusals = Throttle::new();
    while observed.next(&mut batch) {
        for news in batch.drain(..) {
            match news {
                News::Event(event) => handle(observed, &mut refusals, event),
                News::Lost(slot, at) => lost(observed, slot, at),
            }
        }
        batch.shrink_to(MOST_KEPT);
        observed.rest();
    }
}

fn handle(observed: &Observed, refusals: &mut Throttle, event: Event) {
    match event {
        Event::Registered {
            user,
            contact,
            from,
        } => {
            let (user, contact, peer) = (Pii(user), Pii(contact), Pii(from));
            tracing::info!(%user, %contact, %peer, "registered");
        }
        Event::Unregistered {
            user,
            contact,
            expired,
        } => {
            let (user, contact) = (Pii(user), Pii(contact));
            tracing::info!(%user, %contact, expired, "unregistered");
        }
        Event::AuthenticationFailed { user, from } => {
            observed.authentication_failures.fetch_add(1, Relaxed);
            if let Some(unlogged) = refusals.pass(Instant::now()) {
                // The address is shown: it is what a firewall needs.
                tracing::warn!(user = %Pii(user), peer = %from, unlogged, "wrong credentials");
            }
        }
        Event::TrunkUp { trunk } => tracing::info!(%trunk, "trunk up"),
        Event::TrunkDown { trunk, reason } => tracing::warn!(%trunk, %reason, "trunk down"),
        Event::MessageRefused { user, status } => {
            let (user, status) = (Pii(user), status.0);
            tracing::warn!(%user, status, "a message that waited was refused, and is gone");
        }
        Event::CallStarted {
            call,
            caller,
            number,
            from,
            at,
            proxied,
        } => {
            let (from_user, to, peer) = (Pii(&caller), Pii(&number), Pii(from));
            tracing::debug!(%call, caller = %from_user, number = %to, %peer, "call");
            observed.calls.started(Call {
                id: call.to_string(),
                caller: caller.to_string(),
                callee: number.to_string(),
                state: CallState::Calling,
                started: at.0,
                answered: None,
                proxied,
                ..Call::default()
            });
        }
        Event::CallLeg { call, call_id } => observed.legs.joined(call, &call_id),
        Event::CallRinging { call } => {
            tracing::debug!(%call, "ringing");
            observed.calls.ringing(call.as_str());
        }
        Event::CallAnswered { call, at } => {
            tracing::debug!(%call, "answered");
            observed.calls.answered(call.as_str(), at.0);
        }
        Event::CallSounds { call, stats } => {
            let [caller, callee] = stats.map(record::sound);
            observed.calls.sounds(call.as_str(), caller, callee);
        }
        Event::CallAlarm {
            call, side, reason, ..
        } => {
            let leg = if side == Side::Caller {
                "caller"
            } else {
                "callee"
            };
            // The addresses are shown: they are what is wrong.
            tracing::warn!(%call, leg, %reason, "something is wrong with the sound");
            observed.calls.alarmed(call.as_str(), &reason);
        }
        Event::Room(event) => {
            in_room(&event);
            observed.rooms.tell(&event);
        }
        Event::RoomNewsLost { room, lost } => {
            tracing::warn!(%room, lost, "more happened in the conference room at once than can be told");
            observed.rooms.missed_in(&room, lost);
        }
        Event::CallEnded(record) => ended(observed, &record),
    }
}

fn in_room(event: &RoomEvent) {
    let RoomEvent { room, change, .. } = event;
    let (call, name) = event.participant.clone().unzip();
    let (call, participant) = (
        call.map(|call| call.to_string()),
        name.map(|name| Pii(name).to_string()),
    );
    let (call, participant) = (call.as_deref(), participant.as_deref());
    let (what, file) = (change.as_str(), change.recording().map(AsRef::as_ref));
    let file: Option<&str> = file;
    if change.is_about_speech() {
        tracing::debug!(%room, call, participant, what, "conference room");
    } else {
        tracing::info!(%room, call, participant, what, file, "conference room");
    }
}

fn ended(observed: &Observed, record: &CallRecord) {
    let call = record.call;
    let (caller, number) = (Pii(&record.caller), Pii(&record.number));
    let (cause, status) = (record.cause.as_str(), record.status.0);
    let seconds = record.duration_ms / 1000;
    tracing::info!(%call, %caller, %number, cause, status, seconds, "call ended");
    observed.keep(record.ended, record::line(record));
    // Last: who waits for the call to be gone finds its record queued.
    observed.calls.ended(call.as_str());
    observed.legs.ended(call);
}

/// The calls of a slot are gone without a word.
fn lost(observed: &Observed, slot: Slot, at: UnixTime) {
    observed.legs.lost(slot);
    let of_slot = |id: &str| Token::parse(id).is_some_and(|call| call.slot() == slot);
    for call in observed.calls.take(of_slot) {
        let (caller, number) = (Pii(&call.caller), Pii(&call.callee));
        tracing::error!(call = call.id, %caller, %number, "call lost by a fault of the server");
        observed.keep(at, record::line_of_lost(&call, at));
    }
}

/// Lets a few lines a second through: scanners fail to authenticate all day.
#[derive(Debug)]
struct Throttle {
    second: Option<Instant>,
    passed: u32,
    held: u64,
}

impl Throttle {
    fn new() -> Self {
        Self {
            second: None,
            passed: 0,
            held: 0,
        }
    }

    /// Whether a line may be written now, and how many were not since the last.
    fn pass(&mut self, now: Instant) -> Option<u64> {
        let running = self
            .second
            .is_some_and(|s| now.duration_since(s).as_secs() == 0);
        if !running {
            (self.second, self.passed) = (Some(now), 0);
        }
        if self.passed == LINES_A_SECOND {
            self.held += 1;
            return None;
        }
        self.passed += 1;
        Some(std::mem::take(&mut self.held))
    }
}

/// Beyond so many waiting events, new calls are refused and lesser events are dropped.
const MOST_WAITING: usize = 16_384;

/// How much of the batch's memory is kept.
const MOST_KEPT: usize = 1024;

/// How long the thread leaves a busy queue alone.
const REST: Duration = Duration::from_millis(20);

const LINES_A_SECOND: u32 = 10;

#[cfg(test)]
mod tests {
    use base::Mint;
    use sip::StatusCode;

    use super::*;

    fn token() -> Token {
        Mint::new(Slot::new(3), [1; 32]).token()
    }

    fn record(call: Token) -> Event {
        Event::CallEnded(Box::new(CallRecord {
            call,
            call_id: "c\"1".into(),
            caller: "1001".into(),
            number: "1002".into(),
            answered_by: None,
            trunk_in: None,
            trunk_out: None,
            room: None,
            recordings: Vec::new(),
            verstat: None,
            started: UnixTime(1_795_236_356),
            answered: None,
            ended: UnixTime(1_795_236_358),
            duration_ms: 0,
            cause: pbx::Cause::NoAnswer,
            status: StatusCode(480),
            media: Default::default(),
            alarms: Vec::new(),
        }))
    }

    fn started(call: Token) -> Event {
        Event::CallStarted {
            call,
            caller: "1001".into(),
            number: "1002".into(),
            from: "192.0.2.7:5060".parse().unwrap(),
            at: UnixTime(1_795_236_356),
            proxied: false,
        }
    }

    #[test]
    fn a_call_is_seen_while_it_lasts_and_recorded_once() {
        let folder = tempfile::tempdir().unwrap();
        let observer = Observer::start(CallLog::open(folder.path(), 10).unwrap()).unwrap();
        let observed = observer.observed();
        let call = token();
        observed.publish(&mut vec![started(call), Event::CallRinging { call }]);
        let begin = Instant::now();
        while observed.calls.list().first().map(|c| c.state) != Some(CallState::Ringing) {
            assert!(begin.elapsed().as_secs() < 30, "the call was not seen");
            std::thread::yield_now();
        }
        observed.publish(&mut vec![record(call)]);
        drop(observer);
        assert!(observed.calls.is_empty());
        drop(observed);
        let text = std::fs::read_to_string(folder.path().join("2026-11.jsonl")).unwrap();
        assert_eq!(text.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["call"], call.as_str());
        assert_eq!(line["call_id"], "c\"1");
        assert_eq!(line["cause"], "no-answer");
        assert_eq!(line["started"], "2026-11-21T04:45:56Z");
    }

    #[test]
    fn calls_of_a_slot_that_fails_are_recorded_too() {
        let folder = tempfile::tempdir().unwrap();
        let observer = Observer::start(CallLog::open(folder.path(), 10).unwrap()).unwrap();
        let observed = observer.observed();
        let elsewhere = Mint::new(Slot::new(4), [1; 32]).token();
        let mut events = vec![started(token()), started(elsewhere)];
        events.push(Event::CallAnswered {
            call: token(),
            at: UnixTime(1_795_236_357),
        });
        observed.publish(&mut events);
        observed.lost(Slot::new(3), UnixTime(1_795_236_359));
        drop(observer);
        assert_eq!(observed.calls.list()[0].id, elsewhere.as_str());
        drop(observed);
        let text = std::fs::read_to_string(folder.path().join("2026-11.jsonl")).unwrap();
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&line["call"], &line["cause"]),
            (&token().as_str().into(), &"server-fault".into())
        );
        assert_eq!(line["duration_ms"], 2000);
    }

    #[test]
    fn under_overload_only_lesser_events_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let observed = Observed {
            calls: api::Calls::new(),
            rooms: room_events::Viewers::default(),
            legs: Arc::default(),
            authentication_failures: AtomicU64::new(0),
            queue: Mutex::default(),
            filled: Condvar::new(),
            call_log: CallLog::open(folder.path(), 10).unwrap(),
        };
        let call = token();
        for _ in 0..=MOST_WAITING {
            observed.publish(&mut vec![Event::CallRinging { call }]);
        }
        assert!(!observed.healthy());
        observed.publish(&mut vec![record(call)]);
        let queue = observed.lock();
        assert_eq!((queue.news.len(), queue.lost), (MOST_WAITING + 1, 1));
    }

    #[test]
    fn the_throttle_counts_what_it_holds_back() {
        let (mut throttle, start) = (Throttle::new(), Instant::now());
        let passed = (0..25).filter(|_| throttle.pass(start).is_some()).count();
        assert_eq!(passed, LINES_A_SECOND as usize);
        assert_eq!(throttle.pass(start + Duration::from_secs(1)), Some(15));
        assert_eq!(throttle.pass(start + Duration::from_secs(1)), Some(0));
    }
}
