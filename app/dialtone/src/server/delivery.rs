//! What the signalling threads have to be told, even when too much waits for one of them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base::{SLOTS, Slot};
use engine::{Answer, Full, Handle};
use pbx::Command;
use tokio::sync::Notify;

use super::TICK;

/// Delivers media events, answers and commands in order, and keeps what a full mailbox didn't take.
///
/// What waits is bounded: a session has a few events, a slot asks a few questions at once, and operators
/// are few.
#[derive(Debug)]
pub(super) struct Delivery {
    handle: Handle<Command>,
    waiting: Mutex<VecDeque<Item>>,
    filled: Notify,
}

#[derive(Debug)]
enum Item {
    Media(media::Event),
    Command(Slot, Box<Command>),
    Answer(Answer),
}

impl Delivery {
    pub(super) fn new(handle: Handle<Command>) -> Self {
        Self {
            handle,
            waiting: Mutex::default(),
            filled: Notify::new(),
        }
    }

    /// The way to the threads.
    pub(super) fn handle(&self) -> &Handle<Command> {
        &self.handle
    }

    /// Delivers a media worker's event.
    pub(super) fn media(&self, event: media::Event) {
        self.put(Item::Media(event));
    }

    /// Delivers the answer to a slot's question.
    pub(super) fn answer(&self, answer: Answer) {
        self.put(Item::Answer(answer));
    }

    /// Delivers an operator's command.
    pub(super) fn command(&self, slot: Slot, command: Command) {
        self.put(Item::Command(slot, Box::new(command)));
    }

    /// Delivers a command to every slot.
    pub(super) fn broadcast(&self, command: impl Fn() -> Command) {
        for number in 0..SLOTS {
            self.command(Slot::new(number as u8), command());
        }
    }

    /// Tries what waits again.
    pub(super) fn flush(&self) {
        let mut waiting = self.lock();
        while let Some(item) = waiting.pop_front() {
            if let Err(item) = self.attempt(item) {
                waiting.push_front(item);
                return;
            }
        }
    }

    /// Tries what waits again and again; never returns.
    pub(super) async fn retry(&self) {
        loop {
            self.filled.notified().await;
            while !self.lock().is_empty() {
                tokio::time::sleep(TICK).await;
                self.flush();
            }
        }
    }

    fn put(&self, item: Item) {
        let mut waiting = self.lock();
        // Nothing overtakes what waits already.
        let refused = if waiting.is_empty() {
            self.attempt(item).err()
        } else {
            Some(item)
        };
        if let Some(item) = refused {
            waiting.push_back(item);
            self.filled.notify_one();
        }
    }

    fn attempt(&self, item: Item) -> Result<(), Item> {
        match item {
            Item::Media(event) => {
                let refused = self.handle.media(event);
                refused.map_err(|Full(event)| Item::Media(event))
            }
            Item::Answer(answer) => {
                let refused = self.handle.answer(answer);
                refused.map_err(|Full(answer)| Item::Answer(answer))
            }
            Item::Command(slot, command) => {
                let refused = self.handle.command(slot, *command);
                refused.map_err(|Full(command)| Item::Command(slot, Box::new(command)))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Item>> {
        // The queue is whole after each statement.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
