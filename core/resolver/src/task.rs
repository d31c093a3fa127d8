//! The task that answers.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use base::Token;
use engine::{Answer, Ask, Found, Question};
use tokio::sync::mpsc::Receiver;
use tokio::task::{Id, JoinError, JoinSet};

use crate::desk::nothing;
use crate::search::search;
use crate::{Certificates, Deliver, Names, Settings};

/// Answers questions for as long as it runs; equal ones that come while the first is under way are
/// looked up once.
pub struct Task {
    settings: Settings,
    receiver: Receiver<Ask>,
    deliver: Arc<Deliver>,
    /// Who waits for which answer.
    waiting: HashMap<Question, Vec<Token>>,
    under_way: JoinSet<Found>,
    /// What each search is for.
    searched: HashMap<Id, Question>,
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
        let mut certificates = Certificates::new(&self.settings, names.clone());
        loop {
            tokio::select! {
                ask = self.receiver.recv() => match ask {
                    Some(ask) => self.take(&names, &certificates, ask),
                    None => return,
                },
                Some(done) = self.under_way.join_next_with_id() => {
                    self.finish(&mut certificates, done);
                }
            }
        }
    }

    fn take(&mut self, names: &Names, certificates: &Certificates, ask: Ask) {
        if let Question::Certificate(url) = &ask.question
            && let Some(known) = certificates.known(url)
        {
            let found = Found::Certificate(known);
            return (self.deliver)(Answer { id: ask.id, found });
        }
        if let Some(waiting) = self.waiting.get_mut(&ask.question) {
            if waiting.len() < MOST_WAITING {
                return waiting.push(ask.id);
            }
            return (self.deliver)(nothing(&ask));
        }
        if self.under_way.len() >= MOST_SEARCHES {
            return (self.deliver)(nothing(&ask));
        }
        self.waiting.insert(ask.question.clone(), vec![ask.id]);
        let search = match ask.question.clone() {
            Question::Locate(server) => {
                let (names, limit) = (names.clone(), self.settings.limit);
                let search = async move { Found::Ways(search(names, server, limit).await) };
                self.under_way.spawn(search)
            }
            Question::Certificate(url) => {
                let fetch = certificates.fetch(url);
                let fetch = async move { Found::Certificate(fetch.await) };
                self.under_way.spawn(fetch)
            }
        };
        self.searched.insert(search.id(), ask.question);
    }

    fn finish(&mut self, certificates: &mut Certificates, done: Result<(Id, Found), JoinError>) {
        let (id, found) = match done {
            Ok((id, found)) => (id, Some(found)),
            Err(error) => {
                tracing::error!(%error, "a search broke off");
                (error.id(), None)
            }
        };
        let Some(question) = self.searched.remove(&id) else {
            return;
        };
        match (&question, &found) {
            (Question::Locate(server), Some(Found::Ways(ways))) if ways.is_empty() => {
                tracing::warn!(server = %server.host, "a server can't be found by its name");
            }
            (Question::Certificate(url), Some(Found::Certificate(found))) => {
                certificates.remember(url, found);
            }
            _ => {}
        }
        for id in self.waiting.remove(&question).unwrap_or_default() {
            let ask = Ask {
                id,
                question: question.clone(),
            };
            let answer = match &found {
                Some(found) => Answer {
                    id,
                    found: found.clone(),
                },
                None => nothing(&ask),
            };
            (self.deliver)(answer);
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

/// Most searches at once; further ones find nothing.
const MOST_SEARCHES: usize = 256;

/// Most questions that wait for one search; further ones find nothing.
const MOST_WAITING: usize = 4096;
