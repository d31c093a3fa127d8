//! The task that answers.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use base::Token;
use engine::{Answer, Ask, Found, Question, Server};
use sip::locate::Way;
use tokio::sync::mpsc::Receiver;
use tokio::task::{Id, JoinError, JoinSet};

use crate::desk::nothing;
use crate::search::search;
use crate::{Deliver, Names, Settings};

/// Answers questions for as long as it runs; equal ones that come while the first is under way are
/// looked up once.
pub struct Task {
    settings: Settings,
    receiver: Receiver<Ask>,
    deliver: Arc<Deliver>,
    /// Who waits for which server.
    waiting: HashMap<Server, Vec<Token>>,
    under_way: JoinSet<Vec<Way>>,
    /// Which server each search is for.
    searched: HashMap<Id, Server>,
}

impl Task {
    pub(crate) fn new(settings: Settings, receiver: Receiver<Ask>, deliver: Arc<Deliver>) -> Self {
        Self {
            settings,
            receiver,
            deliver,
            waiting: HashMap::new(),
            under_way: JoinSet::new(),
            searched: HashMap::new(),
        }
    }

    /// Answers until nobody can ask any more. Wants a tokio runtime with IO and time.
    pub async fn run(mut self) {
        let names = match Names::new(&self.settings) {
            Ok(names) => names,
            Err(error) => {
                tracing::error!(%error, "names can't be looked up");
                return self.find_nothing().await;
            }
        };
        loop {
            tokio::select! {
                ask = self.receiver.recv() => match ask {
                    Some(ask) => self.take(&names, ask),
                    None => return,
                },
                Some(done) = self.under_way.join_next_with_id() => self.finish(done),
            }
        }
    }

    fn take(&mut self, names: &Names, ask: Ask) {
        let Question::Locate(server) = &ask.question;
        if let Some(waiting) = self.waiting.get_mut(server) {
            if waiting.len() < MOST_WAITING {
                return waiting.push(ask.id);
            }
            return (self.deliver)(nothing(&ask));
        }
        if self.under_way.len() >= MOST_SEARCHES {
            return (self.deliver)(nothing(&ask));
        }
        let Question::Locate(server) = ask.question;
        self.waiting.insert(server.clone(), vec![ask.id]);
        let (names, limit) = (names.clone(), self.settings.limit);
        let search = self.under_way.spawn(search(names, server.clone(), limit));
        self.searched.insert(search.id(), server);
    }

    fn finish(&mut self, done: Result<(Id, Vec<Way>), JoinError>) {
        let (id, ways) = done.unwrap_or_else(|error| {
            tracing::error!(%error, "a search for a server broke off");
            (error.id(), Vec::new())
        });
        let Some(server) = self.searched.remove(&id) else {
            return;
        };
        if ways.is_empty() {
            tracing::warn!(server = %server.host, "a server can't be found by its name");
        }
        for id in self.waiting.remove(&server).unwrap_or_default() {
            let found = Found::Ways(ways.clone());
            (self.deliver)(Answer { id, found });
        }
    }

    async fn find_nothing(mut self) {
        while let Some(ask) = self.receiver.recv().await {
            (self.deliver)(nothing(&ask));
        }
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").finish_non_exhaustive()
    }
}

/// Most servers that are searched for at once; further ones are not found.
const MOST_SEARCHES: usize = 256;

/// Most questions that wait for one server; further ones find nothing.
const MOST_WAITING: usize = 4096;
