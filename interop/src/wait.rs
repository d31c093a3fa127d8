//! Waiting for something that can be looked at.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Looks again and again until there is an answer, at most for `limit`.
///
/// # Errors
/// The look's own error, or that `what` did not happen in time.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = look()? {
            return Ok(answer);
        }
        if start.elapsed() > limit {
            bail!("{what}: not within {limit:?}");
        }
        std::thread::sleep(PAUSE);
    }
}

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);
