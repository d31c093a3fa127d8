//! Lines that are sent as they come, to a reader who may be slow.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use hyper::body::{Body, Bytes, Frame};
use serde::Serialize;

use crate::trace::TraceLine;

/// Two ends of a bounded queue: lines are put into the first and leave the second as the body of a
/// response.
#[must_use]
pub fn lines() -> (Feed, Lines) {
    bounded(MOST_LINES)
}

/// As [`lines()`], with room for `most` lines.
#[must_use]
pub fn bounded(most: usize) -> (Feed, Lines) {
    let queue = Arc::new(Mutex::new(Queue {
        most,
        ..Queue::default()
    }));
    (Feed(Arc::clone(&queue)), Lines(queue))
}

/// The end that lines are put into; dropping it ends the body after what waits. It never blocks.
#[derive(Debug)]
pub struct Feed(Arc<Mutex<Queue>>);

/// The end that a reader has: the body of a response.
#[derive(Debug)]
pub struct Lines(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Bytes>,
    octets: usize,
    /// Lines that there is room for; later ones are counted as missed.
    most: usize,
    /// Lines that there was no room for, and that the reader has not been told of.
    missed: u64,
    reader: Option<Waker>,
    /// No line will come any more.
    ended: bool,
    /// Nobody reads any more.
    deserted: bool,
}

impl Feed {
    /// Puts a line in, which must end with a line feed. When there is no room it is counted instead,
    /// and the reader finds the count where the lines are missing. `false`: nobody reads any more.
    pub fn put(&self, line: Bytes) -> bool {
        let mut queue = lock(&self.0);
        if queue.deserted {
            return false;
        }
        let room = queue.lines.len() < queue.most && queue.octets + line.len() <= MOST_OCTETS;
        if room {
            queue.tell_missed();
            queue.push(line);
        } else {
            queue.missed += 1;
        }
        queue.wake();
        true
    }

    /// Tells the reader that lines are missing here for another reason.
    pub fn missed(&self, count: u64) {
        let mut queue = lock(&self.0);
        queue.missed += count;
        queue.wake();
    }

    /// No line will come any more: the body ends after what waits.
    pub fn end(&self) {
        let mut queue = lock(&self.0);
        queue.ended = true;
        queue.wake();
    }

    /// Whether nobody reads any more.
    #[must_use]
    pub fn is_deserted(&self) -> bool {
        lock(&self.0).deserted
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.end();
    }
}

impl Queue {
    fn push(&mut self, line: Bytes) {
        self.octets += line.len();
        self.lines.push_back(line);
    }

    fn tell_missed(&mut self) {
        let count = std::mem::take(&mut self.missed);
        if count > 0 {
            self.push(line(&TraceLine::Missed { count }));
        }
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// Several lines together, as much as one write should carry.
    fn take(&mut self) -> Option<Bytes> {
        if self.lines.is_empty() {
            self.tell_missed();
        }
        let mut taken = Vec::from(self.lines.pop_front()?);
        while taken.len() < WRITE
            && let Some(line) = self.lines.pop_front()
        {
            taken.extend_from_slice(&line);
        }
        self.octets = self.octets.saturating_sub(taken.len());
        Some(taken.into())
    }
}

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut queue = lock(&self.0);
        if let Some(taken) = queue.take() {
            return Poll::Ready(Some(Ok(Frame::data(taken))));
        }
        if queue.ended {
            return Poll::Ready(None);
        }
        queue.reader = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let mut queue = lock(&self.0);
        *queue = Queue {
            deserted: true,
            ..Queue::default()
        };
    }
}

/// A line of JSON with its line feed.
#[must_use]
pub fn line(line: &impl Serialize) -> Bytes {
    // Numbers and strings can always be written as JSON.
    let mut json = serde_json::to_vec(line).unwrap_or_default();
    json.push(b'\n');
    json.into()
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    // The queue is whole after each statement.
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lines that wait for one reader if nothing else is said; later ones are counted as missed.
const MOST_LINES: usize = 16_384;

/// Octets that wait for one reader; later lines are counted as missed.
const MOST_OCTETS: usize = 8 << 20;

/// Octets after which a write is large enough.
const WRITE: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn read_all(lines: Lines) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.build().unwrap();
        let body = runtime.block_on(lines.collect()).unwrap();
        String::from_utf8(body.to_bytes().to_vec()).unwrap()
    }

    #[test]
    fn lines_come_out_in_order_and_the_end_is_told() {
        let (feed, lines) = lines();
        assert!(feed.put("a\n".into()) && feed.put("b\n".into()));
        drop(feed);
        assert_eq!(read_all(lines), "a\nb\n");
    }

    #[test]
    fn a_slow_reader_is_told_where_and_how_much_it_missed() {
        let (feed, lines) = lines();
        for number in 0..MOST_LINES + 5 {
            assert!(feed.put(format!("{number}\n").into()));
        }
        // Room for a few again, and then for none of this size.
        lock(&feed.0).take();
        assert!(feed.put("later\n".into()));
        assert!(feed.put(vec![b'x'; MOST_OCTETS].into()));
        drop(feed);
        let text = read_all(lines);
        let rest: Vec<_> = text.lines().rev().take(4).collect();
        let expected = [
            r#"{"kind":"missed","count":1}"#,
            "later",
            r#"{"kind":"missed","count":5}"#,
            &(MOST_LINES - 1).to_string(),
        ];
        assert_eq!(rest, expected);
    }

    #[test]
    fn when_the_reader_has_left_nothing_is_kept() {
        let (feed, lines) = lines();
        feed.put("a\n".into());
        assert!(!feed.is_deserted());
        drop(lines);
        assert!(feed.is_deserted() && !feed.put("b\n".into()));
        assert!(lock(&feed.0).lines.is_empty());
    }
}
