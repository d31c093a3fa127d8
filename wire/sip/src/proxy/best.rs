//! Which of several refusals the caller hears (RFC 3261 §16.7 steps 6 and 7).

use crate::header::HeaderName;
use crate::{Message, StatusCode};

/// The best refusal so far, and the challenges of all.
#[derive(Debug, Default)]
pub(super) struct Best {
    chosen: Option<Chosen>,
    /// Header lines with the challenges of the 401 and 407 answers that were not chosen.
    challenges: Vec<Box<str>>,
}

/// A refusal.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) status: StatusCode,
    /// As it came; none: it stands for an answer that never came.
    pub(super) response: Option<Box<[u8]>>,
}

impl Best {
    /// Whether a refusal with this status would be the best one.
    pub(super) fn is_beaten_by(&self, status: StatusCode) -> bool {
        let chosen = self.chosen.as_ref();
        chosen.is_none_or(|chosen| rank(status) < rank(chosen.status))
    }

    /// Takes a refusal. The caller keeps the one that is better and still at hand in `response`.
    pub(super) fn consider(&mut self, status: StatusCode, response: Option<&Message<'_>>) {
        if self.is_beaten_by(status) {
            self.displace();
            let response = response.map(|response| response.bytes().into());
            self.chosen = Some(Chosen { status, response });
        } else if let Some(response) = response.filter(|_| is_challenge(status)) {
            self.keep_challenges(response);
        }
    }

    /// The challenges of the refusal that was the best so far; a better one has come.
    pub(super) fn displace(&mut self) {
        if let Some(chosen) = self.chosen.take()
            && is_challenge(chosen.status)
            && let Some(response) = chosen.response
            && let Ok(response) = Message::parse(&response)
        {
            self.keep_challenges(&response);
        }
    }

    /// Takes what was chosen.
    pub(super) fn take(&mut self) -> Option<Chosen> {
        self.chosen.take()
    }

    /// Header lines that go into a refusal with this status: challenges are aggregated into a challenge
    /// (RFC 3261 §16.7 step 7).
    pub(super) fn lines(&self, status: StatusCode) -> &[Box<str>] {
        if is_challenge(status) {
            &self.challenges
        } else {
            &[]
        }
    }

    fn keep_challenges(&mut self, response: &Message<'_>) {
        for field in response.fields() {
            let wanted = matches!(
                field.name,
                HeaderName::WwwAuthenticate | HeaderName::ProxyAuthenticate
            );
            if wanted && self.challenges.len() < MOST_CHALLENGES {
                self.challenges.push(format!("{field}\r\n").into());
            }
        }
    }
}

const fn is_challenge(status: StatusCode) -> bool {
    matches!(status.0, 401 | 407)
}

/// Less is better: 6xx, then the lowest class; in 4xx first those that tell the caller how to try
/// again, and last those that only say that nobody answered. A 503 tells of one server's overload, which
/// says nothing about the others.
fn rank(status: StatusCode) -> u16 {
    match status.0 {
        600.. => 0,
        300..400 => 300,
        401 | 407 => 400,
        415 | 420 | 484 => 401,
        408 => 498,
        487 => 499,
        400..500 => 450,
        503 => 599,
        _ => 500,
    }
}

/// Most challenges that are aggregated; further ones are left out.
const MOST_CHALLENGES: usize = 16;
