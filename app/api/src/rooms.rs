//! What happens in conference rooms, as lines of JSON.

use serde::{Deserialize, Serialize};

/// Which rooms are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoomFilter {
    /// The room's name; none: all rooms.
    pub room: Option<String>,
}

/// One line of what happens in rooms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum RoomLine {
    /// Everything is told from here on. What a list of rooms says that is fetched now, and what follows, leave
    /// nothing out between them.
    Began,
    /// Something has happened.
    Event(RoomEvent),
    /// Here some are missing: more happened than could be kept for this reader. A list of rooms says how things
    /// stand.
    Missed {
        /// How many; those count too that the reader did not ask for.
        count: u64,
    },
}

/// Something that has happened in a conference room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomEvent {
    /// When, in seconds since 1970.
    pub at: u64,
    /// The room's name.
    pub room: String,
    /// What, in the words of the log: `joined`, `left`, `talks`, `silent`, `active-speaker`, `muted`, `unmuted`,
    /// `deafened`, `undeafened`, `kicked`, `locked`, `unlocked`, `lecture`, `discussion`, `recording-begun`,
    /// `recording-paused`, `recording-resumed`, `recording-ended`.
    pub what: String,
    /// The participant's call, as `dialtone calls` names it; none: it is about the room.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub call: Option<String>,
    /// The participant's name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// The file that is recorded to, in the folder of recordings.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub file: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_it_is_and_leaves_out_what_it_is_not_about() {
        let locked = RoomLine::Event(RoomEvent {
            at: 1_795_236_356,
            room: "8000".into(),
            what: "locked".into(),
            call: None,
            name: None,
            file: None,
        });
        let json = serde_json::to_string(&locked).unwrap();
        let expected = r#"{"kind":"event","at":1795236356,"room":"8000","what":"locked"}"#;
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_str::<RoomLine>(&json).unwrap(), locked);
        let missed = r#"{"kind":"missed","count":3}"#;
        let read: RoomLine = serde_json::from_str(missed).unwrap();
        assert_eq!(read, RoomLine::Missed { count: 3 });
    }
}
