//! Collects what is wrong with the settings.

use std::cell::RefCell;

use api::{Excerpt, Problem, Severity};

use super::document::{Origin, Source};

/// What is wrong with one value.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) remedy: String,
    /// Where, if it is only a part of the value.
    pub(crate) origin: Option<Origin>,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            remedy: remedy.into(),
            origin: None,
        }
    }

    pub(crate) fn at(self, origin: &Origin) -> Self {
        let origin = self.origin.or_else(|| Some(origin.clone()));
        Self { origin, ..self }
    }
}

/// All problems found so far, in the order of reading.
#[derive(Debug, Default)]
pub(crate) struct Report {
    problems: RefCell<Vec<Problem>>,
}

impl Report {
    /// Adds an error; the fault's own place is better than `origin`.
    pub(crate) fn error(&self, key: &str, origin: &Origin, fault: Fault) {
        self.add(Severity::Error, key, origin, fault);
    }

    /// Adds a warning.
    pub(crate) fn warning(&self, key: &str, origin: &Origin, fault: Fault) {
        self.add(Severity::Warning, key, origin, fault);
    }

    /// Adds an error about a whole file, such as one that can't be read.
    pub(crate) fn file_error(&self, file: &std::path::Path, fault: Fault) {
        self.problems.borrow_mut().push(Problem {
            severity: Severity::Error,
            source: file.display().to_string(),
            line: None,
            column: None,
            key: String::new(),
            message: fault.message,
            remedy: fault.remedy,
            excerpt: None,
        });
    }

    /// Everything, in order of place.
    pub(crate) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        let mut sources: Vec<_> = problems.iter().map(|p| p.source.clone()).collect();
        sources.dedup();
        // Stable: sources stay in the order in which they were read.
        let rank = |p: &Problem| sources.iter().position(|source| *source == p.source);
        problems.sort_by_cached_key(|problem| (rank(problem), problem.line, problem.column));
        problems
    }

    fn add(&self, severity: Severity, key: &str, origin: &Origin, fault: Fault) {
        let origin = fault.origin.as_ref().unwrap_or(origin);
        let (source, place) = match &*origin.source {
            Source::File { path, text } => (path.display().to_string(), Some(locate(text, origin))),
            Source::Option(option) => (option.clone(), None),
            Source::Variable(name) => (format!("environment variable {name}"), None),
        };
        let (line, column, excerpt) = match place {
            Some((line, excerpt)) => (Some(line), Some(excerpt.start + 1), Some(excerpt)),
            None => (None, None, None),
        };
        self.problems.borrow_mut().push(Problem {
            severity,
            source,
            line,
            column,
            key: key.to_owned(),
            message: fault.message,
            remedy: fault.remedy,
            excerpt,
        });
    }
}

/// The line of `origin`, from 1, and the part of it that `origin` covers.
fn locate(text: &str, origin: &Origin) -> (usize, Excerpt) {
    let start = floor_boundary(text, origin.span.start);
    let end = floor_boundary(text, origin.span.end).max(start);
    let before = &text[..start];
    let line_start = before.rfind('\n').map_or(0, |place| place + 1);
    let line = text[line_start..].lines().next().unwrap_or("");
    let covered = text[start..end].lines().next().unwrap_or("");
    let excerpt = Excerpt {
        text: line.replace('\t', " "),
        start: text[line_start..start].chars().count(),
        width: covered.chars().count().max(1),
    };
    (before.matches('\n').count() + 1, excerpt)
}

fn floor_boundary(text: &str, place: usize) -> usize {
    let place = place.min(text.len());
    (0..=place)
        .rev()
        .find(|&p| text.is_char_boundary(p))
        .unwrap_or(0)
}

/// The one of `known` that `word` is a likely misspelling of.
pub(crate) fn similar<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let scored = known.iter().map(|&k| (distance(word, k), k));
    let (best, candidate) = scored.min_by_key(|&(distance, _)| distance)?;
    (best <= 1 + candidate.len() / 4).then_some(candidate)
}

/// How many characters have to be added, dropped or changed (Levenshtein); 1 if they only have to
/// change places.
fn distance(a: &str, b: &str) -> usize {
    let sorted = |text: &str| {
        let mut letters: Vec<_> = text.chars().collect();
        letters.sort_unstable();
        letters
    };
    if a != b && sorted(a) == sorted(b) {
        return 1;
    }
    let b: Vec<_> = b.chars().collect();
    let mut row: Vec<_> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, &y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn misspellings_are_recognized_and_other_words_are_not() {
        let known = ["listen", "advertise", "realm", "threads"];
        assert_eq!(similar("lisen", &known), Some("listen"));
        assert_eq!(similar("advertize", &known), Some("advertise"));
        assert_eq!(similar("relam", &known), Some("realm"));
        assert_eq!(similar("port", &known), None);
        assert_eq!(similar("x", &[]), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn a_place_is_a_line_and_a_column_of_characters() {
        let text = "a = 1\nü = \"ä\"\n".to_owned();
        let span = text.find('"').unwrap()..text.rfind('\n').unwrap();
        let source = Arc::new(Source::File {
            path: "f".into(),
            text,
        });
        let report = Report::default();
        report.error("ü", &Origin { source, span }, Fault::new("bad", "mend it"));
        let problem = report.into_problems().remove(0);
        assert_eq!((problem.line, problem.column), (Some(2), Some(5)));
        assert_eq!(problem.excerpt.as_ref().unwrap().width, 3);
        assert_eq!(problem.to_string(), "f:2:5: ü: bad; mend it");
    }

    #[test]
    fn places_beyond_the_text_do_no_harm() {
        let source = Arc::new(Source::File {
            path: "f".into(),
            text: "ä".into(),
        });
        for span in [1..1, 5..9, 0..1] {
            let origin = Origin {
                source: Arc::clone(&source),
                span,
            };
            let report = Report::default();
            report.error("", &origin, Fault::new("bad", ""));
            assert_eq!(report.into_problems()[0].line, Some(1));
        }
    }
}
