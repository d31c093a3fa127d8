//! What a source file says of RFCs, and the tests in it.
//!
//! No parser of Rust: comments, and lines with `fn`, are enough.

use std::fmt;

/// A section as people number them; empty for an RFC as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Section(Vec<Part>);

/// One part of a section's number. Numbers come before the letters of appendices.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u16),
    Letter(char),
}

impl Section {
    /// Whether `other` is a part of this section.
    pub(super) fn contains(&self, other: &Self) -> bool {
        other.0.len() > self.0.len() && other.0.starts_with(&self.0)
    }

    /// Whether this is the RFC as a whole.
    pub(super) fn is_whole(&self) -> bool {
        self.0.is_empty()
    }

    fn parse(text: &str) -> Option<Self> {
        let parts = text.split('.').map(|part| {
            let letter = part.chars().next().filter(char::is_ascii_uppercase);
            match letter {
                Some(letter) if part.len() == 1 => Some(Part::Letter(letter)),
                _ => part.parse().ok().map(Part::Number),
            }
        });
        parts.collect::<Option<Vec<_>>>().map(Self)
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.first() {
            None => return f.write_str("as a whole"),
            Some(Part::Number(_)) => f.write_str("§")?,
            Some(Part::Letter(_)) => f.write_str("appendix ")?,
        }
        for (at, part) in self.0.iter().enumerate() {
            let dot = if at == 0 { "" } else { "." };
            match part {
                Part::Number(number) => write!(f, "{dot}{number}")?,
                Part::Letter(letter) => write!(f, "{dot}{letter}")?,
            }
        }
        Ok(())
    }
}

/// What a file is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The product, with unit tests at the end.
    Code,
    /// Nothing but tests.
    Tests,
}

/// A section of an RFC.
pub(super) type Mention = (u16, Section);

/// What has been found in a file.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Sections that its code names.
    pub(super) code: Vec<Mention>,
    /// Sections that its tests name, and the name of the test.
    pub(super) tests: Vec<(Mention, String)>,
}

/// Looks through one file.
pub(super) fn file(kind: Kind, content: &str) -> Found {
    let mut reader = Reader {
        testing: kind == Kind::Tests,
        ..Reader::default()
    };
    for line in content.lines() {
        reader.line(line.trim());
    }
    reader.end_of_comment();
    reader.found
}

#[derive(Default)]
struct Reader {
    found: Found,
    /// From here on the file is tests.
    testing: bool,
    /// The comment that is being read, in one line.
    comment: String,
    /// Sections named above a function whose name has not come yet.
    above: Vec<Mention>,
    /// `#[test]` has come, its function not.
    marked: bool,
    /// The test that is being read.
    test: Option<String>,
}

impl Reader {
    fn line(&mut self, line: &str) {
        if let Some(text) = comment(line) {
            self.comment.push_str(text);
            self.comment.push(' ');
            return;
        }
        let is_head = line.starts_with("#[") || function(line).is_some();
        self.take_comment(is_head);
        if line == "#[cfg(test)]" {
            self.testing = true;
        } else if is_test_mark(line) {
            self.marked = true;
        } else if let Some(name) = function(line) {
            self.function(name);
        }
        if let Some((_, text)) = line.split_once(" // ") {
            self.comment.push_str(text);
            self.take_comment(false);
        }
    }

    /// The comment has ended; `is_head`: before something that it may describe.
    fn take_comment(&mut self, is_head: bool) {
        let comment = std::mem::take(&mut self.comment);
        if comment.is_empty() {
            return;
        }
        let mentions = mentions(&comment);
        if !self.testing {
            self.found.code.extend(mentions);
        } else if is_head {
            self.above.extend(mentions);
        } else if let Some(test) = &self.test {
            let tests = mentions.into_iter().map(|mention| (mention, test.clone()));
            self.found.tests.extend(tests);
        }
    }

    fn end_of_comment(&mut self) {
        self.take_comment(false);
    }

    fn function(&mut self, name: &str) {
        let above = std::mem::take(&mut self.above);
        if !std::mem::take(&mut self.marked) {
            self.test = None;
            return;
        }
        let (mention, title) = named(name);
        let mentions = mention.into_iter().chain(above);
        let tests = mentions.map(|mention| (mention, title.clone()));
        self.found.tests.extend(tests);
        self.test = Some(title);
    }
}

fn comment(line: &str) -> Option<&str> {
    let text = line.strip_prefix("//")?;
    Some(text.trim_start_matches(['/', '!']).trim())
}

fn is_test_mark(line: &str) -> bool {
    line.starts_with("#[test]") || (line.starts_with("#[") && line.contains("::test"))
}

/// The name of the function that begins in this line.
fn function(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let before = |word: &&str| {
        matches!(*word, "async" | "const" | "unsafe" | "pub") || word.starts_with("pub(")
    };
    if words.find(|word| !before(word))? != "fn" {
        return None;
    }
    words.next()?.split(['(', '<']).next()
}

/// Takes the section from a test's name: `rfc3261_17_1_1_2_what_it_shows`.
fn named(name: &str) -> (Option<Mention>, String) {
    let title = |name: &str| name.replace('_', " ");
    let Some(rest) = name.strip_prefix("rfc") else {
        return (None, title(name));
    };
    let rest = rest.trim_start_matches('_');
    let (rfc, mut rest) = rest.split_once('_').unwrap_or((rest, ""));
    let Ok(rfc) = rfc.parse() else {
        return (None, title(name));
    };
    let mut parts = Vec::new();
    if let Some(appendix) = rest.strip_prefix("appendix_") {
        let (letter, after) = appendix.split_once('_').unwrap_or((appendix, ""));
        let letter = letter.chars().next().unwrap_or('A');
        parts.push(Part::Letter(letter.to_ascii_uppercase()));
        rest = after;
    }
    rest = rest.strip_prefix("section_").unwrap_or(rest);
    while !rest.is_empty() {
        let (part, after) = rest.split_once('_').unwrap_or((rest, ""));
        let Ok(number) = part.parse() else { break };
        parts.push(Part::Number(number));
        rest = after;
    }
    let title = if rest.is_empty() { name } else { rest }.replace('_', " ");
    (Some((rfc, Section(parts))), title)
}

/// All sections that a comment names: `RFC 3261 §16.3, §21.4.1`, `RFC 3550 appendix A.1, A.3`,
/// `RFC 7616 §3.4.1–§3.4.3`, or an RFC as a whole.
fn mentions(comment: &str) -> Vec<Mention> {
    let mut mentions = Vec::new();
    let mut parts = comment.split("RFC");
    let mut before = parts.next().unwrap_or_default();
    for rest in parts {
        let is_word = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        before = rest;
        let number = rest.trim_start_matches([' ', '-']);
        let (number, rest) = split_while(number, |c| c.is_ascii_digit());
        if let Some(rfc) = number.parse().ok().filter(|_| is_word && number.len() >= 3) {
            let sections = sections(rest);
            mentions.extend(sections.into_iter().map(|section| (rfc, section)));
        }
    }
    mentions
}

/// The sections at the start of what follows `RFC nnnn`; the RFC as a whole if there is none.
fn sections(mut text: &str) -> Vec<Section> {
    const BETWEEN: [&str; 8] = [" ", ",", "–", "-", "and ", "or ", "steps", "step"];
    let mut sections = Vec::new();
    let mut in_appendix = false;
    loop {
        let before = text;
        for word in BETWEEN {
            text = text.strip_prefix(word).unwrap_or(text);
        }
        let sign = ["§", "appendix ", "Appendix "];
        let marked = sign.iter().find_map(|sign| text.strip_prefix(sign));
        in_appendix |= marked.is_some() && !text.starts_with('§');
        // A lone letter after the first appendix may be the start of a word.
        let is_next = in_appendix && text.chars().nth(1) == Some('.');
        let candidate = marked.or(is_next.then_some(text));
        let (number, rest) = split_while(candidate.unwrap_or_default(), |c| {
            c.is_ascii_digit() || c.is_ascii_uppercase() || c == '.'
        });
        if let Some(section) = Section::parse(number.trim_end_matches('.')) {
            sections.push(section);
            text = rest;
        } else if text.len() == before.len() {
            break;
        }
    }
    if sections.is_empty() {
        sections.push(Section::default());
    }
    sections
}

fn split_while(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !belongs(c)).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(comment: &str) -> Vec<String> {
        let text = |(rfc, section)| format!("{rfc} {section}");
        mentions(comment).into_iter().map(text).collect()
    }

    #[test]
    fn comments_name_sections_in_many_ways() {
        assert_eq!(
            said("the RFC has no number, and MYRFC 3261 is none"),
            [""; 0]
        );
        assert_eq!(said("as in RFC 3264 do."), ["3264 as a whole"]);
        assert_eq!(said("(RFC 3261 §10.2.1.1)."), ["3261 §10.2.1.1"]);
        assert_eq!(said("RFC 8866 §6.6, RFC 3551 §6"), ["8866 §6.6", "3551 §6"]);
        assert_eq!(
            said("RFC 3261 §16.3, §21.4.1 and §21.5.6."),
            ["3261 §16.3", "3261 §21.4.1", "3261 §21.5.6"]
        );
        assert_eq!(
            said("RFC 3550 appendix A.1, A.3. Probation"),
            ["3550 appendix A.1", "3550 appendix A.3"]
        );
        assert_eq!(
            said("RFC 7616 §3.4.1–§3.4.3"),
            ["7616 §3.4.1", "7616 §3.4.3"]
        );
        assert_eq!(said("RFC 7616 §3.4 (`nc`), §5.12"), ["7616 §3.4"]);
    }

    #[test]
    fn names_of_tests_name_sections() {
        let name = |name: &str| {
            let (mention, title) = named(name);
            (
                mention.map(|(rfc, section)| format!("{rfc} {section}")),
                title,
            )
        };
        let is = |mention: &str, title: &str| (Some(mention.to_owned()), title.to_owned());
        assert_eq!(
            name("rfc3261_17_1_1_2_an_invite"),
            is("3261 §17.1.1.2", "an invite")
        );
        assert_eq!(name("rfc3327_path"), is("3327 as a whole", "path"));
        assert_eq!(
            name("rfc_2617_section_3_5"),
            is("2617 §3.5", "rfc 2617 section 3 5")
        );
        assert_eq!(
            name("rfc3550_appendix_a_8_jitter"),
            is("3550 appendix A.8", "jitter")
        );
        assert_eq!(name("rfc_is_fun"), (None, "rfc is fun".to_owned()));
    }

    #[test]
    fn a_comment_belongs_to_its_test_and_folds() {
        let source = "//! Of RFC 3261\n//! §7.\n#[cfg(test)]\nmod tests {\n\
                      /// RFC 4028 §9\n#[test]\nfn timer() {\n\
                      // RFC 4028 §10\nlet x = 1; // RFC 3262 §3\n}\n\
                      /// RFC 1 2 RFC 3966\nfn no_test() {\n// RFC 2833\n}\n}";
        let found = file(Kind::Code, source);
        let code: Vec<_> = found
            .code
            .iter()
            .map(|(rfc, s)| format!("{rfc} {s}"))
            .collect();
        assert_eq!(code, ["3261 §7"]);
        let tests = found.tests.iter();
        let tests: Vec<_> = tests
            .map(|((rfc, section), name)| format!("{rfc} {section} {name}"))
            .collect();
        assert_eq!(tests, ["4028 §9 timer", "4028 §10 timer", "3262 §3 timer"]);
    }

    #[test]
    fn sections_sort_by_number_and_contain_their_parts() {
        let section = |text| Section::parse(text).unwrap();
        assert!(section("9") < section("10.1") && section("20") < section("A.1"));
        assert!(section("17.1").contains(&section("17.1.1.2")));
        assert!(!section("17.1").contains(&section("17.1")));
        assert!(!section("1").contains(&section("17.1")));
        assert!(Section::parse("1..2").is_none());
    }
}
