//! What happens in conference rooms, for programs that follow it. Nobody waits for them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use api::{Feed, Lines, Refusal, RoomFilter, RoomLine, lines};
use pbx::RoomEvent;

/// Who follows what happens in rooms.
#[derive(Debug, Default)]
pub(super) struct Viewers(Mutex<Vec<Viewer>>);

#[derive(Debug)]
struct Viewer {
    room: Option<String>,
    feed: Feed,
}

impl Viewer {
    fn follows(&self, room: &str) -> bool {
        self.room.as_deref().is_none_or(|followed| followed == room)
    }
}

impl Viewers {
    /// Tells what happens from now on.
    pub(super) fn add(&self, filter: RoomFilter) -> Result<Lines, Refusal> {
        let mut viewers = self.lock();
        viewers.retain(|viewer| !viewer.feed.is_deserted());
        if viewers.len() >= MOST_VIEWERS {
            return Err(Refusal::conflict(format!(
                "{MOST_VIEWERS} others follow what happens in rooms already; end one of them"
            )));
        }
        let (feed, unread) = lines::bounded(MOST_UNREAD);
        feed.put(lines::line(&RoomLine::Began));
        viewers.push(Viewer {
            room: filter.room,
            feed,
        });
        Ok(unread)
    }

    /// Something has happened.
    pub(super) fn tell(&self, event: &RoomEvent) {
        let mut viewers = self.lock();
        let of_room = |viewer: &Viewer| viewer.follows(&event.room);
        if !viewers.iter().any(of_room) {
            return;
        }
        let line = lines::line(&RoomLine::Event(view(event)));
        viewers.retain(|viewer| !of_room(viewer) || viewer.feed.put(line.clone()));
    }

    /// Something has happened in a room that nobody was told of.
    pub(super) fn missed_in(&self, room: &str, count: u64) {
        let viewers = self.lock();
        let viewers = viewers.iter().filter(|viewer| viewer.follows(room));
        viewers.for_each(|viewer| viewer.feed.missed(count));
    }

    /// Something has happened somewhere that nobody was told of.
    pub(super) fn missed(&self, count: u64) {
        let viewers = self.lock();
        viewers.iter().for_each(|viewer| viewer.feed.missed(count));
    }

    /// Nothing will happen any more.
    pub(super) fn close(&self) {
        self.lock().iter().for_each(|viewer| viewer.feed.end());
    }

    /// Whether somebody still reads what happened before the end.
    pub(super) fn is_being_read(&self) -> bool {
        self.lock().iter().any(|viewer| !viewer.feed.is_deserted())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Viewer>> {
        // The list is whole after each statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn view(event: &RoomEvent) -> api::RoomEvent {
    let (call, name) = event.participant.clone().unzip();
    api::RoomEvent {
        at: event.at.0,
        room: event.room.to_string(),
        what: event.change.as_str().to_owned(),
        call: call.map(|call| call.to_string()),
        name: name.map(|name| name.to_string()),
        file: event.change.recording().map(ToString::to_string),
    }
}

/// Who may follow at once; others are refused.
const MOST_VIEWERS: usize = 32;

/// Events that wait for one who is slow; later ones are counted, and the count is told where they are missing.
const MOST_UNREAD: usize = 1024;

#[cfg(test)]
mod tests {
    use base::UnixTime;
    use pbx::RoomChange;

    use super::*;

    fn event(room: &str, locked: bool) -> RoomEvent {
        RoomEvent {
            room: room.into(),
            participant: None,
            change: RoomChange::Locked(locked),
            at: UnixTime(1_795_236_356),
        }
    }

    fn all(room: Option<&str>) -> RoomFilter {
        RoomFilter {
            room: room.map(Into::into),
        }
    }

    fn read(lines: Lines) -> Vec<RoomLine> {
        let runtime = { tokio::runtime::Builder::new_current_thread() }
            .build()
            .unwrap();
        let body = {
            let body = axum::body::Body::new(lines);
            runtime
                .block_on(axum::body::to_bytes(body, usize::MAX))
                .unwrap()
        };
        let lines = body.split(|octet| *octet == b'\n');
        let lines = lines.filter(|line| !line.is_empty());
        lines
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    #[test]
    fn a_follower_is_told_of_the_rooms_that_it_means() {
        let viewers = Viewers::default();
        let (every, one) = (viewers.add(all(None)), viewers.add(all(Some("8000"))));
        viewers.tell(&event("8000", true));
        viewers.tell(&event("8001", true));
        viewers.missed_in("8001", 3);
        viewers.missed(2);
        viewers.close();
        let rooms = |lines: Vec<RoomLine>| -> Vec<String> {
            let told = lines.into_iter().filter_map(|line| match line {
                RoomLine::Began => None,
                RoomLine::Event(event) => Some(format!("{} {}", event.room, event.what)),
                RoomLine::Missed { count } => Some(format!("missed {count}")),
            });
            told.collect()
        };
        let told = rooms(read(every.unwrap()));
        assert_eq!(told, ["8000 locked", "8001 locked", "missed 5"]);
        assert_eq!(rooms(read(one.unwrap())), ["8000 locked", "missed 2"]);
        assert!(!viewers.is_being_read());
    }

    #[test]
    fn who_does_not_read_is_told_how_much_it_missed() {
        let viewers = Viewers::default();
        let slow = viewers.add(all(None)).unwrap();
        for _ in 0..5000 {
            viewers.tell(&event("8000", true));
        }
        viewers.close();
        assert!(viewers.is_being_read());
        let lines = read(slow);
        assert_eq!(lines.len(), MOST_UNREAD + 1);
        let told = MOST_UNREAD as u64 - 1;
        let missed = RoomLine::Missed { count: 5000 - told };
        assert_eq!((&lines[0], lines.last()), (&RoomLine::Began, Some(&missed)));
    }

    #[test]
    fn there_is_an_end_to_followers_and_who_has_left_makes_room() {
        let viewers = Viewers::default();
        let mut lines: Vec<_> = (0..MOST_VIEWERS)
            .map(|_| viewers.add(all(None)).unwrap())
            .collect();
        assert!(
            viewers
                .add(all(None))
                .is_err_and(|refusal| refusal.conflict)
        );
        lines.pop();
        viewers.add(all(None)).unwrap();
    }
}
