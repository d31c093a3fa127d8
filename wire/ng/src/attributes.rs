//! Attributes of a description that are added, removed or put in the place of others (`sdp-attr`).

use crate::value::Value;

/// What is done to the attributes of a description when all else has been done to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributeEdits(Vec<(Scope, Edits)>);

/// A part of a description.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Scope {
    /// What comes before the media sections.
    Session,
    /// The sections of this kind, in small letters; `other`: of kinds that nobody has registered.
    Media(Box<str>),
}

/// What is done to the attributes of one part. They are texts without `a=`.
///
/// A pattern is a whole attribute, or its name, or its name with the first word of its value: of
/// `fmtp:101 0-15` that is `fmtp` or `fmtp:101`. Small and large letters are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// These are added, unless they are there.
    pub add: Vec<Box<str>>,
    /// What fits these patterns is removed.
    pub remove: Vec<Box<str>>,
    /// What fits the first of a pair becomes the second.
    pub substitute: Vec<(Box<str>, Box<str>)>,
}

impl AttributeEdits {
    /// Whether nothing is done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is done to the part before the media sections; none: nothing.
    #[must_use]
    pub fn of_session(&self) -> Option<&Edits> {
        self.of(&Scope::Session)
    }

    /// What is done to media sections of a kind, such as `audio`; none: nothing.
    #[must_use]
    pub fn of_media(&self, kind: &str) -> Option<&Edits> {
        self.of(&Scope::Media(registered(kind).into()))
    }

    fn of(&self, scope: &Scope) -> Option<&Edits> {
        let mut all = self.0.iter();
        all.find(|(of, _)| of == scope).map(|(_, edits)| edits)
    }

    fn edits(&mut self, scope: &str) -> &mut Edits {
        let scope = match &*scope.to_ascii_lowercase() {
            "none" | "global" | "session" => Scope::Session,
            kind => Scope::Media(registered(kind).into()),
        };
        let place = self.0.iter().position(|(of, _)| *of == scope);
        let place = place.unwrap_or_else(|| {
            self.0.push((scope, Edits::default()));
            self.0.len() - 1
        });
        &mut self.0[place].1
    }

    /// Takes the dictionary of the key `sdp-attr`.
    pub(crate) fn take(&mut self, value: &Value) {
        for (scope, commands) in pairs(value) {
            for (command, values) in pairs(commands) {
                self.edits(scope).take(command, values);
            }
        }
    }

    /// Takes what follows `sdp-attr-` in a flag: `add-audio-ptime:20`.
    pub(crate) fn take_flag(&mut self, flag: &str) {
        let mut words = flag.splitn(3, '-');
        if let (Some(command), Some(scope), Some(value)) =
            (words.next(), words.next(), words.next())
        {
            self.edits(scope).take(command, &Value::from(value));
        }
    }
}

impl Edits {
    /// What becomes of an attribute; none: it is removed.
    #[must_use]
    pub fn edited<'a>(&'a self, attribute: &'a str) -> Option<&'a str> {
        if self.remove.iter().any(|pattern| fits(pattern, attribute)) {
            return None;
        }
        let mut pairs = self.substitute.iter();
        let pair = pairs.find(|(pattern, _)| fits(pattern, attribute));
        Some(pair.map_or(attribute, |(_, other)| other))
    }

    fn take(&mut self, command: &str, values: &Value) {
        match command {
            "add" => self.add.extend(values.texts().filter_map(attribute)),
            "remove" => self.remove.extend(values.texts().filter_map(attribute)),
            "substitute" => self.substitute.extend(substitutes(values)),
            _ => {}
        }
    }
}

/// Pairs in a list, each a list of two or a text with `>`; a list of two texts is one pair.
fn substitutes(values: &Value) -> Vec<(Box<str>, Box<str>)> {
    let pair = |from: &str, to: &str| attribute(from).zip(attribute(to));
    let split = |text: &str| text.split_once('>').and_then(|(from, to)| pair(from, to));
    let list = match values {
        Value::List(list) => &list[..],
        one => std::slice::from_ref(one),
    };
    if let [Value::Text(_), Value::Text(_)] = list
        && let [from, to] = values.texts().collect::<Vec<_>>()[..]
        && !from.contains('>')
    {
        return pair(from, to).into_iter().collect();
    }
    let one = |value: &Value| match value {
        Value::List(_) => {
            let mut texts = value.texts();
            let (from, to) = texts.next().zip(texts.next())?;
            pair(from, to)
        }
        value => value.text().and_then(split),
    };
    list.iter().filter_map(one).collect()
}

/// An attribute as it is written: in flags two hyphens stand for a sign of equality and two dots for a blank. What
/// would be more than one line is none.
fn attribute(text: &str) -> Option<Box<str>> {
    let text = text.strip_prefix("a=").unwrap_or(text).trim();
    let plain = text.replace("--", "=").replace("..", " ");
    let one = !plain.is_empty() && !plain.contains(['\r', '\n', '\0']);
    one.then(|| plain.into())
}

fn fits(pattern: &str, attribute: &str) -> bool {
    let name = attribute.split(':').next().unwrap_or(attribute);
    let tagged = attribute.split(' ').next().unwrap_or(attribute);
    [attribute, name, tagged]
        .iter()
        .any(|part| part.eq_ignore_ascii_case(pattern))
}

/// Whether sections of a kind are meant by one of these words: the kind itself, or `other`.
pub(crate) fn names(kinds: &[Box<str>], kind: &str) -> bool {
    let kind = registered(kind);
    kinds.iter().any(|named| registered(named) == kind)
}

/// The kind of media if it is one of those that are registered, in small letters; else `other`.
///
/// # Source
/// RFC 8866 §8.2.2
fn registered(kind: &str) -> &'static str {
    let known = ["audio", "video", "text", "application", "message", "image"];
    let mut known = known.into_iter();
    known
        .find(|name| name.eq_ignore_ascii_case(kind))
        .unwrap_or("other")
}

fn pairs(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let entries = match value {
        Value::Dictionary(entries) => Some(entries),
        _ => None,
    };
    let entries = entries.into_iter().flatten();
    entries.filter_map(|(key, value)| Some((std::str::from_utf8(key).ok()?, value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;

    fn list(words: &[&str]) -> Value {
        Value::List(words.iter().map(|word| Value::from(*word)).collect())
    }

    fn read(key: &str, value: Value) -> AttributeEdits {
        Options::read(&[(key.as_bytes().to_vec(), value)].into()).attributes
    }

    #[test]
    fn a_dictionary_names_part_command_and_attributes() {
        let audio = Value::from([
            ("add", list(&["ptime:40", "a=x--y..z"])),
            ("remove", list(&["fmtp"])),
            ("unheard-of", list(&["x"])),
        ]);
        let pairs = Value::List(vec![
            list(&["sendrecv", "sendonly"]),
            "ptime:20>ptime:40".into(),
        ]);
        let none = Value::from([("substitute", pairs)]);
        let edits = read("sdp-attr", Value::from([("audio", audio), ("none", none)]));
        let audio = edits.of_media("AUDIO").unwrap();
        assert_eq!(audio.add, ["ptime:40".into(), "x=y z".into()]);
        assert_eq!(audio.edited("fmtp:101 0-15"), None);
        assert_eq!(
            audio.edited("rtpmap:0 PCMU/8000"),
            Some("rtpmap:0 PCMU/8000")
        );
        let session = edits.of_session().unwrap();
        assert_eq!(session.edited("SendRecv"), Some("sendonly"));
        assert_eq!(session.edited("ptime:20"), Some("ptime:40"));
        assert!(edits.of_media("video").is_none());
        let one = Value::from([("global", Value::from([("substitute", list(&["a", "b"]))]))]);
        assert_eq!(
            read("SDP attr", one).of_session().unwrap().edited("a"),
            Some("b")
        );
    }

    #[test]
    fn flags_and_strings_say_the_same() {
        let words = [
            "sdp-attr-add-audio-ptime:20",
            "sdp-attr-add-video-x=y",
            "sdp-attr-remove-none-tool",
            "sdp-attr-substitute-none-sendrecv>sendonly",
            "sdp-attr-add",
            "sdp-attr",
        ];
        let text = "sdp-attr=[audio=[add=[ptime:20]] video=[add=[x--y]] \
                    none=[remove=[tool] substitute=[sendrecv>sendonly]]]";
        let all = [
            read("flags", list(&words)),
            read("rtpp-flags", words.join(" ").as_str().into()),
            read("rtpp-flags", text.into()),
        ];
        for edits in all {
            assert_eq!(edits.of_media("audio").unwrap().add, ["ptime:20".into()]);
            assert_eq!(edits.of_media("video").unwrap().add, ["x=y".into()]);
            let session = edits.of_session().unwrap();
            assert_eq!(session.edited("tool:baresip 1"), None);
            assert_eq!(session.edited("sendrecv"), Some("sendonly"));
        }
    }

    #[test]
    fn a_pattern_is_an_attribute_or_its_beginning() {
        let attribute = "foo:bar baz quuz";
        for pattern in ["foo", "foo:bar", "foo:bar baz quuz", "FOO"] {
            assert!(fits(pattern, attribute), "{pattern}");
        }
        for pattern in ["fo", "foo:", "foo:ba", "foo:bar baz", "bar"] {
            assert!(!fits(pattern, attribute), "{pattern}");
        }
    }

    /// A line more would be the proxy's own, but is more likely somebody's attack on it.
    #[test]
    fn an_attribute_is_one_line() {
        for text in ["x\r\nm=audio 1 RTP/AVP 0", "x\ny", "", "a="] {
            assert_eq!(attribute(text), None, "{text:?}");
        }
    }

    #[test]
    fn kinds_that_nobody_has_registered_are_other() {
        let kinds = ["other".into(), "Video".into()];
        assert!(names(&kinds, "foobar") && names(&kinds, "video"));
        assert!(!names(&kinds, "audio"));
    }
}
