//! Replies that wait for counters.

use std::collections::{HashMap, VecDeque};

use media::{SessionId, SideStats};

use crate::machine::Asker;
use crate::report::Report;

/// Reports that are not complete yet.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    open: HashMap<u64, Tally>,
    /// Who waits for the counters of a session, in the order in which they asked.
    waiting: HashMap<SessionId, VecDeque<u64>>,
    next: u64,
}

#[derive(Debug)]
struct Tally {
    asker: Asker,
    report: Report,
    missing: usize,
}

impl Tallies {
    /// Whether another report may be begun; if not, its asker is told.
    pub(crate) fn has_room(&self) -> bool {
        self.open.len() < MOST
    }

    /// Begins a report that needs the counters of these sessions.
    pub(crate) fn begin(&mut self, asker: Asker, report: Report, sessions: &[SessionId]) {
        self.next += 1;
        for session in sessions {
            self.waiting
                .entry(*session)
                .or_default()
                .push_back(self.next);
        }
        let tally = Tally {
            asker,
            report,
            missing: sessions.len(),
        };
        self.open.insert(self.next, tally);
    }

    /// Takes counters; `last`: there are no others of this session. Hands complete reports on.
    pub(crate) fn count(
        &mut self,
        session: SessionId,
        stats: &[SideStats; 2],
        last: bool,
    ) -> Vec<(Asker, Report)> {
        let Some(waiting) = self.waiting.get_mut(&session) else {
            return Vec::new();
        };
        let many = if last { waiting.len() } else { 1 };
        let numbers: Vec<_> = waiting.drain(..many.min(waiting.len())).collect();
        if waiting.is_empty() {
            self.waiting.remove(&session);
        }
        let done = numbers.into_iter().filter_map(|number| {
            let tally = self.open.get_mut(&number)?;
            tally.report.count(session, stats);
            tally.missing -= 1;
            (tally.missing == 0).then_some(number)
        });
        let done: Vec<_> = done.collect();
        let done = done
            .into_iter()
            .filter_map(|number| self.open.remove(&number));
        done.map(|tally| (tally.asker, tally.report)).collect()
    }
}

/// Most reports that wait at a time; further ones are refused.
const MOST: usize = 10_000;
