//! Package `presence`: whether somebody can be reached, and what they do (RFC 3863, RFC 4480).

use std::fmt::Write as _;

use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};
use store::Said;

use super::xml::{DECLARATION, Text};

/// What watchers are told of a user.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Presence {
    open: bool,
    note: Box<str>,
    activities: Vec<Box<str>>,
}

impl Presence {
    /// Puts together what phones have said and what the server sees: a user who has said nothing can be
    /// reached if a phone is registered, and who talks is on the phone.
    ///
    /// # Source
    /// RFC 3903 §5 and RFC 3856 §6.11.2 leave composition to local policy.
    pub(super) fn compose(said: &[Said], registered: bool, talks: bool) -> Self {
        let mut told = said.iter().filter_map(|said| said.open).peekable();
        let open = match told.peek() {
            Some(_) => told.any(|open| open),
            None => registered,
        };
        let mut activities: Vec<Box<str>> = Vec::new();
        let talking = talks.then(|| ON_THE_PHONE.into());
        let all = said.iter().flat_map(|said| said.activities.iter().cloned());
        for activity in all.chain(talking) {
            if !activities.contains(&activity) && activities.len() < MOST_ACTIVITIES {
                activities.push(activity);
            }
        }
        let note = said.iter().rev().find(|said| !said.note.is_empty());
        Self {
            open,
            note: note.map_or_else(Box::default, |said| said.note.clone()),
            activities,
        }
    }

    /// The presence document of `entity`.
    ///
    /// # Source
    /// RFC 3863 §4.1, RFC 4479 §3.1, RFC 4480 §3.2.
    pub(super) fn write(&self, entity: &str) -> String {
        let entity = Text(entity);
        let basic = if self.open { "open" } else { "closed" };
        let mut text = String::with_capacity(512);
        text.push_str(DECLARATION);
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
             xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" \
             xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\" entity=\"{entity}\">\n\
             <tuple id=\"t1\"><status><basic>{basic}</basic></status><contact>{entity}</contact>"
        );
        if !self.note.is_empty() {
            let _ = writeln!(text, "<note>{}</note>", Text(&self.note));
        }
        text.push_str("</tuple>\n");
        if !self.activities.is_empty() {
            text.push_str("<dm:person id=\"p1\"><rpid:activities>");
            for activity in &self.activities {
                let _ = write!(text, "<rpid:{activity}/>");
            }
            text.push_str("</rpid:activities></dm:person>\n");
        }
        text.push_str("</presence>\n");
        text
    }
}

/// What a published document says: whether anything in it is open, its first note, its activities. The
/// rest is not kept.
///
/// # Errors
/// If the text is no presence document.
///
/// # Source
/// RFC 3863 §4.1.
pub fn parse(document: &str) -> Result<Said, NotPresence> {
    let mut reader = Reader::from_str(document);
    let mut found = Finder::default();
    loop {
        match reader.read_event().map_err(|_| NotPresence)? {
            Event::Start(tag) => found.open(tag.local_name().as_ref())?,
            Event::Empty(tag) => {
                found.open(tag.local_name().as_ref())?;
                found.close();
            }
            Event::End(_) => found.close(),
            Event::Text(text) => found.text(&text.decode().map_err(|_| NotPresence)?),
            Event::GeneralRef(reference) => {
                found.text(character(&reference).encode_utf8(&mut [0; 4]));
            }
            // A document type may define entities; PIDF needs none.
            Event::DocType(_) => return Err(NotPresence),
            Event::Eof => break,
            _ => {}
        }
    }
    if found.is_presence && found.path.is_empty() {
        Ok(found.said())
    } else {
        Err(NotPresence)
    }
}

/// The text is no presence document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotPresence;

/// Where in the document we are, and what was found so far.
#[derive(Debug, Default)]
struct Finder {
    path: Vec<Part>,
    is_presence: bool,
    basic: Option<bool>,
    basic_text: String,
    note: String,
    note_done: bool,
    activities: Vec<Box<str>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Presence,
    Basic,
    Note,
    Activities,
    Other,
}

impl Finder {
    fn open(&mut self, name: &[u8]) -> Result<(), NotPresence> {
        if self.path.len() >= DEEPEST {
            return Err(NotPresence);
        }
        let inside = self.path.last().copied();
        let part = match (inside, name) {
            (None, b"presence") => Part::Presence,
            (None, _) => return Err(NotPresence),
            (Some(Part::Activities), activity) => {
                self.activity(activity);
                Part::Other
            }
            (_, b"basic") => Part::Basic,
            (_, b"note") => Part::Note,
            (_, b"activities") => Part::Activities,
            _ => Part::Other,
        };
        self.is_presence |= part == Part::Presence;
        self.path.push(part);
        Ok(())
    }

    fn close(&mut self) {
        match self.path.pop() {
            Some(Part::Basic) => {
                let open = std::mem::take(&mut self.basic_text);
                let open = open.trim().eq_ignore_ascii_case("open");
                self.basic = Some(self.basic == Some(true) || open);
            }
            Some(Part::Note) => self.note_done |= !self.note.trim().is_empty(),
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        let kept = match self.path.last() {
            Some(Part::Basic) => &mut self.basic_text,
            Some(Part::Note) if !self.note_done => &mut self.note,
            _ => return,
        };
        let room = MOST_NOTE.saturating_sub(kept.chars().count());
        kept.extend(text.chars().take(room));
    }

    fn activity(&mut self, name: &[u8]) {
        let plain = |octet: &u8| octet.is_ascii_alphanumeric() || *octet == b'-';
        let known = name.first().is_some_and(u8::is_ascii_alphabetic)
            && name.iter().all(plain)
            && name.len() <= 32
            && name != b"note";
        if let (true, Ok(name)) = (known, std::str::from_utf8(name))
            && self.activities.len() < MOST_ACTIVITIES
        {
            self.activities.push(name.into());
        }
    }

    fn said(self) -> Said {
        Said {
            open: self.basic,
            note: self.note.trim().into(),
            activities: self.activities,
        }
    }
}

/// The character that a reference stands for; a question mark for one that XML itself does not define.
fn character(reference: &BytesRef<'_>) -> char {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return character;
    }
    match &**reference {
        b"lt" => '<',
        b"gt" => '>',
        b"amp" => '&',
        b"apos" => '\'',
        b"quot" => '"',
        _ => '?',
    }
}

/// The RPID activity of whoever has a call (RFC 4480 §3.2).
const ON_THE_PHONE: &str = "on-the-phone";

/// Most activities that are kept and told; more are left out.
const MOST_ACTIVITIES: usize = 8;

/// Characters of a note that are kept.
const MOST_NOTE: usize = 200;

/// Deepest nesting of a document that is read.
const DEEPEST: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISHED: &str = "<?xml version='1.0' encoding='UTF-8'?>\n\
        <p:presence xmlns:p='urn:ietf:params:xml:ns:pidf' \
        xmlns:r='urn:ietf:params:xml:ns:pidf:rpid' entity='pres:a@h'>\
        <p:tuple id='x'><p:status><p:basic> Open </p:basic></p:status><p:note>Q &amp; A&#33;</p:note></p:tuple>\
        <dm:person xmlns:dm='d' id='p'><r:activities><r:note>x</r:note><r:meeting/></r:activities></dm:person>\
        </p:presence>";

    #[test]
    fn rfc3863_4_1_a_published_document_is_understood() {
        let said = parse(PUBLISHED).unwrap();
        assert_eq!(said.open, Some(true));
        assert_eq!(&*said.note, "Q & A!");
        assert_eq!(said.activities, ["meeting".into()]);
    }

    #[test]
    fn what_is_no_presence_document_is_refused() {
        for text in [
            "",
            "hello",
            "<html/>",
            "<presence>",
            "<presence></other>",
            "<!DOCTYPE x [<!ENTITY a 'b'>]><presence/>",
        ] {
            assert_eq!(parse(text), Err(NotPresence), "{text}");
        }
        let deep = format!("<presence>{}", "<a>".repeat(100_000));
        assert_eq!(parse(&deep), Err(NotPresence));
        for end in 0..PUBLISHED.len() {
            let _ = parse(&PUBLISHED[..end]);
        }
    }

    #[test]
    fn what_phones_say_comes_before_what_the_server_sees() {
        assert!(!Presence::compose(&[], false, false).open);
        assert!(Presence::compose(&[], true, false).open);
        let mut away = parse(PUBLISHED).unwrap();
        away.open = Some(false);
        let told = Presence::compose(std::slice::from_ref(&away), true, true);
        assert!(!told.open);
        assert_eq!(told.activities, ["meeting".into(), "on-the-phone".into()]);
        let text = told.write("sip:a@h");
        assert!(text.contains("<basic>closed</basic>"), "{text}");
        assert!(
            text.contains("<rpid:meeting/><rpid:on-the-phone/>"),
            "{text}"
        );
        let back = parse(&text).unwrap();
        assert_eq!((back.open, back.note), (Some(false), away.note));
    }
}
