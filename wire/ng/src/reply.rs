//! What is answered.

use crate::value::{Dictionary, Value};

/// An answer: `result` and what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply(Dictionary);

impl Reply {
    /// It is done.
    #[must_use]
    pub fn ok() -> Self {
        Self::with_result("ok")
    }

    /// We live.
    #[must_use]
    pub fn pong() -> Self {
        Self::with_result("pong")
    }

    /// It is not done, for this reason.
    #[must_use]
    pub fn error(reason: &str) -> Self {
        Self::with_result("error").with("error-reason", reason)
    }

    /// We are full: the client is to ask another relay. Only for those who know this answer.
    #[must_use]
    pub fn load_limit(message: &str) -> Self {
        Self::with_result("load limit").with("message", message)
    }

    /// Adds an entry.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.insert(key.into(), value.into());
        self
    }

    /// All entries.
    #[must_use]
    pub fn dictionary(&self) -> &Dictionary {
        &self.0
    }

    fn with_result(result: &str) -> Self {
        Self(Dictionary::from([(b"result".to_vec(), result.into())]))
    }
}
