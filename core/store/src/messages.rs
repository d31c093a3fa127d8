//! Instant messages that wait for a phone.
//!
//! A message that is put here is kept on disk before it is settled, and only then is its sender told
//! that it was accepted. It leaves when a phone has taken it or it is too old. If the process ends
//! between the two, the phone gets the message again, under the same Call-ID.
//!
//! - `record`: a message as a record. - `log`: the file, and the thread that writes it.

mod log;
mod record;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::{Slot, Token, UnixTime};

use log::Log;

/// An instant message (RFC 3428) for a user of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextMessage {
    /// Its name; also the Call-ID under which phones get it.
    pub id: Token,
    /// The user whom it is for.
    pub to: Box<str>,
    /// Number of the sender.
    pub from: Box<str>,
    /// Display name of the sender; empty: none.
    pub display: Box<str>,
    /// When it came.
    pub at: UnixTime,
    /// Content-Type.
    pub content_type: Box<str>,
    /// Other header fields that go with the body, by name and value.
    pub fields: Vec<(String, String)>,
    /// The body.
    pub body: Box<[u8]>,
}

/// What became of a message that was put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Put {
    /// It is kept.
    Kept,
    /// The disk is being asked; the slot of its id will find the answer in
    /// [`take_settled`](Messages::take_settled).
    Waits,
    /// Too much waits for this user already, or for all together.
    Full,
}

/// Whether a message that was put is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settled {
    /// The message.
    pub id: Token,
    /// It is safe; if not, the disk has refused it.
    pub kept: bool,
}

/// Wakes the machine of a slot, from the thread that writes.
pub type Wake = dyn Fn(Slot) + Send + Sync;

/// All messages that wait. Shared by all threads.
#[derive(Debug)]
pub struct Messages {
    shared: Arc<Shared>,
    /// None: they are kept in memory alone.
    log: Option<Log>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// How many messages wait: mostly none, and then nobody need look.
    total: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<Box<str>, VecDeque<Arc<TextMessage>>>,
    /// Octets of all that wait, and of what is being written.
    octets: usize,
    /// How many are being written for each user.
    coming: HashMap<Box<str>, usize>,
    /// By slot: what has become of what it put.
    settled: BTreeMap<Slot, Vec<Settled>>,
    /// By slot: users whose messages may be delivered now.
    due: BTreeMap<Slot, BTreeSet<Arc<str>>>,
}

impl Messages {
    /// Messages that are in memory alone.
    #[must_use]
    pub fn in_memory() -> Self {
        Self {
            shared: Arc::default(),
            log: None,
        }
    }

    /// The messages in this file, which need not exist yet, but for those that are too old at `now`.
    /// `wake` is called when a slot should look here.
    ///
    /// # Errors
    /// If the file can't be read or written.
    pub fn open(file: &Path, now: UnixTime, wake: Arc<Wake>) -> io::Result<Self> {
        let (mut kept, damaged) = log::read(file)?;
        if damaged > 0 {
            let file = file.display();
            tracing::warn!(%file, damaged, "some waiting messages were not understood");
        }
        kept.retain(|message| !is_old(message, now));
        let shared = Arc::new(Shared::default());
        {
            let mut state = shared.lock();
            for message in &kept {
                state.octets += size(message);
                state.hold(Arc::new(message.clone()));
            }
            state.ready_all();
            shared.total.store(kept.len(), Ordering::Release);
        }
        let log = Log::start(file, &kept, Arc::clone(&shared), wake)?;
        Ok(Self {
            shared,
            log: Some(log),
        })
    }

    /// Keeps a message. Does not wait for the disk.
    pub fn put(&self, message: TextMessage) -> Put {
        let now = message.at;
        let mut state = self.shared.lock();
        self.drop_old(&mut state, &message.to, now);
        let waiting = state.waiting.get(&message.to).map_or(0, VecDeque::len);
        let coming = state.coming.get(&message.to).copied().unwrap_or(0);
        let octets = size(&message);
        if waiting + coming >= MOST_OF_ONE_USER || state.octets + octets > MOST_OCTETS {
            return Put::Full;
        }
        state.octets += octets;
        match &self.log {
            None => {
                self.shared.total.fetch_add(1, Ordering::Release);
                state.hold(Arc::new(message));
                Put::Kept
            }
            Some(log) => {
                *state.coming.entry(message.to.clone()).or_default() += 1;
                drop(state);
                log.put(message);
                Put::Waits
            }
        }
    }

    /// What has become of the messages that were put in `slot`.
    #[must_use]
    pub fn take_settled(&self, slot: Slot) -> Vec<Settled> {
        if self.log.is_none() {
            return Vec::new();
        }
        self.shared.lock().settled.remove(&slot).unwrap_or_default()
    }

    /// Whether something waits for the user.
    #[must_use]
    pub fn has(&self, user: &str) -> bool {
        !self.is_empty() && self.shared.lock().waiting.contains_key(user)
    }

    /// The oldest message that waits for the user and is not too old.
    #[must_use]
    pub fn first(&self, user: &str, now: UnixTime) -> Option<Arc<TextMessage>> {
        if self.is_empty() {
            return None;
        }
        let mut state = self.shared.lock();
        self.drop_old(&mut state, user, now);
        state.waiting.get(user)?.front().map(Arc::clone)
    }

    /// The messages of this user may be delivered: the slot that does that has to be woken.
    pub fn ready(&self, user: &str) -> Option<Slot> {
        if !self.has(user) {
            return None;
        }
        let slot = slot_of(user);
        let mut state = self.shared.lock();
        state.due.entry(slot).or_default().insert(user.into());
        Some(slot)
    }

    /// All that waits may be delivered, as after a start.
    pub fn ready_all(&self) {
        self.shared.lock().ready_all();
    }

    /// Takes the users whose messages `slot` should deliver now.
    #[must_use]
    pub fn take_ready(&self, slot: Slot) -> BTreeSet<Arc<str>> {
        if self.is_empty() {
            return BTreeSet::new();
        }
        self.shared.lock().due.remove(&slot).unwrap_or_default()
    }

    /// A phone has taken the message, or it can't be delivered.
    pub fn remove(&self, user: &str, id: Token) {
        let mut state = self.shared.lock();
        let removed = state.release(user, |message| message.id == id);
        self.removed(&removed);
    }

    /// How many messages wait for each user, by name.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let state = self.shared.lock();
        let waiting = state.waiting.iter();
        waiting
            .map(|(user, all)| (user.to_string(), all.len()))
            .collect()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shared.total.load(Ordering::Acquire) == 0
    }

    fn drop_old(&self, state: &mut State, user: &str, now: UnixTime) {
        let removed = state.release(user, |message| is_old(message, now));
        if !removed.is_empty() {
            tracing::info!(
                messages = removed.len(),
                "messages that nobody fetched are dropped"
            );
        }
        self.removed(&removed);
    }

    fn removed(&self, removed: &[Token]) {
        self.shared
            .total
            .fetch_sub(removed.len(), Ordering::Release);
        if let Some(log) = &self.log {
            removed.iter().for_each(|id| log.remove(*id));
        }
    }
}

impl Shared {
    /// The disk has taken the message, or refused it.
    fn settle(&self, message: TextMessage, kept: bool) {
        let mut state = self.lock();
        if let Some(coming) = state.coming.get_mut(&message.to) {
            *coming -= 1;
            if *coming == 0 {
                state.coming.remove(&message.to);
            }
        }
        let id = message.id;
        if kept {
            self.total.fetch_add(1, Ordering::Release);
            state.hold(Arc::new(message));
        } else {
            state.octets -= size(&message);
        }
        let settled = state.settled.entry(id.slot()).or_default();
        settled.push(Settled { id, kept });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What is locked is whole after each statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn hold(&mut self, message: Arc<TextMessage>) {
        let all = self.waiting.entry(message.to.clone()).or_default();
        all.push_back(message);
    }

    fn ready_all(&mut self) {
        for user in self.waiting.keys() {
            let due = self.due.entry(slot_of(user)).or_default();
            due.insert((**user).into());
        }
    }

    fn release(&mut self, user: &str, which: impl Fn(&TextMessage) -> bool) -> Vec<Token> {
        let Some(all) = self.waiting.get_mut(user) else {
            return Vec::new();
        };
        let mut removed = Vec::new();
        all.retain(|message| {
            let goes = which(message);
            if goes {
                self.octets -= size(message);
                removed.push(message.id);
            }
            !goes
        });
        if all.is_empty() {
            self.waiting.remove(user);
        }
        removed
    }
}

/// The slot that delivers the messages of a user: the one that keeps the user's registrations.
fn slot_of(user: &str) -> Slot {
    Slot::of_key(user.as_bytes())
}

fn size(message: &TextMessage) -> usize {
    OVERHEAD + message.body.len()
}

fn is_old(message: &TextMessage, now: UnixTime) -> bool {
    now.0.saturating_sub(message.at.0) > LONGEST.as_secs()
}

/// Most messages that wait for one user; the sender of one more is refused.
const MOST_OF_ONE_USER: usize = 200;

/// Most octets of all messages together; the sender of one that does not fit is refused.
const MOST_OCTETS: usize = 64 << 20;

/// Octets that a message counts beside its body.
const OVERHEAD: usize = 512;

/// How long a message waits; an older one is dropped.
const LONGEST: Duration = Duration::from_secs(14 * 24 * 3600);

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use base::Mint;

    use super::*;

    pub(super) fn message(mint: &mut Mint, to: &str, at: u64) -> TextMessage {
        TextMessage {
            id: mint.token(),
            to: to.into(),
            from: "1001".into(),
            display: "A".into(),
            at: UnixTime(at),
            content_type: "text/plain".into(),
            fields: vec![("Subject".to_owned(), "x".to_owned())],
            body: format!("hello {at}").into_bytes().into(),
        }
    }

    fn mint() -> Mint {
        Mint::new(Slot::new(9), [0; 32])
    }

    fn open(file: &Path) -> (Messages, Receiver<Slot>) {
        let (sender, woken) = channel();
        let wake = Arc::new(move |slot| {
            let _ = sender.send(slot);
        });
        (Messages::open(file, UnixTime(100), wake).unwrap(), woken)
    }

    fn put(messages: &Messages, woken: &Receiver<Slot>, message: TextMessage) {
        let id = message.id;
        assert_eq!(messages.put(message), Put::Waits);
        let slot = woken.recv_timeout(Duration::from_secs(30)).unwrap();
        assert_eq!(messages.take_settled(slot), [Settled { id, kept: true }]);
    }

    #[test]
    fn a_file_of_a_later_release_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("messages");
        let mut bytes = Vec::new();
        crate::journal::frame::put(&mut bytes, &[record::VERSION + 1, 7, 7]);
        std::fs::write(&file, &bytes).unwrap();
        let error = Messages::open(&file, UnixTime(100), Arc::new(|_| ())).unwrap_err();
        assert!(error.to_string().contains("record version 2"), "{error}");
        assert_eq!(std::fs::read(&file).unwrap(), bytes);
    }

    #[test]
    fn what_is_settled_survives_in_order_and_what_was_taken_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("messages");
        let mut mint = mint();
        let all: Vec<_> = (1..=3).map(|at| message(&mut mint, "1002", at)).collect();
        {
            let (messages, woken) = open(&file);
            for one in &all {
                put(&messages, &woken, one.clone());
            }
            messages.remove("1002", all[0].id);
        }
        let (messages, _woken) = open(&file);
        assert_eq!(messages.counts(), [("1002".to_owned(), 2)].into());
        let users = messages.take_ready(slot_of("1002"));
        assert_eq!(users.into_iter().collect::<Vec<_>>(), ["1002".into()]);
        let first = messages.first("1002", UnixTime(100)).unwrap();
        assert_eq!(*first, all[1]);
        messages.remove("1002", first.id);
        let next = messages.first("1002", UnixTime(100)).unwrap();
        assert_eq!(*next, all[2]);
    }

    #[test]
    fn a_torn_end_costs_only_what_was_not_settled() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("messages");
        let mut mint = mint();
        {
            let (messages, woken) = open(&file);
            put(&messages, &woken, message(&mut mint, "1002", 1));
        }
        let mut bytes = std::fs::read(&file).unwrap();
        let whole = bytes.len();
        bytes.extend_from_within(..whole / 2);
        std::fs::write(&file, bytes).unwrap();
        let (messages, _woken) = open(&file);
        assert_eq!(messages.counts(), [("1002".to_owned(), 1)].into());
    }

    #[test]
    fn the_file_does_not_grow_with_what_has_been_delivered() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("messages");
        let (messages, woken) = open(&file);
        let mut mint = mint();
        for at in 1..=200 {
            let mut large = message(&mut mint, "1002", at);
            large.body = vec![b'x'; 60_000].into();
            let id = large.id;
            put(&messages, &woken, large);
            messages.remove("1002", id);
        }
        drop(messages);
        let size = std::fs::metadata(&file).unwrap().len();
        assert!(size < 4 << 20, "{size} octets");
    }

    #[test]
    fn users_have_limits_and_messages_an_age() {
        let (messages, mut mint) = (Messages::in_memory(), mint());
        let kept = (0..300).filter(|at| {
            let one = message(&mut mint, "1002", *at);
            messages.put(one) == Put::Kept
        });
        assert_eq!(kept.count(), MOST_OF_ONE_USER);
        assert!(messages.has("1002") && !messages.has("1003"));
        let late = UnixTime(LONGEST.as_secs() + 100);
        let first = messages.first("1002", late).unwrap();
        assert_eq!(first.at, UnixTime(100));
        assert_eq!(messages.ready("1002"), Some(slot_of("1002")));
        assert_eq!(messages.take_ready(slot_of("1002")).len(), 1);
        let end = UnixTime(10 * LONGEST.as_secs());
        assert_eq!(messages.first("1002", end), None);
        assert!(messages.is_empty() && messages.shared.lock().octets == 0);
    }
}
