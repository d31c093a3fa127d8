//! Whom a request is forwarded to.

use crate::Flow;

/// One member of a target set (RFC 3261 §16.5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// What becomes the Request-URI.
    pub uri: Box<str>,
    /// How the request leaves.
    pub flow: Flow,
    /// Route values that are put before those that the request has: the Path of a registered contact
    /// (RFC 3327 §5.3).
    pub routes: Vec<Box<str>>,
    /// Priority in thousandths, 0 to 1000. Targets of one priority are tried at once, those of lower
    /// ones when all of higher ones have failed.
    pub q: u16,
    /// Other ways to the same place, in the order in which they are tried when the one before has
    /// failed: nobody there, no answer, 503 or 430. Never two at once.
    ///
    /// # Source
    /// RFC 3263 §4.3, RFC 5626 §5.3
    pub spares: Vec<Spare>,
}

/// Another way to a target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spare {
    /// What becomes the Request-URI.
    pub uri: Box<str>,
    /// How the request leaves.
    pub flow: Flow,
    /// Route values that are put before those that the request has.
    pub routes: Vec<Box<str>>,
}

impl Target {
    /// A target without Path, of the highest priority.
    #[must_use]
    pub fn new(uri: &str, flow: Flow) -> Self {
        Self {
            uri: uri.into(),
            flow,
            routes: Vec::new(),
            q: 1000,
            spares: Vec::new(),
        }
    }

    /// The target by the first of its spare ways.
    pub(super) fn by_spare(q: u16, mut spares: Vec<Spare>) -> Option<Self> {
        if spares.is_empty() {
            return None;
        }
        let Spare { uri, flow, routes } = spares.remove(0);
        Some(Self {
            uri,
            flow,
            routes,
            q,
            spares,
        })
    }
}

/// Targets that have not been tried yet.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// The next one last.
    targets: Vec<Target>,
}

impl Waiting {
    /// Takes further targets; what does not fit, or waits already, is left out. Yields how many.
    pub(super) fn add(&mut self, targets: impl IntoIterator<Item = Target>, most: usize) -> usize {
        let before = self.targets.len();
        self.targets.reverse();
        for mut target in targets {
            target.spares.truncate(MOST_SPARES);
            let known = self.targets.iter().any(|known| known.uri == target.uri);
            if self.targets.len() < most && !known {
                self.targets.push(target);
            }
        }
        // Stable: among equals the order given counts.
        self.targets
            .sort_by_key(|target| std::cmp::Reverse(target.q));
        self.targets.reverse();
        self.targets.len() - before
    }

    /// The next target.
    pub(super) fn pop(&mut self) -> Option<Target> {
        self.targets.pop()
    }

    /// How many share the highest priority.
    pub(super) fn group(&self) -> usize {
        let Some(first) = self.targets.last() else {
            return 0;
        };
        let same = |target: &&Target| target.q == first.q;
        self.targets.iter().rev().take_while(same).count()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.targets.clear();
    }
}

/// Most targets that one request is forwarded to, redirections included; more are left out.
pub const MOST_TARGETS: usize = 32;

/// Most other ways to one target that are tried; those after them are left out.
pub const MOST_SPARES: usize = 8;
